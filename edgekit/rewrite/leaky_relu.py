# SPDX-License-Identifier: Apache-2.0
"""LEAKY_RELU as MAXIMUM of the input and its multiple."""

from __future__ import annotations

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators, same_quantization
from edgekit.rewrite.rule import Rule


def replace_leaky_relu(model: Model) -> Model | None:
    """Return ``model`` with every 8-bit LEAKY_RELU replaced by operators that map."""
    return rewrite_operators(model, _leaky_relu)


def _leaky_relu(edit: Edit, op: Operator) -> list[Operator]:
    """Return MAXIMUM(x, alpha * x), with both operands first rescaled to the scale of the output.

    The kernel of LEAKY_RELU multiplies by ``s_in / s_out`` above zero and by
    ``alpha * s_in / s_out`` below. QUANTIZE does the first; MUL by a constant of code 1 and scale
    alpha does the second. The integers are the same, except for ties, which QUANTIZE may round
    the other way (it divides the scales in double precision, the kernel in single precision).
    """
    x, y = op.inputs[0], op.outputs[0]
    alpha = float(op.options.get("alpha", 0.0))
    if op.opcode != "LEAKY_RELU" or not all(is_8bit(edit.tensors[i]) for i in (x, y)):
        return []
    if not 0 <= alpha <= 1:
        return []
    out = edit.tensors[y]
    operators: list[Operator] = []
    same = x
    if not same_quantization(edit.tensors[x], out):
        same = edit.activation(out, f"{out.name}/rescaled")
        operators.append(pieces.quantize(edit, x, same))
    factor = pieces.constant(edit, edit.tensors[x], f"{out.name}/alpha", alpha)
    if alpha == 0:
        # A scale must not be zero: for alpha 0, use the code of the zero point.
        factor = pieces.zero(edit, edit.tensors[x], f"{out.name}/zero")
    multiple = edit.activation(out, f"{out.name}/multiple")
    operators.append(pieces.mul(edit, x, factor, multiple))
    return [*operators, pieces.maximum(edit, same, multiple, y)]


RULE = Rule(
    "leaky-relu",
    "LEAKY_RELU with alpha from 0 to 1 becomes MAXIMUM(x, alpha * x)",
    exact=False,  # because of ties
    apply=replace_leaky_relu,
)
