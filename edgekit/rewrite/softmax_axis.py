# SPDX-License-Identifier: Apache-2.0
"""SOFTMAX along another axis than the last: TRANSPOSEs that exchange two blocks of axes.

The converter exchanges that axis with the last one, before and after, which is not known to map.
Each vector stays the same in any order of the others: the axes after it move to the front, which
is the TRANSPOSE of a matrix, in the order that was seen mapped.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.rule import Rule

_ALONG_LAST = ("L2_NORMALIZATION", "LOG_SOFTMAX", "SOFTMAX")


def reorder(model: Model) -> Model | None:
    """Return ``model`` with such TRANSPOSEs around operators that work along the last axis."""
    edit = Edit(model)
    along_last = [op for op in edit.operators if op.opcode in _ALONG_LAST]
    reordered = [_reordered(edit, op) for op in along_last]
    return edit.build() if any(reordered) else None


def _reordered(edit: Edit, op: Operator) -> bool:
    before = edit.producers().get(op.inputs[0])
    readers = edit.consumers(op.outputs[0])
    if before is None or len(readers) != 1 or not _is_between(edit, op):
        return False
    to, back = _order(edit, before), _order(edit, readers[0])
    if not to or [to[axis] for axis in back] != list(range(len(to))):
        return False
    shape, axis = edit.tensors[before.inputs[0]].shape, to[-1]
    rows, columns = int(np.prod(shape[: axis + 1])), int(np.prod(shape[axis + 1 :]))
    # A matrix is exchanged by any TRANSPOSE; `turns` gives it the order that was seen.
    if columns == 1 or (len(shape) < 4 and shape[0] == 1):
        return False
    vectors = (1, 1, rows * columns // shape[axis], shape[axis])
    x, y = (
        edit.activation(edit.tensors[i], f"{edit.tensors[i].name}/vectors", shape=vectors)
        for i in (op.inputs[0], op.outputs[0])
    )
    place = edit.operators.index(op)
    edit.operators[place : place + 1] = [
        *pieces.turn_matrix(edit, before.inputs[0], x, (rows, columns)),
        replace(op, inputs=(x, *op.inputs[1:]), outputs=(y,)),
    ]
    end = edit.operators.index(readers[0])
    edit.operators[end : end + 1] = pieces.turn_matrix(
        edit, y, readers[0].outputs[0], (columns, rows)
    )
    return True


def _is_between(edit: Edit, op: Operator) -> bool:
    """Whether nothing else reads what goes into ``op`` and out of it."""
    ends = (op.inputs[0], op.outputs[0])
    return all(edit.is_internal(i) and len(edit.consumers(i)) == 1 for i in ends)


def _order(edit: Edit, op: Operator) -> tuple[int, ...]:
    """Return the order of a TRANSPOSE; empty if ``op`` is none or it is not constant."""
    values = edit.data(op.inputs[1]) if op.opcode == "TRANSPOSE" else None
    if values is None or edit.tensors[op.inputs[0]].is_dynamic:
        return ()
    return tuple(int(axis) % values.size for axis in np.ravel(values))


RULE = Rule(
    "softmax-axis",
    "TRANSPOSEs around a SOFTMAX along another axis than the last exchange two blocks of axes",
    exact=True,
    apply=reorder,
)
