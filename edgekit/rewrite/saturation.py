# SPDX-License-Identifier: Apache-2.0
"""Saturating activations in forms that compiler 16 has and can compute.

RELU_0_TO_1, which exporters write for hard sigmoids, is not one of its operators. It refuses a file
with a fused RELU6 or RELU_N1_TO_1 whose bound needs more than 32 bits in steps of the output.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.edgetpu.lints import bound_beyond_32_bits
from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite.edit import Edit, rewrite_operators
from edgekit.rewrite.rule import Rule


def saturate_twice(model: Model) -> Model | None:
    """Return ``model`` with RELU, then RELU_N1_TO_1, in place of each RELU_0_TO_1.

    Of integers the first one rescales; the second one saturates on the same scale.
    """
    return rewrite_operators(model, _saturated)


def _saturated(edit: Edit, op: Operator) -> list[Operator]:
    if op.opcode != "RELU_0_TO_1":
        return []
    out = edit.tensors[op.outputs[0]]
    positive = edit.activation(out, f"{out.name}/positive")
    return [
        edit.operator("RELU", op.inputs, (positive,)),
        edit.operator("RELU_N1_TO_1", (positive,), op.outputs),
    ]


# Fused activation -> what is left without its upper bound; -1 is as far away as 1.
_UNBOUNDED = {"RELU6": "RELU", "RELU_N1_TO_1": "NONE"}


def drop_unreachable_bounds(model: Model) -> Model | None:
    """Return ``model`` without fused bounds that need more than 32 bits in steps of the output.

    All codes of such an output are far below the bound, so no value changes.
    """
    return rewrite_operators(model, _unbounded)


def _unbounded(edit: Edit, op: Operator) -> list[Operator]:
    if not op.outputs or bound_beyond_32_bits(op, edit.tensors[op.outputs[0]]) is None:
        return []
    name = "fused_activation_function"
    return [replace(op, options={**op.options, name: _UNBOUNDED[op.options[name]]})]


RULE = Rule(
    "hard-sigmoid",
    "RELU_0_TO_1 becomes RELU and RELU_N1_TO_1",
    exact=True,
    apply=saturate_twice,
)
