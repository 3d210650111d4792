# SPDX-License-Identifier: Apache-2.0
"""HARD_SWISH as ADD and MUL: ``x * relu6(x + 3) / 6``."""

from __future__ import annotations

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule

_SHIFT, _TOP = 3.0, 6.0
_SMALLEST_TOP = 2.0**-6  # keeps the scale above zero for inputs that are always below -3


def replace_hard_swish(model: Model) -> Model | None:
    """Return ``model`` with every 8-bit HARD_SWISH replaced by three operators that map."""
    return rewrite_operators(model, _hard_swish)


def _hard_swish(edit: Edit, op: Operator) -> list[Operator]:
    """Return the three operators that replace a HARD_SWISH.

    The sum saturates at 0 and 6 because its range ends there; this is relu6 without rounding. The
    factor 1/6 changes only the scale of the other factor, not its codes. Only the sum and the
    product are rounded.
    """
    x, y = op.inputs[0], op.outputs[0]
    if op.opcode != "HARD_SWISH" or not all(is_8bit(edit.tensors[i]) for i in (x, y)):
        return []
    name = edit.tensors[y].name
    low, _ = pieces.q_range(edit.tensors[x])
    _, high = pieces.real_range(edit.tensors[x])
    top = min(_TOP, max(high + _SHIFT, _SMALLEST_TOP))
    gate = edit.requantized(x, top / 255, low, f"{name}/gate")
    three = pieces.constant(edit, edit.tensors[x], f"{name}/three", _SHIFT)
    sixth, sixth_out = pieces.times(edit, x, 1 / _TOP, f"{name}/sixth")
    return [
        pieces.add(edit, x, three, gate),
        sixth,
        pieces.mul(edit, sixth_out, gate, y),
    ]


RULE = Rule(
    "hard-swish",
    "HARD_SWISH becomes x/6 * relu6(x + 3) of ADD and MUL",
    exact=False,
    apply=replace_hard_swish,
)
