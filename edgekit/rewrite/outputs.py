# SPDX-License-Identifier: Apache-2.0
"""Split a CONCATENATION of very different ranges at the end into separate outputs.

A RESHAPE after it may merge or split the dimensions before the joined one: the values of each part
then keep their places among the last dimensions.

One tensor has one scale. If boxes in pixels and scores from 0 to 1 share it, only a few codes, or
one, remain for the scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, same_quantization
from edgekit.rewrite.io_types import with_offset
from edgekit.rewrite.rule import Rule

_LARGEST_RATIO = 8.0  # a larger ratio of ranges loses three bits or more
# Operators that only move values: the scale stays the same.
MOVING = frozenset(["EXPAND_DIMS", "RESHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"])


@dataclass(frozen=True)
class _Part:
    """One input of the CONCATENATION: the tensor with its own scale, and the path from there."""

    source: int
    moves: tuple[Operator, ...]
    index: int  # the input itself

    def range(self, edit: Edit) -> float:
        """Return the largest absolute value that its own scale can represent."""
        low, high = pieces.real_range(edit.tensors[self.source])
        return high - low


@dataclass(frozen=True)
class _Join:
    """A CONCATENATION at an output, and the operators after it."""

    operator: Operator
    output: int
    reshape: Operator | None
    tail: Operator | None  # QUANTIZE or DEQUANTIZE: it changes the type
    joined_axis: int  # of the CONCATENATION
    axis: int  # the same dimension in the output
    groups: tuple[tuple[_Part, ...], ...]


def separate_outputs(model: Model) -> Model | None:
    """Return ``model`` with separate outputs in place of one that joined ranges of ratio above 8.

    Neighbours of similar ranges stay together. The new outputs take the old one's place, in the
    order of their values.
    """
    edit = Edit(model)
    found = False
    for index in tuple(edit.outputs):
        join = _join_at(edit, index)
        if join is not None:
            _take_apart(edit, join)
            found = True
    return edit.build() if found else None


def joined_again(
    before: Model, after: Model, outputs: Sequence[NDArray[Any]]
) -> tuple[NDArray[Any], ...]:
    """Return real outputs of ``after`` in the joined form of ``before``."""
    del after
    edit = Edit(before)
    rest = list(outputs)
    whole = []
    for index in edit.outputs:
        join = _join_at(edit, index)
        if join is None:
            whole.append(rest.pop(0))
            continue
        parts = [rest.pop(0) for _ in join.groups]
        whole.append(np.concatenate(parts, axis=join.axis))
    return tuple(whole)


def _join_at(edit: Edit, index: int) -> _Join | None:
    producers = edit.producers()
    producer = producers.get(index)
    tail = None
    if producer is not None and producer.opcode in ("QUANTIZE", "DEQUANTIZE"):
        tail, producer = producer, producers.get(producer.inputs[0])
    reshape = None
    if producer is not None and producer.opcode == "RESHAPE":
        reshape, producer = producer, producers.get(producer.inputs[0])
    if producer is None or producer.opcode != "CONCATENATION" or edit.outputs.count(index) != 1:
        return None
    joined = producer.outputs[0]
    between = [joined, *(each.inputs[0] for each in (reshape, tail) if each is not None)]
    alone = all(
        len(edit.consumers(each)) == 1 and each not in edit.outputs
        for each in between
        if each != index
    )
    if not alone or edit.consumers(index) or not is_8bit(edit.tensors[joined]):
        return None
    shape = edit.tensors[joined].shape
    joined_axis = int(producer.options.get("axis", 0)) % max(1, len(shape))
    reshaped = shape if reshape is None else edit.tensors[reshape.outputs[0]].shape
    axis = _axis_after(shape, joined_axis, reshaped)
    if axis is None:
        return None
    parts = [_part(edit, producers, i) for i in producer.inputs]
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    groups = _groups(edit, known)
    if len(groups) < 2:
        return None
    return _Join(producer, index, reshape, tail, joined_axis, axis, groups)


def _axis_after(shape: Sequence[int], axis: int, reshaped: Sequence[int]) -> int | None:
    """Return the place of dimension ``axis`` of ``shape`` after a RESHAPE to ``reshaped``.

    None if the RESHAPE changes that dimension or a later one: parts would then be interleaved.
    """
    kept = len(shape) - axis
    if min(*shape, *reshaped) < 1 or tuple(shape[axis:]) != tuple(reshaped[-kept:]):
        return None
    is_same = np.prod(shape[:axis], dtype=np.int64) == np.prod(reshaped[:-kept], dtype=np.int64)
    return len(reshaped) - kept if is_same else None


def _part(edit: Edit, producers: dict[int, Operator], index: int) -> _Part | None:
    """Follow input ``index`` up to the QUANTIZE that brought it to the common scale."""
    moves: list[Operator] = []
    source = index
    while source in producers:
        producer = producers[source]
        if producer.opcode == "QUANTIZE":
            if is_8bit(edit.tensors[producer.inputs[0]]):
                return _Part(producer.inputs[0], tuple(moves), index)
            break
        if producer.opcode not in MOVING or not _moves_only_first(edit, producer):
            break
        moves.insert(0, producer)
        source = producer.inputs[0]
    # It does not have its own scale: its share of the common range is unknown.
    return _Part(index, (), index) if is_8bit(edit.tensors[index]) else None


def _moves_only_first(edit: Edit, op: Operator) -> bool:
    return all(edit.data(i) is not None for i in op.inputs[1:])


def _groups(edit: Edit, parts: list[_Part]) -> tuple[tuple[_Part, ...], ...]:
    groups: list[list[_Part]] = []
    for part in parts:
        ranges = [each.range(edit) for each in (*groups[-1], part)] if groups else []
        if ranges and max(ranges) <= _LARGEST_RATIO * min(ranges):
            groups[-1].append(part)
        else:
            groups.append([part])
    return tuple(tuple(group) for group in groups)


def _take_apart(edit: Edit, join: _Join) -> None:
    place = next(i for i, op in enumerate(edit.operators) if op is join.operator)
    fresh: list[Operator] = []
    ends = [_end(edit, join, group, fresh) for group in join.groups]
    gone = (join.operator, join.reshape, join.tail)
    edit.operators[place:place] = fresh
    edit.operators = [op for op in edit.operators if not any(op is each for each in gone)]
    where = edit.outputs.index(join.output)
    edit.outputs[where : where + 1] = ends
    edit.signatures = [
        replace(each, outputs=_named(each.outputs.items(), join.output, ends))
        for each in edit.signatures
    ]


def _named(items: Any, old: int, ends: list[int]) -> dict[str, int]:  # noqa: ANN401 - pairs
    named: dict[str, int] = {}
    for name, index in items:
        if index != old:
            named[name] = index
        else:
            named.update({f"{name}_{number}": end for number, end in enumerate(ends)})
    return named


def _end(edit: Edit, join: _Join, group: tuple[_Part, ...], fresh: list[Operator]) -> int:
    """Return the output for ``group``, in the type of the joined output."""
    widest = max(group, key=lambda part: part.range(edit)).source
    moved = [_moved(edit, part, widest, fresh) for part in group]
    end = moved[0]
    if len(moved) > 1:
        axis = join.joined_axis
        shape = list(edit.tensors[moved[0]].shape)
        shape[axis] = sum(edit.tensors[i].shape[axis] for i in moved)
        name = f"{edit.tensors[join.output].name}/part"
        end = edit.activation(edit.tensors[moved[0]], name, shape=tuple(shape))
        fresh.append(replace(join.operator, inputs=tuple(moved), outputs=(end,)))
    if join.reshape is not None:
        old = edit.tensors[join.reshape.outputs[0]]
        size = edit.tensors[end].shape[join.joined_axis]
        wanted = (*old.shape[: join.axis], size, *old.shape[join.axis + 1 :])
        part = edit.activation(edit.tensors[end], f"{old.name}/part", shape=wanted)
        fresh.append(pieces.reshape(edit, end, part))
        end = part
    return _typed(edit, end, join, fresh)


def _moved(edit: Edit, part: _Part, widest: int, fresh: list[Operator]) -> int:
    index = part.source
    like = edit.tensors[widest]
    if not same_quantization(edit.tensors[index], like):
        name = f"{edit.tensors[index].name}/rescaled"
        scaled = edit.activation(
            edit.tensors[index], name, quantization=like.quantization, dtype=like.dtype
        )
        fresh.append(pieces.quantize(edit, index, scaled))
        index = scaled
    for move in part.moves:
        source, old = edit.tensors[index], edit.tensors[move.outputs[0]]
        moved = edit.activation(
            old, f"{old.name}/part", quantization=source.quantization, dtype=source.dtype
        )
        fresh.append(replace(move, inputs=(index, *move.inputs[1:]), outputs=(moved,)))
        index = moved
    return index


def _typed(edit: Edit, index: int, join: _Join, fresh: list[Operator]) -> int:
    wanted = edit.tensors[join.output].dtype
    tensor = edit.tensors[index]
    is_end = edit.consumers(index) or index in edit.outputs or index in edit.inputs
    name = f"{edit.tensors[join.output].name}/part"
    if wanted == "FLOAT32":
        out = edit.activation(tensor, name, dtype=wanted, quantization=None)
        fresh.append(edit.operator("DEQUANTIZE", (index,), (out,), {}, "DequantizeOptions"))
        return out
    if wanted != tensor.dtype:
        out = edit.activation(with_offset(tensor), name)
        fresh.append(pieces.quantize(edit, index, out))
        return out
    if is_end and index in (*edit.outputs, *edit.inputs):
        # Already an output or an input: copy it, so that no tensor is used for two ends.
        out = edit.activation(tensor, name)
        fresh.append(pieces.quantize(edit, index, out))
        return out
    return index


RULE = Rule(
    "outputs",
    "a CONCATENATION of ranges more than 8 times apart at the end becomes separate outputs",
    exact=False,
    apply=separate_outputs,
    restore=joined_again,
)
