# SPDX-License-Identifier: Apache-2.0
"""RELU_0_TO_1, which exporters write for hard sigmoids, as operators that compiler 16 has."""

from __future__ import annotations

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


RULE = Rule(
    "hard-sigmoid",
    "RELU_0_TO_1 becomes RELU and RELU_N1_TO_1",
    exact=True,
    apply=saturate_twice,
)
