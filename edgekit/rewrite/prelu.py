# SPDX-License-Identifier: Apache-2.0
"""PRELU as MAXIMUM, MINIMUM, MUL and ADD."""

from __future__ import annotations

from typing import Collection

import numpy as np

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators, same_quantization
from edgekit.rewrite.rule import Rule


def replace_prelu(model: Model) -> Model | None:
    """Return ``model`` with 8-bit PRELU of constant slopes replaced by operators seen to map."""
    return rewrite_operators(model, _prelu)


def replace_other_prelu(model: Model, kept: Collection[int]) -> Model | None:
    """Like `replace_prelu`, except for the operators at the positions ``kept``."""
    outputs = {model.main.operators[position].outputs for position in kept}
    return rewrite_operators(
        model, lambda edit, op: [] if op.outputs in outputs else _prelu(edit, op)
    )


def _prelu(edit: Edit, op: Operator) -> list[Operator]:
    """Return ``max(x, alpha x)`` if all slopes are in 0..1, else ``max(x, 0) + alpha min(x, 0)``.

    Every multiplication has the same multiplier as the kernel of PRELU, and one operand of the sum
    is always zero: the integers are the same, except for ties in QUANTIZE, as with LEAKY_RELU. No
    compiled model is known in which PRELU itself is mapped; these operators are.
    """
    if (
        op.opcode != "PRELU"
        or edit.data(op.inputs[1]) is None
        or not all(is_8bit(edit.tensors[i]) for i in (*op.inputs, *op.outputs))
    ):
        return []
    (x, alpha), y = op.inputs, op.outputs[0]
    out = edit.tensors[y]
    slopes = edit.tensors[alpha]
    codes = np.asarray(edit.data(alpha), np.int64) - int(slopes.zero_point or 0)
    real = codes * float(slopes.scale or 1)
    alpha = _full_rank(edit, alpha, len(edit.tensors[x].shape))
    operators: list[Operator] = []
    same = x
    if not same_quantization(edit.tensors[x], out):
        same = edit.activation(out, f"{out.name}/rescaled")
        operators.append(pieces.quantize(edit, x, same))
    multiple = edit.activation(out, f"{out.name}/multiple")
    if real.min() >= 0 and real.max() <= 1:
        operators.append(pieces.mul(edit, x, alpha, multiple))
        return [*operators, pieces.maximum(edit, same, multiple, y)]
    below = edit.activation(edit.tensors[x], f"{out.name}/below")
    above = edit.activation(out, f"{out.name}/above")
    return [
        *operators,
        pieces.minimum(edit, x, pieces.zero(edit, edit.tensors[x], f"{out.name}/zero_in"), below),
        pieces.mul(edit, below, alpha, multiple),
        pieces.maximum(edit, same, pieces.zero(edit, out, f"{out.name}/zero_out"), above),
        pieces.add(edit, above, multiple, y),
    ]


def _full_rank(edit: Edit, alpha: int, rank: int) -> int:
    """Return slopes with leading dimensions of 1: compilers have been seen to accept this form."""
    tensor = edit.tensors[alpha]
    if len(tensor.shape) >= rank:
        return alpha
    shape = (1,) * (rank - len(tensor.shape)) + tensor.shape
    return edit.reshaped_constant(alpha, shape)


RULE = Rule(
    "prelu",
    "PRELU becomes MAXIMUM(x, alpha * x), or max(x, 0) + alpha * min(x, 0)",
    exact=False,  # because of ties
    apply=replace_prelu,
    apply_to_others=replace_other_prelu,
)
