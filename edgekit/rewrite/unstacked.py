# SPDX-License-Identifier: Apache-2.0
"""UNPACK, SPLIT_V, GATHER and REVERSE_V2 as slices, PACK along the batch as CONCATENATION.

Unrolled LSTM and GRU contain them; exporters write ``x[:, -1]`` and exchanged halves as GATHER.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, rewrite_operators, same_quantization
from edgekit.rewrite.rule import Rule

_MOST_RUNS = 4  # of positions that follow each other, in a GATHER
_MOST_REVERSED = 64  # positions of a REVERSE_V2, each a slice


def slice_parts(model: Model) -> Model | None:
    """Return ``model`` with STRIDED_SLICE, RESHAPE and CONCATENATION, which map, in their place.

    All of them copy values; a tensor and its parts have one scale.
    """
    return rewrite_operators(model, _sliced)


def _sliced(edit: Edit, op: Operator) -> list[Operator]:
    indices = [i for i in (*op.inputs, *op.outputs) if i >= 0]
    if any(edit.tensors[i].is_dynamic or 0 in edit.tensors[i].shape for i in indices):
        return []
    rule = _RULES.get(op.opcode)
    return [] if rule is None else rule(edit, op)


def _unpack(edit: Edit, op: Operator) -> list[Operator]:
    rank = len(edit.tensors[op.inputs[0]].shape)
    axis = int(op.options.get("axis", 0)) % rank
    if rank < 2:
        return []
    return [
        _slice(edit, op.inputs[0], output, axis, (number, number + 1), shrink=True)
        for number, output in enumerate(op.outputs)
    ]


def _split_v(edit: Edit, op: Operator) -> list[Operator]:
    values = edit.data(op.inputs[2])
    if values is None:
        return []
    axis = int(values.ravel()[0]) % len(edit.tensors[op.inputs[0]].shape)
    ends = np.cumsum([0, *(edit.tensors[output].shape[axis] for output in op.outputs)]).tolist()
    return [
        _slice(edit, op.inputs[0], output, axis, bounds)
        for output, bounds in zip(op.outputs, zip(ends, ends[1:]))
    ]


def gathered(edit: Edit, op: Operator) -> tuple[int, list[int]] | None:
    """Return (axis, positions along it) of a GATHER; None if they are not constant and valid."""
    x, y = edit.tensors[op.inputs[0]], edit.tensors[op.outputs[0]]
    values = edit.data(op.inputs[1])
    if values is None or values.ndim > 1 or not values.size or op.options.get("batch_dims", 0):
        return None
    if x.is_dynamic or edit.data(op.inputs[0]) is not None or not same_quantization(x, y):
        return None
    axis = int(op.options.get("axis", 0)) % len(x.shape)
    positions = [int(each) for each in values.ravel()]
    if min(positions) < 0 or max(positions) >= x.shape[axis]:  # the kernel refuses them
        return None
    return axis, positions


def _gather(edit: Edit, op: Operator) -> list[Operator]:
    """Slice runs of positions, and join them; `resampling` takes other positions of channels."""
    found = gathered(edit, op)
    if found is None:
        return []
    axis, positions = found
    breaks = [0, *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
    runs = [(positions[a], positions[b - 1] + 1) for a, b in zip(breaks, breaks[1:])]
    return _joined(edit, op, axis, runs) if len(runs) <= _MOST_RUNS else []


def _reverse(edit: Edit, op: Operator) -> list[Operator]:
    """Slice the positions along one axis, and join them from the last one on."""
    axes = edit.data(op.inputs[1])
    if axes is None or axes.size != 1:
        return []
    shape = edit.tensors[op.inputs[0]].shape
    axis = int(axes.ravel()[0]) % len(shape)
    count = shape[axis]
    if not 1 < count <= _MOST_REVERSED:
        return []
    return _joined(edit, op, axis, [(each, each + 1) for each in reversed(range(count))])


def _joined(edit: Edit, op: Operator, axis: int, runs: list[tuple[int, int]]) -> list[Operator]:
    """Join slices of these bounds along an axis to the output of ``op``."""
    x, out = edit.tensors[op.inputs[0]], op.outputs[0]
    if len(runs) == 1:
        is_dropped = len(edit.tensors[out].shape) < len(x.shape)
        return [_slice(edit, op.inputs[0], out, axis, runs[0], shrink=is_dropped)]
    parts, operators = [], []
    for start, end in runs:
        shape = (*x.shape[:axis], end - start, *x.shape[axis + 1 :])
        parts.append(edit.activation(x, f"{edit.tensors[out].name}/part", shape=shape))
        operators.append(_slice(edit, op.inputs[0], parts[-1], axis, (start, end)))
    return [*operators, pieces.concatenate(edit, parts, axis, out)]


def _slice(
    edit: Edit,
    source: int,
    output: int,
    axis: int,
    bounds: Sequence[int],
    *,
    shrink: bool = False,
) -> Operator:
    """Return a STRIDED_SLICE of positions ``bounds`` along one axis."""
    shape, name = edit.tensors[source].shape, edit.tensors[output].name
    begin, end = [0] * len(shape), list(shape)
    begin[axis], end[axis] = bounds
    constants = [
        edit.constant(f"{name}/{what}", np.array(numbers, np.int32))
        for what, numbers in (("begin", begin), ("end", end), ("strides", [1] * len(shape)))
    ]
    options = {
        "begin_mask": 0,
        "end_mask": 0,
        "ellipsis_mask": 0,
        "new_axis_mask": 0,
        "shrink_axis_mask": 1 << axis if shrink else 0,
    }
    return edit.operator(
        "STRIDED_SLICE", (source, *constants), (output,), options, "StridedSliceOptions"
    )


def _pack(edit: Edit, op: Operator) -> list[Operator]:
    """Stack along the first axis: the parts follow each other in memory."""
    out = edit.tensors[op.outputs[0]]
    # The quantizer gives the parts of a PACK one scale, but those of a CONCATENATION others.
    if out.dtype == "FLOAT32":
        return []
    if int(op.options.get("axis", 0)) % len(out.shape) != 0 or len(out.shape) < 2:
        return []
    operators, rows = [], []
    for index in op.inputs:
        part = edit.tensors[index]
        row = edit.activation(part, f"{out.name}/row", shape=(1, part.num_elements))
        operators.append(pieces.reshape(edit, index, row))
        rows.append(row)
    joined = edit.activation(out, f"{out.name}/rows", shape=(1, out.num_elements))
    join = pieces.concatenate(edit, rows, 1, joined)
    return [*operators, join, pieces.reshape(edit, joined, op.outputs[0])]


_RULES = {
    "GATHER": _gather,
    "PACK": _pack,
    "REVERSE_V2": _reverse,
    "SPLIT_V": _split_v,
    "UNPACK": _unpack,
}

RULE = Rule(
    "parts",
    "UNPACK, SPLIT_V, GATHER and REVERSE_V2 become slices, PACK along the first axis a join",
    exact=True,
    apply=slice_parts,
)
