# SPDX-License-Identifier: Apache-2.0
"""Add metadata to a .tflite file without a change of its bytes.

A FlatBuffer's offsets are relative and point forward, so a new root before a model can refer to
everything that the old root did, and to more metadata. Tables, constants, compiled programs and
their alignment do not change: the old bytes follow the new ones unchanged.
"""

from __future__ import annotations

import struct
from typing import Any, Mapping, Sequence

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite.model import Model
from edgekit.formats.tflite.reader import read_model
from edgekit.formats.tflite.schema import tflite

# A cache line, and a multiple of the 16 bytes that constants are aligned to.
_ALIGNMENT, _BUFFER_ALIGNMENT = 64, 16
# The fields of the table Model in schema.fbs, and the numbers of those that are written again.
_NUM_FIELDS, _BUFFERS, _METADATA = 8, 4, 6
_VERSION = 0  # the only field that is not an offset
_ROOT_AT = 28  # after the root's offset, the identifier, and the vtable, which starts at byte 8
_VECTORS_AT = _ROOT_AT + 4 + 4 * _NUM_FIELDS


def add_metadata(content: bytes, entries: Mapping[str, bytes], model: Model | None = None) -> bytes:
    """Return ``content`` with a metadata buffer for each of ``entries``, replacing equal names.

    The same arguments give the same bytes, and these end with ``content``.

    Args:
        content: A .tflite file, plain or compiled, with nothing appended to it.
        entries: Name of the metadata -> content.
        model: ``content`` as `read_model` returns it, if it is already read.

    Raises:
        ModelFormatError: ``content`` is not a model.
        UnsupportedModelError: It keeps data after its FlatBuffer, or has unknown fields.
    """
    model, old = model or read_model(content), tflite.Model.GetRootAs(content, 0)
    _check_movable(old, model)
    indices = _indices(model, entries)
    num_buffers = max([len(model.buffers), *(index + 1 for index in indices.values())])
    kept = [i for i in range(old.MetadataLength()) if _name(old, i) not in entries]
    num_metadata = len(kept) + len(entries)
    head = bytearray(_VECTORS_AT + 4 + 4 * num_metadata + 4 + 4 * num_buffers)
    metadata_at = [_add_metadata(head, name, index) for name, index in indices.items()]
    buffer_at = {index: _add_buffer(head, entries[name]) for name, index in indices.items()}
    _pad(head, _ALIGNMENT)
    base = len(head)
    metadata_at = [base + old.Metadata(i)._tab.Pos for i in kept] + metadata_at  # noqa: SLF001 - the generated classes have no public name for it
    buffers_at = [
        buffer_at[i] if i in buffer_at else base + old.Buffers(i)._tab.Pos  # noqa: SLF001
        for i in range(num_buffers)
    ]
    behind = _put_vector(head, _VECTORS_AT, metadata_at)
    _put_vector(head, behind, buffers_at)
    _put_root(head, old, {_METADATA: _VECTORS_AT, _BUFFERS: behind})
    return bytes(head) + content


def _check_movable(old: Any, model: Model) -> None:  # noqa: ANN401 - generated classes have no types
    vtable_bytes = struct.unpack_from("<H", old._tab.Bytes, _vtable(old))[0]  # noqa: SLF001
    unknown = [n for n in range(_NUM_FIELDS, (vtable_bytes - 4) // 2) if old._tab.Offset(4 + 2 * n)]  # noqa: SLF001
    apart = any(old.Buffers(i).Offset() > 1 for i in range(len(model.buffers)))
    apart = apart or any(
        graph.Operators(i).LargeCustomOptionsOffset() > 1
        for graph in map(old.Subgraphs, range(len(model.subgraphs)))
        for i in range(graph.OperatorsLength())
    )
    if unknown or apart:
        raise UnsupportedModelError(
            "metadata cannot be added to this model",
            why="it keeps data after its FlatBuffer"
            if apart
            else f"its root has unknown fields: {unknown}",
        )


def _vtable(table: Any) -> int:  # noqa: ANN401
    position: int = table._tab.Pos  # noqa: SLF001
    return position - int(struct.unpack_from("<i", table._tab.Bytes, position)[0])  # noqa: SLF001


def _name(old: Any, index: int) -> str:  # noqa: ANN401
    return (old.Metadata(index).Name() or b"").decode("utf-8", "replace")


def _indices(model: Model, names: Mapping[str, bytes]) -> dict[str, int]:
    """Return the number of each entry's buffer: the old one if it had one, else a new one."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    indices: dict[str, int] = {}
    following = len(model.buffers)
    for name in names:
        index = model.metadata.get(name)
        if index is None or index in used or index in indices.values():
            index, following = following, following + 1
        indices[name] = index
    return indices


def _add_metadata(head: bytearray, name: str, buffer: int) -> int:
    """Append a table Metadata; return its position."""
    _pad(head, 4)
    vtable = len(head)
    head += struct.pack("<4H", 8, 12, 4, 8)
    position = len(head)
    head += struct.pack("<iII", position - vtable, 8, buffer)
    text = name.encode()
    head += struct.pack("<I", len(text)) + text + b"\0"
    return position


def _add_buffer(head: bytearray, data: bytes) -> int:
    """Append a table Buffer and its aligned data; return its position."""
    _pad(head, 4)
    vtable = len(head)
    head += struct.pack("<4H", 6, 8, 4, 0)
    position = len(head)
    head += struct.pack("<iI", position - vtable, 0)
    _pad(head, _BUFFER_ALIGNMENT, ahead=4)
    struct.pack_into("<I", head, position + 4, len(head) - (position + 4))
    head += struct.pack("<I", len(data)) + data
    return position


def _put_vector(head: bytearray, place: int, targets: Sequence[int]) -> int:
    """Write a vector of offsets to ``targets``; return the position after it."""
    struct.pack_into("<I", head, place, len(targets))
    for number, target in enumerate(targets, start=1):
        struct.pack_into("<I", head, place + 4 * number, target - (place + 4 * number))
    return place + 4 + 4 * len(targets)


def _put_root(head: bytearray, old: Any, own: Mapping[int, int]) -> None:  # noqa: ANN401
    """Write a root with the old root's fields, except those in ``own``, which have new vectors."""
    base, table = len(head), old._tab  # noqa: SLF001
    slots = [0] * _NUM_FIELDS
    for field in range(_NUM_FIELDS):
        place, known = _ROOT_AT + 4 + 4 * field, table.Offset(4 + 2 * field)
        if field == _VERSION:
            value = old.Version()
        elif field in own:
            value = own[field] - place
        elif known:
            value = base + table.Indirect(table.Pos + known) - place
        else:
            continue
        slots[field] = 4 + 4 * field
        struct.pack_into("<I", head, place, value)
    sizes = (4 + 2 * _NUM_FIELDS, 4 + 4 * _NUM_FIELDS)
    struct.pack_into(f"<I4s{2 + _NUM_FIELDS}H", head, 0, _ROOT_AT, b"TFL3", *sizes, *slots)
    struct.pack_into("<i", head, _ROOT_AT, _ROOT_AT - 8)


def _pad(head: bytearray, alignment: int, ahead: int = 0) -> None:
    """Append zeros until the length plus ``ahead`` is a multiple of ``alignment``."""
    head += bytes(-(len(head) + ahead) % alignment)
