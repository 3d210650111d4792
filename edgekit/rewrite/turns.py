# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSEs of 8-bit tensors in the one order that was seen mapped: the last axis moves to front.

A TRANSPOSE that exchanges two blocks of axes is that of a matrix: of [1, A, 1, B] in the order
(0, 3, 1, 2), with RESHAPEs around it.
"""

from __future__ import annotations

import numpy as np

from edgekit.edgetpu.limits import TRANSPOSE_SEEN, TRANSPOSE_SEEN_MAPPED
from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.axes import moves_memory
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule


def turn_matrices(model: Model) -> Model | None:
    """Return ``model`` with such TRANSPOSEs in the order (0, 3, 1, 2)."""
    return rewrite_operators(model, _turned)


def _turned(edit: Edit, op: Operator) -> list[Operator]:
    if op.opcode != "TRANSPOSE" or edit.data(op.inputs[1]) is None:
        return []
    x, y = edit.tensors[op.inputs[0]], edit.tensors[op.outputs[0]]
    order = tuple(
        int(axis) % len(x.shape) for axis in np.ravel(np.asarray(edit.data(op.inputs[1])))
    )
    if x.is_dynamic or not is_8bit(x) or not 0 < x.num_elements <= TRANSPOSE_SEEN_MAPPED:
        return []
    if order == TRANSPOSE_SEEN or not moves_memory(y.shape, order):
        return []
    kept = [axis for axis in order if x.shape[axis] != 1]
    first = kept.index(min(kept))  # the block that was in front comes here
    if kept[first:] + kept[:first] != sorted(kept):
        return []
    columns = int(np.prod([x.shape[axis] for axis in kept[:first]]))
    return pieces.turn_matrix(
        edit, op.inputs[0], op.outputs[0], (x.num_elements // columns, columns)
    )


RULE = Rule(
    "transpose-order",
    "a TRANSPOSE that exchanges two blocks of axes gets the order that was seen mapped",
    exact=True,
    apply=turn_matrices,
)
