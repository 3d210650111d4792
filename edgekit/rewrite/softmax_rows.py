# SPDX-License-Identifier: Apache-2.0
"""A SOFTMAX of many vectors, as in attention, in parts that are not larger than those seen mapped.

SLICEs cut rows out of the last two axes, CONCATENATIONs join them again.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Sequence

import numpy as np

from edgekit.edgetpu.limits import SOFTMAXES_SEEN_MAPPED
from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.rule import Rule

_MOST_PARTS = 128
_MOST_RANK = 4


def split(model: Model) -> Model | None:
    """Return ``model`` with large SOFTMAXes of many vectors in parts."""
    return rewrite_operators(model, _split)


def _split(edit: Edit, op: Operator) -> Sequence[Operator]:
    x, y = (edit.tensors[index] for index in (op.inputs[0], op.outputs[0]))
    if op.opcode != "SOFTMAX" or x.is_dynamic or not 2 <= len(x.shape) <= _MOST_RANK:
        return []
    *outer, rows, width = x.shape
    at_once = SOFTMAXES_SEEN_MAPPED // max(width, 1)
    if x.num_elements <= SOFTMAXES_SEEN_MAPPED or not at_once or outer[:1] not in ([], [1]):
        return []
    if int(np.prod(outer)) * -(-rows // at_once) > _MOST_PARTS:
        return []
    operators: list[Operator] = []
    parts: list[int] = []
    for place in itertools.product(*map(range, outer)):
        matrix = []
        for start in range(0, rows, at_once):
            shape = (*[1] * len(outer), min(at_once, rows - start), width)
            given = edit.activation(x, f"{x.name}/rows", shape=shape)
            made = edit.activation(y, f"{y.name}/rows", shape=shape)
            operators.append(pieces.slice_from(edit, op.inputs[0], (*place, start, 0), given))
            operators.append(replace(op, inputs=(given,), outputs=(made,)))
            matrix.append(made)
        parts.append(_joined(edit, operators, matrix, len(outer)))
    for axis in reversed(range(len(outer))):
        size = outer[axis]
        groups = [parts[start : start + size] for start in range(0, len(parts), size)]
        parts = [_joined(edit, operators, group, axis) for group in groups]
    return pieces.ending_in(operators, op.outputs[0])


def _joined(edit: Edit, operators: list[Operator], parts: Sequence[int], axis: int) -> int:
    """Return ``parts`` joined along an axis, by an operator that is added."""
    if len(parts) == 1:
        return parts[0]
    like = edit.tensors[parts[0]]
    size = sum(edit.tensors[part].shape[axis] for part in parts)
    shape = (*like.shape[:axis], size, *like.shape[axis + 1 :])
    out = edit.activation(like, f"{like.name}/joined", shape=shape)
    operators.append(pieces.concatenate(edit, parts, axis, out))
    return out


RULE = Rule(
    "softmax-rows",
    "a SOFTMAX of more vectors than were seen mapped works on some of them at a time",
    exact=True,
    apply=split,
)
