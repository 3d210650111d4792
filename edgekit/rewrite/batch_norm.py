# SPDX-License-Identifier: Apache-2.0
"""Batch normalization after an activation, folded into the convolution or dense layer after it.

TensorFlow folds it into the layer before, which an activation prevents. Its factors and shifts
would be constants that the Edge TPU gets again with every inference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Tuple

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.rule import Rule

_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_FILTER, _BIAS = 1, 2
_Vector = NDArray[np.float64]
_Norm = Tuple[int, _Vector, _Vector]  # source, factors, shifts


def fold(model: Model) -> Model | None:
    """Return the float ``model`` with factors and shifts in the weights of the layers after them.

    A shift is folded only if the layer does not pad: zeros around the shifted image are not zeros
    around the image.
    """
    edit = Edit(model)
    found = False
    for op in list(edit.operators):
        norm = _norm(edit, op)
        if norm is not None:
            place = edit.operators.index(op)
            edit.operators[place] = _folded(edit, op, *norm)
            found = True
    return edit.build() if found else None


def _norm(edit: Edit, op: Operator) -> _Norm | None:
    """Return the tensor before the normalization in front of ``op``, with factors and shifts."""
    if op.opcode not in _LAYERS or not _is_float(edit, op):
        return None
    source, depth = op.inputs[0], edit.tensors[op.inputs[0]].shape[-1]
    weights = edit.tensors[op.inputs[_FILTER]].shape
    if weights[-1] != depth:  # groups, several outputs for a channel, a flattened image
        return None
    producers = edit.producers()
    factor, shift = np.ones(depth), np.zeros(depth)
    best: _Norm | None = None
    while True:
        front = producers.get(source)
        if front is None or len(edit.consumers(source)) != 1 or not edit.is_internal(source):
            return best
        operand = _operand(edit, front, depth)
        if operand is None:
            return best
        source, values = operand
        if front.opcode == "ADD":
            shift = shift + factor * values
        else:
            factor = factor * values
        if not shift.any() or not _pads(op, weights):
            best = source, factor, shift


def _is_float(edit: Edit, op: Operator) -> bool:
    indices = [index for index in (*op.inputs, *op.outputs) if index >= 0]
    constants = [index for index in op.inputs[1:] if index >= 0]
    return all(edit.tensors[index].dtype == "FLOAT32" for index in indices) and all(
        edit.data(index) is not None for index in constants
    )


def _operand(edit: Edit, op: Operator, depth: int) -> tuple[int, _Vector] | None:
    """Return the other input of an ADD or MUL with a number for each channel, and the numbers."""
    if op.opcode not in ("ADD", "MUL") or op.options.get("fused_activation_function") != "NONE":
        return None
    for x, other in (op.inputs, op.inputs[::-1]):
        values = edit.data(other)
        same = edit.tensors[x].shape == edit.tensors[op.outputs[0]].shape
        if values is None or edit.data(x) is not None or not same:
            continue
        if values.size == 1 or values.shape[-1:] == (depth,) == (values.size,):
            return x, np.broadcast_to(values.ravel().astype(np.float64), (depth,))
    return None


def _pads(op: Operator, weights: tuple[int, ...]) -> bool:
    is_pixel = op.opcode == "FULLY_CONNECTED" or weights[1:3] == (1, 1)
    return not is_pixel and op.options.get("padding") != "VALID"


def _folded(edit: Edit, op: Operator, source: int, factor: _Vector, shift: _Vector) -> Operator:
    weights = np.asarray(edit.data(op.inputs[_FILTER]), np.float64)
    axes = tuple(range(1, weights.ndim))
    if op.opcode == "DEPTHWISE_CONV_2D":
        axes = (0, 1, 2)
    bias = op.inputs[_BIAS] if len(op.inputs) > _BIAS else -1
    added = (weights * shift).sum(axis=axes)
    biases = added if bias < 0 else np.asarray(edit.data(bias), np.float64) + added
    name = edit.tensors[op.inputs[_FILTER]].name
    inputs = (
        source,
        _constant(edit, f"{name}/folded", weights * factor),
        _constant(edit, f"{name}/folded_bias", biases),
    )
    return replace(op, inputs=inputs)


def _constant(edit: Edit, name: str, values: NDArray[Any]) -> int:
    return edit.constant(name, values.astype(np.float32))


RULE = Rule(
    "batch-norm",
    "factors and shifts for each channel are folded into the weights of the layer after them",
    exact=False,
    apply=fold,
)
