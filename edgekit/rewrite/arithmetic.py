# SPDX-License-Identifier: Apache-2.0
"""NEG, SQUARE and SQUARED_DIFFERENCE of real numbers as SUB and MUL: normalization layers.

The first two have no 8-bit form; the last one was never seen mapped.
"""

from __future__ import annotations

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.rule import Rule

_KNOWN = ("NEG", "SQUARE", "SQUARED_DIFFERENCE")
_PLAIN = {"fused_activation_function": "NONE"}


def multiply(model: Model) -> Model | None:
    """Return ``model`` with products in place of these operators on real numbers."""
    return rewrite_operators(model, _product)


def _product(edit: Edit, op: Operator) -> list[Operator]:
    out = edit.tensors[op.outputs[0]]
    if op.opcode not in _KNOWN or out.dtype != "FLOAT32":
        return []
    if op.opcode == "SQUARED_DIFFERENCE":
        difference = edit.activation(out, f"{out.name}/difference")
        options = {**_PLAIN, "pot_scale_int16": True}
        return [
            edit.operator("SUB", op.inputs, (difference,), options, "SubOptions"),
            edit.operator("MUL", (difference, difference), op.outputs, _PLAIN, "MulOptions"),
        ]
    x = other = op.inputs[0]
    if op.opcode == "NEG":
        other = edit.constant(f"{out.name}/minus_one", np.array(-1, np.float32))
    return [edit.operator("MUL", (x, other), op.outputs, _PLAIN, "MulOptions")]


RULE = Rule(
    "products",
    "NEG, SQUARE and SQUARED_DIFFERENCE of real numbers become SUB and MUL",
    exact=True,
    apply=multiply,
)
