# SPDX-License-Identifier: Apache-2.0
"""Cross-layer equalization: give the channels of a tensor ranges of similar size.

A tensor has one scale, which its widest channel sets. Dividing the narrow channels by factors below
1, and multiplying the weights that read them, changes no answer. After Nagel, van Baalen,
Blankevoort, Welling: Data-Free Quantization Through Weight Equalization and Bias Correction (2019);
the factors here come from the values on the calibration samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model, Operator
from edgekit.host.convert.improve.channels import (
    FIXED,
    LINEAR,
    Channels,
    constants_of,
    is_linear,
    linear_input,
    real_values,
    with_constants,
)
from edgekit.host.convert.improve.observe import ChannelRange
from edgekit.host.convert.improve.ranges import range_of, with_range
from edgekit.rewrite.edit import Edit

Factors = NDArray[np.float64]
Ranges = Mapping[int, ChannelRange]
_LEAST = 1e-3  # narrower channels get the factor of this share of a tensor's range
_HEADROOM = 1.1  # values of other samples may be larger
_UNCHANGED = 0.8  # a network whose factors are all above this is left as it is
_CODES = 255.0
_LARGEST_CODE = 127.0
_ROUNDS = 3


def find_factors(model: Model, channels: Channels, ranges: Ranges) -> Factors | None:
    """Return the factor of each class of channels: between 0 and 1, and 1 for those that stay.

    It is infinite for dead channels, which become 0: all weights that read them are 0. None if
    equalization has no use.
    """
    edit = Edit(model)
    is_dead = _are_dead(edit, channels, ranges)
    alive = {
        index: replace(
            each,
            low=np.where(is_dead[channels.classes[index]], 0, each.low),
            high=np.where(is_dead[channels.classes[index]], 0, each.high),
        )
        for index, each in ranges.items()
    }
    least = _least_factors(edit, channels, alive)
    factors = _balanced(edit, channels, alive, least)
    if is_dead.any():
        return np.where(is_dead, np.inf, factors)
    return factors if factors.min(initial=1.0) < _UNCHANGED else None


def _are_dead(edit: Edit, channels: Channels, ranges: Ranges) -> NDArray[np.bool_]:
    """Return for each class whether it has values, but all weights that read it are 0."""
    is_read, has_values = (np.zeros(channels.count, np.bool_) for _ in range(2))
    is_read[FIXED] = True
    for index, each in ranges.items():
        has_values[channels.classes[index][each.reach > 0]] = True
    for op in edit.operators:
        if op.opcode in LINEAR and is_linear(edit, op):
            x = channels.classes[linear_input(op)]
            weights = _by_input(edit, op)
            used = (weights.reshape(-1, len(x)) != 0).any(axis=0)
            is_read[x[used]] = True
        elif op.opcode == "MUL":  # with a constant
            for index in op.inputs:
                is_read[channels.classes.get(index, np.zeros(1, np.int64))] = True
    return has_values & ~is_read


def _least_factors(edit: Edit, channels: Channels, ranges: Ranges) -> Factors:
    """Return the factors at which some channel of each class fills the range of its tensor.

    No range becomes wider. A dense layer has one scale for all its weights, so its rows count as
    a tensor.
    """
    least = np.zeros(channels.count)
    for index, each in ranges.items():
        _raise(least, channels.classes[index], each.reach)
    for op in edit.operators:
        if op.opcode == "FULLY_CONNECTED" and is_linear(edit, op):
            rows = np.abs(real_values(edit, op.inputs[1])).max(axis=1)
            _raise(least, channels.classes[op.outputs[0]], rows)
    least[FIXED] = 1.0
    # A channel that is always 0 in the samples may have any size in others.
    return np.where(least > 0, np.clip(least * _HEADROOM, _LEAST, 1.0), 1.0)


def _raise(least: Factors, classes: NDArray[np.int64], reach: Factors) -> None:
    widest = float(reach.max(initial=0.0))
    if widest > 0:
        np.maximum.at(least, classes, reach / widest)


def _balanced(edit: Edit, channels: Channels, ranges: Ranges, least: Factors) -> Factors:
    """Return the factors with the least expected noise of rounding.

    A smaller factor makes the rounding of a channel finer and that of the weights that read it
    coarser, except in a depthwise convolution, whose channels have scales of their own: for
    factors f the noise is a f^2 + b / f^2, which is least at f^4 = b / a.
    """
    factors = least.copy()
    for _ in range(_ROUNDS):
        activations, weights = (np.zeros(channels.count) for _ in range(2))
        for op in edit.operators:
            x = linear_input(op) if op.opcode in LINEAR else -1
            if x in ranges and is_linear(edit, op):
                a, b = _noise(edit, op, ranges[x], factors[channels.classes[x]])
                np.add.at(activations, channels.classes[x], a)
                np.add.at(weights, channels.classes[x], b)
        with np.errstate(divide="ignore", invalid="ignore"):
            best = np.sqrt(np.sqrt(weights / activations))
        best = np.where(activations > 0, best, 1.0)
        factors = np.clip(best, least, 1.0)
        factors[FIXED] = 1.0
    return factors


def _noise(
    edit: Edit, op: Operator, values: ChannelRange, factors: Factors
) -> tuple[Factors, Factors]:
    """Return a and b of `_balanced`, both (input channels,), over the power of the output."""
    matrix = _by_input(edit, op)  # (outputs, taps, inputs)
    channels = len(factors)
    matrix = matrix.reshape(len(matrix), -1, channels)
    power = float((matrix**2 * values.power).sum()) or 1.0
    step = (values.high.max() - values.low.min()) / _CODES
    a = (matrix**2).sum(axis=(0, 1)) * step**2 / power
    if op.opcode == "DEPTHWISE_CONV_2D":
        return a, np.zeros(channels)
    steps = np.abs(matrix * factors).max(axis=(1, 2)) / _LARGEST_CODE
    if op.opcode == "FULLY_CONNECTED":
        steps = np.full_like(steps, steps.max(initial=0.0))
    b = (steps**2).sum() * matrix.shape[1] * values.power / power
    return a, b


def _by_input(edit: Edit, op: Operator) -> Factors:
    """Return the weights as (outputs, taps, inputs)."""
    weights = real_values(edit, op.inputs[1])
    if op.opcode == "DEPTHWISE_CONV_2D":  # (1, h, w, inputs * multiplier)
        inputs = edit.tensors[linear_input(op)].shape[-1]
        return np.moveaxis(weights.reshape(-1, inputs, weights.shape[-1] // inputs), -1, 0)
    return weights.reshape(len(weights), -1, weights.shape[-1])


def equalize(model: Model, channels: Channels, factors: Factors, ranges: Ranges) -> Model:
    """Return ``model`` with every channel divided by the factor of its class.

    Args:
        model: The network with the ranges of calibration.
        channels: Its classes of channels.
        factors: (classes,) as from `find_factors`.
        ranges: The values of the tensors; those that change get new ranges of calibration.
    """
    edit = Edit(model)
    # A dead channel is divided by infinity; the weights that read it are 0 and stay.
    by_tensor = {index: factors[classes] for index, classes in channels.classes.items()}
    edit.operators = [_scaled(edit, op, by_tensor) for op in edit.operators]
    for index, each in ranges.items():
        tensor, factor = edit.tensors[index], by_tensor[index]
        if range_of(tensor) is not None and (factor != 1).any():
            low, high = (each.low / factor).min(), (each.high / factor).max()
            edit.tensors[index] = with_range(tensor, float(low), float(high))
    return edit.build()


def _scaled(edit: Edit, op: Operator, by_tensor: Mapping[int, Factors]) -> Operator:
    """Return ``op`` with constants that fit the factors of its input and output."""
    out = by_tensor.get(op.outputs[0])
    if out is None:
        return op
    if op.opcode in LINEAR and is_linear(edit, op):
        x = by_tensor[linear_input(op)]
        x = np.where(np.isinf(x), 1, x)
        if (x == 1).all() and (out == 1).all():
            return op
        weights, bias = constants_of(op)
        changed = {weights: _weights(edit, op, x, out)}
        if bias >= 0:
            changed[bias] = real_values(edit, bias) / out
    elif op.opcode in ("ADD", "SUB", "MUL"):
        constants = [index for index in op.inputs if edit.data(index) is not None]
        others = [index for index in op.inputs if index in by_tensor]
        if len(constants) != 1 or len(others) != 1:
            return op
        factor = (by_tensor[others[0]] if op.opcode == "MUL" else np.ones_like(out)) / out
        if (factor == 1).all():
            return op
        changed = {constants[0]: real_values(edit, constants[0]) * factor}
    else:
        return op
    return with_constants(edit, op, changed)


def _weights(edit: Edit, op: Operator, x: Factors, out: Factors) -> Factors:
    weights = real_values(edit, op.inputs[1])
    if op.opcode == "DEPTHWISE_CONV_2D":
        return weights * np.repeat(x, weights.shape[-1] // len(x)) / out
    x = np.tile(x, weights.shape[-1] // len(x))  # a dense layer may read a flattened image
    return weights * x / out.reshape(-1, *[1] * (weights.ndim - 1))


def num_changed(channels: Channels, factors: Factors) -> int:
    """Return the number of tensors that have a channel with a factor other than 1."""
    return sum(bool((factors[each] != 1).any()) for each in channels.classes.values())
