# SPDX-License-Identifier: Apache-2.0
"""Operators on real numbers without an integer form as products, sums and RSQRT.

Normalization layers have SQUARED_DIFFERENCE, SQUARE, and quotients by SQRT; PReLU as exporters
write it is relu(x) + slope * (x - |x|) / 2; GELU contains a POW.
"""

from __future__ import annotations

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.rule import Rule


def multiply(model: Model) -> Model | None:
    """Return ``model`` with products in place of these operators on real numbers."""
    return rewrite_operators(model, _product)


def _product(edit: Edit, op: Operator) -> list[Operator]:
    rule = _RULES.get(op.opcode)
    if rule is None or edit.tensors[op.outputs[0]].dtype != "FLOAT32":
        return []
    return rule(edit, op)


def _squared_difference(edit: Edit, op: Operator) -> list[Operator]:
    out = edit.tensors[op.outputs[0]]
    difference = edit.activation(out, f"{out.name}/difference")
    return [
        pieces.subtract(edit, op.inputs[0], op.inputs[1], difference),
        pieces.mul(edit, difference, difference, op.outputs[0]),
    ]


def _square(edit: Edit, op: Operator) -> list[Operator]:
    return [pieces.mul(edit, op.inputs[0], op.inputs[0], op.outputs[0])]


def _negative(edit: Edit, op: Operator) -> list[Operator]:
    return [pieces.mul(edit, op.inputs[0], _number(edit, op, -1), op.outputs[0])]


def _power(edit: Edit, op: Operator) -> list[Operator]:
    """Powers of 2, 3 and -1/2."""
    exponent = edit.data(op.inputs[1])
    if exponent is None or exponent.size != 1:
        return []
    x, y, number = op.inputs[0], op.outputs[0], float(exponent.ravel()[0])
    if number == 2:
        return _square(edit, op)
    if number == 3:
        squared = edit.activation(edit.tensors[x], f"{edit.tensors[y].name}/squared")
        return [pieces.mul(edit, x, x, squared), pieces.mul(edit, x, squared, y)]
    return [edit.operator("RSQRT", (x,), (y,))] if number == -0.5 else []


def _quotient(edit: Edit, op: Operator) -> list[Operator]:
    """Divide by a constant or by a square root."""
    fused = str(op.options.get("fused_activation_function", "NONE"))
    x, divisor = op.inputs
    values = edit.data(divisor)
    name = edit.tensors[op.outputs[0]].name
    if values is not None:
        if not values.all():
            return []
        factor = edit.constant(f"{name}/reciprocal", (1 / values).astype(np.float32))
        return [pieces.mul(edit, x, factor, op.outputs[0], fused)]
    root = edit.producers().get(divisor)
    if root is None or root.opcode != "SQRT":
        return []
    numerator = edit.data(x)
    is_one = numerator is not None and numerator.size == 1 and float(numerator.ravel()[0]) == 1
    if is_one and fused == "NONE":
        return [edit.operator("RSQRT", root.inputs, op.outputs)]
    inverse = edit.activation(edit.tensors[divisor], f"{name}/rsqrt")
    return [
        edit.operator("RSQRT", root.inputs, (inverse,)),
        pieces.mul(edit, x, inverse, op.outputs[0], fused),
    ]


def _absolute(edit: Edit, op: Operator) -> list[Operator]:
    x, (result,), out = op.inputs[0], op.outputs, edit.tensors[op.outputs[0]]
    minus = _number(edit, op, -1)
    above, below = (edit.activation(out, f"{out.name}/{part}") for part in ("above", "below"))
    return [  # max(x, 0) + max(-x, 0)
        edit.operator("RELU", (x,), (above,)),
        pieces.mul(edit, x, minus, below, fused="RELU"),
        pieces.add(edit, above, below, result),
    ]


def _number(edit: Edit, op: Operator, value: float) -> int:
    name = edit.tensors[op.outputs[0]].name
    return edit.constant(f"{name}/number", np.array(value, np.float32))


_RULES = {
    "ABS": _absolute,
    "DIV": _quotient,
    "NEG": _negative,
    "POW": _power,
    "SQUARE": _square,
    "SQUARED_DIFFERENCE": _squared_difference,
}


RULE = Rule(
    "products",
    "ABS, NEG, SQUARE, powers and quotients of real numbers become products, sums and RSQRT",
    exact=True,
    apply=multiply,
)
