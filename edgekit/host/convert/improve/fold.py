# SPDX-License-Identifier: Apache-2.0
"""Fold constant factors and addends, such as a batch normalization, into the layer before.

Left alone, each is an operator with a rounding and a range of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.host.convert.improve.channels import LINEAR, constants_of, is_linear
from edgekit.rewrite.edit import Edit, is_editable

_FUSED = "fused_activation_function"
_Values = NDArray[np.float64]


def fold_constants_into_layers(model: Model) -> tuple[Model, int] | None:
    """Return ``model`` without MUL, ADD and SUB of constants behind layers, and their number.

    The constant is one number, or one for each channel, and nothing else reads the layer's output.
    None if there is nothing to fold.
    """
    if not is_editable(model):
        return None
    edit = Edit(model)
    made_by: dict[int, Operator] = {}
    operators: list[Operator] = []
    count = 0
    for op in edit.operators:
        folded = _folded(edit, op, made_by)
        if folded is not None:
            count += 1
            operators = [each for each in operators if each is not made_by[_source(edit, op)]]
        operators.append(folded or op)
        made_by.update(dict.fromkeys(op.outputs, operators[-1]))
    edit.operators = operators
    return (edit.build(), count) if count else None


def _source(edit: Edit, op: Operator) -> int:
    return next(index for index in op.inputs if edit.data(index) is None)


def _folded(edit: Edit, op: Operator, made_by: dict[int, Operator]) -> Operator | None:
    """Return the layer before with the constant of ``op`` in it; None if that is not possible."""
    factors = _affine(edit, op)
    layer = made_by.get(_source(edit, op)) if factors is not None else None
    if layer is None or factors is None or layer.opcode not in LINEAR:
        return None
    middle = layer.outputs[0]
    is_alone = len(edit.consumers(middle)) == 1 and edit.is_internal(middle)
    if not is_alone or layer.options.get(_FUSED, "NONE") != "NONE" or not is_linear(edit, layer):
        return None
    if edit.tensors[op.outputs[0]].shape != edit.tensors[middle].shape:
        return None
    factor, addend = factors
    weights, bias = constants_of(layer)
    channels = edit.tensors[middle].shape[-1]
    if not {factor.size, addend.size} <= {1, channels}:
        return None
    old = np.zeros(channels) if bias < 0 else np.asarray(edit.data(bias), np.float64)
    fresh = {
        weights: _times(layer, np.asarray(edit.data(weights), np.float64), factor),
        bias: np.broadcast_to(old * factor + addend, (channels,)),
    }
    name = edit.tensors[weights].name
    index = {
        place: edit.constant(f"{name}/folded", values.astype(np.float32))
        for place, values in fresh.items()
    }
    inputs = [index.get(place, place) for place in layer.inputs]
    if bias < 0 and -1 not in layer.inputs:
        inputs.append(index[bias])
    options = {**layer.options, _FUSED: op.options.get(_FUSED, "NONE")}
    return replace(layer, inputs=tuple(inputs), outputs=op.outputs, options=options)


def _affine(edit: Edit, op: Operator) -> tuple[_Values, _Values] | None:
    """Return the factor and the addend of a MUL, ADD or SUB with a float constant, flat."""
    if op.opcode not in ("MUL", "ADD", "SUB") or len(op.inputs) != 2:
        return None
    left, right = (edit.data(index) for index in op.inputs)
    if (left is None) == (right is None):
        return None
    constant = right if left is None else left
    if constant is None or constant.dtype != np.float32:
        return None
    if constant.size != np.prod(constant.shape[-1:], dtype=int):  # not along channels only
        return None
    values, one = np.asarray(constant, np.float64).ravel(), np.ones(1)
    if op.opcode == "MUL":
        return values, 0 * one
    if op.opcode == "ADD":
        return one, values
    return (one, -values) if left is None else (-one, values)


def _times(layer: Operator, weights: _Values, factor: _Values) -> _Values:
    """Multiply the weights of each output channel."""
    if layer.opcode == "DEPTHWISE_CONV_2D":
        return weights * factor
    return weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
