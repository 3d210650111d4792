# SPDX-License-Identifier: Apache-2.0
"""Write `ModelMetadata` into a .tflite file, in the form of tflite-support's schema."""

from __future__ import annotations

from typing import Any, Callable, Optional, Sequence, Tuple

import flatbuffers
import numpy as np

from edgekit.formats.bundle.archive import write_archive
from edgekit.formats.tflite import Model, add_metadata
from edgekit.formats.tflite_metadata.metadata import (
    AXIS_LABELS,
    COLOUR_SPACES,
    CONTENTS,
    IDENTIFIER,
    METADATA_NAME,
    NORMALIZATION_OPTIONS,
    PREPROCESS_NAME,
    VALUE_LABELS,
    ModelMetadata,
    TensorMetadata,
)
from edgekit.formats.tflite_metadata.reader import model_size, read_files

_CONTENT_NUMBERS = {name: number for number, name in CONTENTS.items()}
_COLOUR_NUMBERS = {name: number for number, name in COLOUR_SPACES.items()}
# The slots of a table: each field's number, how to add it, its value (None leaves it out).
_Slots = Sequence[Tuple[int, str, Optional[int]]]


def write_metadata(
    content: bytes, metadata: ModelMetadata, preprocess: str = "", model: Model | None = None
) -> bytes:
    """Return the .tflite file ``content`` with its metadata replaced by ``metadata``.

    The same arguments give the same bytes. The bytes of the model itself, compiled or not, do not
    change.

    Args:
        content: A .tflite file.
        metadata: Inputs and outputs in the model's order; their files are appended as an archive.
        preprocess: ``--preprocess`` text, kept in edgekit's own buffer; empty writes none.
        model: ``content`` as `read_model` returns it, if it is already read.

    Raises:
        ModelFormatError: ``content`` is not a model.
        UnsupportedModelError: The structure of the model does not allow additions.
    """
    entries = {METADATA_NAME: _pack(metadata)}
    if preprocess:
        entries[PREPROCESS_NAME] = preprocess.encode()
    files = sorted(metadata.files.items())
    written = add_metadata(content[: model_size(content)], entries, model)
    return write_archive(files, behind=written) if files else written


def keep_files(source: bytes, written: bytes) -> bytes:
    """Return ``written``, a changed version of ``source``, with the label files of ``source``.

    They are stored after the model, where `read_model` does not read them.

    Raises:
        ModelFormatError: The files are damaged.
    """
    files = read_files(source)
    return write_archive(sorted(files.items()), behind=written) if files else written


def _pack(metadata: ModelMetadata) -> bytes:
    builder = flatbuffers.Builder(1024)
    inputs = _vector(builder, [_tensor(builder, each) for each in metadata.inputs])
    outputs = _vector(builder, [_tensor(builder, each) for each in metadata.outputs])
    graph = _table(builder, 10, [(2, "offset", inputs), (3, "offset", outputs)])
    root = _table(
        builder,
        8,
        [
            (0, "offset", _string(builder, metadata.name)),
            (1, "offset", _string(builder, metadata.description)),
            (2, "offset", _string(builder, metadata.version)),
            (3, "offset", _vector(builder, [graph])),
            (4, "offset", _string(builder, metadata.author)),
            (5, "offset", _string(builder, metadata.licence)),
            (7, "offset", _string(builder, metadata.min_parser_version)),
        ],
    )
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: Any, tensor: TensorMetadata) -> int:  # noqa: ANN401 - flatbuffers has no types
    files = [
        _table(
            builder,
            5,
            [
                (0, "offset", _string(builder, file.name)),
                (2, "byte", VALUE_LABELS if file.names_values else AXIS_LABELS),
                (3, "offset", _string(builder, file.locale)),
            ],
        )
        for file in tensor.label_files
    ]
    stats = None
    if tensor.min or tensor.max:
        stats = _table(
            builder,
            2,
            [
                (0, "offset", _floats(builder, tensor.max)),
                (1, "offset", _floats(builder, tensor.min)),
            ],
        )
    return _table(
        builder,
        7,
        [
            (0, "offset", _string(builder, tensor.name)),
            (1, "offset", _string(builder, tensor.description)),
            (3, "offset", _content(builder, tensor)),
            (4, "offset", _process_units(builder, tensor)),
            (5, "offset", stats),
            (6, "offset", _vector(builder, files)),
        ],
    )


def _content(builder: Any, tensor: TensorMetadata) -> int | None:  # noqa: ANN401
    if not tensor.content:
        return None
    colour = _COLOUR_NUMBERS.get(tensor.colour_space)
    properties = _table(builder, 3, [(0, "byte", colour)])
    number = _CONTENT_NUMBERS[tensor.content]
    return _table(builder, 3, [(0, "byte", number), (1, "offset", properties)])


def _process_units(builder: Any, tensor: TensorMetadata) -> int | None:  # noqa: ANN401
    how = tensor.normalization
    if how is None:
        return None
    options = _table(
        builder,
        2,
        [(0, "offset", _floats(builder, how.mean)), (1, "offset", _floats(builder, how.std))],
    )
    unit = _table(builder, 2, [(0, "byte", NORMALIZATION_OPTIONS), (1, "offset", options)])
    return _vector(builder, [unit])


def _table(builder: Any, num_fields: int, slots: _Slots) -> int:  # noqa: ANN401
    builder.StartObject(num_fields)
    add: dict[str, Callable[..., None]] = {
        "offset": builder.PrependUOffsetTRelativeSlot,
        "byte": builder.PrependInt8Slot,
    }
    for number, kind, value in slots:
        if value is not None:
            add[kind](number, value, 0)
    return int(builder.EndObject())


def _string(builder: Any, text: str) -> int | None:  # noqa: ANN401
    return int(builder.CreateString(text)) if text else None


def _floats(builder: Any, values: Sequence[float]) -> int | None:  # noqa: ANN401
    return int(builder.CreateNumpyVector(np.asarray(values, np.float32))) if values else None


def _vector(builder: Any, offsets: Sequence[int]) -> int | None:  # noqa: ANN401
    if not offsets:
        return None
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
