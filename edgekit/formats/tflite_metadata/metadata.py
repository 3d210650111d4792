# SPDX-License-Identifier: Apache-2.0
"""The part of tflite-support's metadata_schema.fbs that edgekit uses.

The metadata is a FlatBuffer in the model's buffer named TFLITE_METADATA; the files that it refers
to are in a zip archive after the model's own FlatBuffer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

METADATA_NAME = "TFLITE_METADATA"
# edgekit's own metadata buffer with the text of --preprocess: the standard schema does not have
# fields for resizing, filter and colour order.
PREPROCESS_NAME = "EDGEKIT_PREPROCESS"
COMPILER_NAME = "EDGEKIT_COMPILER"  # the open compiler's note on its program, as JSON
IDENTIFIER = b"M001"

FEATURE, IMAGE, BOUNDING_BOX = "feature", "image", "bounding_box"
CONTENTS = {1: FEATURE, 2: IMAGE, 3: BOUNDING_BOX}  # union ContentProperties
COLOUR_SPACES = {1: "rgb", 2: "grayscale"}  # enum ColorSpaceType
NORMALIZATION_OPTIONS = 1  # union ProcessUnitOptions
AXIS_LABELS, VALUE_LABELS = 2, 3  # enum AssociatedFileType


@dataclass(frozen=True)
class Normalization:
    """``(x - mean) / std`` of pixels 0..255; one value, or one per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LabelFile:
    """A file of names, one on each line."""

    name: str
    names_values: bool = (
        False  # names of the tensor's values (classes), not of indices along its axis
    )
    locale: str = ""


@dataclass(frozen=True)
class TensorMetadata:
    """The meaning of an input or output."""

    name: str = ""
    description: str = ""
    content: str = ""  # feature | image | bounding_box; empty if not given
    colour_space: str = ""  # of an image: rgb | grayscale
    normalization: Normalization | None = None
    label_files: tuple[LabelFile, ...] = ()
    min: tuple[float, ...] = ()
    max: tuple[float, ...] = ()


@dataclass(frozen=True)
class ModelMetadata:
    """The metadata of a model; inputs and outputs in the order of its first subgraph."""

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    licence: str = ""
    inputs: tuple[TensorMetadata, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()
    min_parser_version: str = "1.0.0"
    files: Mapping[str, bytes] = field(default_factory=dict)  # associated files by name

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes: from the first label file of an output that is present."""
        for output in self.outputs:
            for file in output.label_files:
                if file.name in self.files:
                    text = self.files[file.name].decode("utf-8", "replace")
                    lines = text.replace("\r\n", "\n").split("\n")
                    # The last line may or may not end with a newline; empty names before it count.
                    return tuple(lines[:-1] if lines[-1] == "" else lines)
        return ()
