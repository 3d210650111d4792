# SPDX-License-Identifier: Apache-2.0
"""Labels and normalization as TFLite metadata of a model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Callable, Sequence

from edgekit.data.preprocess import Preprocess, parse_preprocess
from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, Tensor, read_model
from edgekit.formats.tflite_metadata import (
    LabelFile,
    ModelMetadata,
    Normalization,
    Notes,
    TensorMetadata,
    read_files,
    read_metadata,
    read_notes,
    write_metadata,
)

_LABEL_FILE = "labels.txt"
_DETECTION = "TFLite_Detection_PostProcess"
_DETECTION_CLASSES = 1  # its second output contains the classes
_SCALES = {"raw": (0.0, 1.0), "unit": (0.0, 255.0), "tf": (127.5, 127.5)}


@dataclass(frozen=True)
class Description:
    """What to write into a model's file about its use."""

    name: str
    labels: Sequence[str]
    preprocess: str  # as for --preprocess; "" if unknown
    licence: str = ""
    warn: Callable[[str], None] = lambda _text: None

    def written_into(self, content: bytes, model: Model) -> bytes:
        """Return the .tflite file with all this; unchanged if it has it or cannot have it."""
        notes, known = read_notes(content, model), read_metadata(content, model)
        if known is None:
            known = ModelMetadata(files=read_files(content))
        has_names = tuple(self.labels) == notes.labels
        has_licence = not self.licence or known.licence == self.licence
        if has_names and has_licence and self.preprocess == notes.preprocess:
            return content
        wanted = describe(
            model,
            known,
            name=self.name,
            labels=self.labels,
            how=parse_preprocess(self.preprocess) if self.preprocess else None,
            licence=self.licence,
        )
        try:
            return write_metadata(content, wanted, self.preprocess, model)
        except UnsupportedModelError as error:
            self.warn(f"labels and normalization are not in a model itself: {error.what}")
            return content


def with_notes(
    content: bytes, notes: Notes, warn: Callable[[str], None] = lambda _text: None
) -> bytes:
    """Return the .tflite file ``content`` with the preprocessing and labels of ``notes`` in it.

    Raises:
        ModelFormatError: ``content`` is not a model.
    """
    if not notes.preprocess and not notes.labels:
        return content
    model = read_model(content)
    wanted = Description("", notes.labels, notes.preprocess, warn=warn)
    return wanted.written_into(content, model)


def describe(
    model: Model,
    known: ModelMetadata,
    *,
    name: str,
    labels: Sequence[str],
    how: Preprocess | None,
    licence: str,
) -> ModelMetadata:
    """Return the model's metadata with labels and normalization; its other contents stay."""
    graph = model.main
    inputs = _entries(known.inputs, [graph.tensors[index] for index in graph.inputs])
    outputs = _entries(known.outputs, [graph.tensors[index] for index in graph.outputs])
    files = dict(known.files)
    if how is not None and inputs:
        inputs[0] = _as_image(inputs[0], graph.tensors[graph.inputs[0]], how)
    if labels and outputs:
        is_detection = any(op.custom_code == _DETECTION for op in graph.operators)
        place = _DETECTION_CLASSES if is_detection and len(outputs) > 1 else 0
        for old in outputs[place].label_files:
            files.pop(old.name, None)
        file = LabelFile(_LABEL_FILE, names_values=is_detection)
        outputs[place] = dataclasses.replace(outputs[place], label_files=(file,))
        files[_LABEL_FILE] = label_text(labels)
    return dataclasses.replace(
        known,
        name=known.name or name,
        licence=licence or known.licence,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        files=files,
    )


def label_text(labels: Sequence[str]) -> bytes:
    """Return one name per line, the last line also with a line end."""
    return "".join(f"{label}\n" for label in labels).encode()


def _entries(known: Sequence[TensorMetadata], tensors: Sequence[Tensor]) -> list[TensorMetadata]:
    if len(known) == len(tensors):
        return list(known)
    return [TensorMetadata(name=tensor.name) for tensor in tensors]


def _as_image(entry: TensorMetadata, tensor: Tensor, how: Preprocess) -> TensorMetadata:
    mean, std = _SCALES[how.scale]
    if how.mean or how.std:
        normalization = Normalization(how.mean or (0.0,), how.std or (1.0,))
    else:
        normalization = Normalization((mean,), (std,))
    channels = tensor.shape[-1] if len(tensor.shape) == 4 else 0
    is_image = channels in (1, 3)
    return dataclasses.replace(
        entry,
        content="image" if is_image else entry.content,
        colour_space={1: "grayscale", 3: "rgb"}.get(channels, entry.colour_space),
        normalization=normalization,
    )
