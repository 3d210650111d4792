# SPDX-License-Identifier: Apache-2.0
"""GELU as LOGISTIC and MUL: ``x * sigmoid(1.702 x)``."""

from __future__ import annotations

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule

# Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), section 2; off by 0.021 at most.
_SLOPE = 1.702


def replace_gelu(model: Model) -> Model | None:
    """Return ``model`` with every 8-bit GELU replaced by three operators that map."""
    return rewrite_operators(model, _gelu)


def _gelu(edit: Edit, op: Operator) -> list[Operator]:
    x, y = op.inputs[0], op.outputs[0]
    if op.opcode != "GELU" or not all(is_8bit(edit.tensors[i]) for i in (x, y)):
        return []
    name = edit.tensors[y].name
    steeper, steeper_out = pieces.times(edit, x, _SLOPE, f"{name}/steeper")
    sigmoid, gate = pieces.logistic(edit, steeper_out, f"{name}/gate")
    return [steeper, sigmoid, pieces.mul(edit, x, gate, y)]


RULE = Rule(
    "gelu",
    "GELU becomes x * sigmoid(1.702 x) of LOGISTIC and MUL, off by 0.021 at most",
    exact=False,
    apply=replace_gelu,
)
