# SPDX-License-Identifier: Apache-2.0
"""Activations fused into pooling or CONCATENATION: moved to the operator before, or separate."""

from __future__ import annotations

from dataclasses import replace

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, same_quantization
from edgekit.rewrite.rule import Rule

_FUSED = "fused_activation_function"
_REFUSED = ("AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D")
_TAKE_IT = ("ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_LIMITS = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


def unfuse(model: Model) -> Model | None:
    """Return ``model`` without activations that are fused into operators that do not take them.

    An activation is left out if the output's range ends where it saturates. The largest of
    saturated values is the saturated largest value, so it moves from MAX_POOL_2D to the
    convolution before. Otherwise it becomes an operator.
    """
    edit = Edit(model)
    found = False
    for op in list(edit.operators):
        fused = str(op.options.get(_FUSED, "NONE"))
        if op.opcode in _REFUSED and fused in _LIMITS:
            _unfuse(edit, op, fused)
            found = True
    return edit.build() if found else None


def _unfuse(edit: Edit, op: Operator, fused: str) -> None:
    place = next(number for number, each in enumerate(edit.operators) if each is op)
    plain = replace(op, options={**op.options, _FUSED: "NONE"})
    edit.operators[place] = plain
    front = edit.producers().get(op.inputs[0])
    if _is_range(edit, op.outputs[0], fused):
        return
    if op.opcode == "MAX_POOL_2D" and front is not None and _takes_it(edit, front, op):
        changed = replace(front, options={**front.options, _FUSED: fused})
        edit.operators = [changed if each is front else each for each in edit.operators]
        return
    out = edit.tensors[op.outputs[0]]
    before = edit.activation(out, f"{out.name}/linear")
    edit.operators[place : place + 1] = [
        replace(plain, outputs=(before,)),
        edit.operator(fused, (before,), op.outputs),
    ]


def _is_range(edit: Edit, index: int, fused: str) -> bool:
    """Whether the range of an 8-bit tensor saturates where the activation does."""
    tensor = edit.tensors[index]
    if not is_8bit(tensor):
        return False
    (low, high), limits = pieces.real_range(tensor), _LIMITS[fused]
    return low >= limits[0] and (limits[1] is None or high <= limits[1])


def _takes_it(edit: Edit, front: Operator, op: Operator) -> bool:
    index = op.inputs[0]
    return (
        front.opcode in _TAKE_IT
        and front.options.get(_FUSED, "NONE") == "NONE"
        and edit.is_internal(index)
        and len(edit.consumers(index)) == 1
        and same_quantization(edit.tensors[index], edit.tensors[op.outputs[0]])
    )


RULE = Rule(
    "fused-activations",
    "an activation fused into pooling or CONCATENATION moves to the convolution before, or becomes "
    "an operator",
    exact=True,
    apply=unfuse,
)
