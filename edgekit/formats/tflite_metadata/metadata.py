# SPDX-License-Identifier: Apache-2.0
"""What metadata_schema.fbs of tflite-support says, as far as edgekit uses it.

The metadata is a FlatBuffer in the model's buffer named TFLITE_METADATA; files that it refers to
are a zip archive behind the model's own FlatBuffer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping

METADATA_NAME = "TFLITE_METADATA"
# A metadata buffer of edgekit's own with --preprocess's text: resizing, filter and colour order
# have no place in the standard schema.
PREPROCESS_NAME = "EDGEKIT_PREPROCESS"
IDENTIFIER = b"M001"

FEATURE, IMAGE, BOUNDING_BOX = "feature", "image", "bounding_box"
CONTENTS = {1: FEATURE, 2: IMAGE, 3: BOUNDING_BOX}  # union ContentProperties
COLOUR_SPACES = {1: "rgb", 2: "grayscale"}  # enum ColorSpaceType
NORMALIZATION_OPTIONS = 1  # union ProcessUnitOptions
AXIS_LABELS, VALUE_LABELS = 2, 3  # enum AssociatedFileType


@dataclass(frozen=True)
class Normalization:
    """``(x - mean) / std`` of pixels 0..255; one value, or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LabelFile:
    """A file of names, one a line."""

    name: str
    names_values: bool = False  # of the tensor's values (classes), not of places along its axis
    locale: str = ""


@dataclass(frozen=True)
class TensorMetadata:
    """What an input or output stands for."""

    name: str = ""
    description: str = ""
    content: str = ""  # feature | image | bounding_box; "" where it is not said
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
        """The names of the classes: the first label file of an output that is there."""
        for output in self.outputs:
            for file in output.label_files:
                if file.name in self.files:
                    text = self.files[file.name].decode("utf-8", "replace")
                    lines = text.replace("\r\n", "\n").split("\n")
                    # The last line ends with a newline, or does not; empty names in between count.
                    return tuple(lines[:-1] if lines[-1] == "" else lines)
        return ()
