# SPDX-License-Identifier: Apache-2.0
"""ABS, NEG, SQUARE and SQUARED_DIFFERENCE of real numbers as operators that map.

Normalization layers have them, and PReLU as exporters write it: relu(x) + slope * (x - |x|) / 2.
"""

from __future__ import annotations

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.rule import Rule

_KNOWN = ("ABS", "NEG", "SQUARE", "SQUARED_DIFFERENCE")


def multiply(model: Model) -> Model | None:
    """Return ``model`` with products in place of these operators on real numbers."""
    return rewrite_operators(model, _product)


def _product(edit: Edit, op: Operator) -> list[Operator]:
    out = edit.tensors[op.outputs[0]]
    if op.opcode not in _KNOWN or out.dtype != "FLOAT32":
        return []
    if op.opcode == "SQUARED_DIFFERENCE":
        difference = edit.activation(out, f"{out.name}/difference")
        options = {"fused_activation_function": "NONE", "pot_scale_int16": True}
        return [
            edit.operator("SUB", op.inputs, (difference,), options, "SubOptions"),
            pieces.mul(edit, difference, difference, op.outputs[0]),
        ]
    x, (result,) = op.inputs[0], op.outputs
    if op.opcode == "SQUARE":
        return [pieces.mul(edit, x, x, result)]
    minus = edit.constant(f"{out.name}/minus_one", np.array(-1, np.float32))
    if op.opcode == "NEG":
        return [pieces.mul(edit, x, minus, result)]
    above, below = (edit.activation(out, f"{out.name}/{part}") for part in ("above", "below"))
    return [  # max(x, 0) + max(-x, 0)
        edit.operator("RELU", (x,), (above,)),
        pieces.mul(edit, x, minus, below, fused="RELU"),
        pieces.add(edit, above, below, result),
    ]


RULE = Rule(
    "products",
    "ABS, NEG, SQUARE and SQUARED_DIFFERENCE of real numbers become operators that map",
    exact=True,
    apply=multiply,
)
