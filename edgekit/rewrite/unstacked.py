# SPDX-License-Identifier: Apache-2.0
"""UNPACK and SPLIT_V as slices, PACK along the batch as CONCATENATION: unrolled LSTM and GRU."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.rule import Rule


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


_RULES = {"PACK": _pack, "SPLIT_V": _split_v, "UNPACK": _unpack}

RULE = Rule(
    "parts",
    "UNPACK and SPLIT_V become slices, PACK along the first axis becomes CONCATENATION",
    exact=True,
    apply=slice_parts,
)
