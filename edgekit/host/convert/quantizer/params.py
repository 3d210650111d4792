# SPDX-License-Identifier: Apache-2.0
"""Scales and zero points of ranges, weights and biases, and the integers of constants.

The arithmetic is that of TensorFlow's quantizer, to the last bit: scales are computed in float32.

Source:
    tensorflow/compiler/mlir/lite/quantization/common/quantization_lib/quantization_utils.cc
    (DownCastScale, ExtractMinMaxFromAttr, GetUniformQuantizedTypeForBias, QuantizeLegacy).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEAST_RANGE = 1e-6  # of a constant; a smaller one would have huge integers
_MOST_BIAS = (2**31 - 1) // 2  # the other half is for the accumulator
_CHUNK = 1 << 20  # values that are quantized at a time
_BIAS_DTYPE = "int32"

Real = NDArray[np.float32]


@dataclass(frozen=True)
class Params:
    """``real = scale * (q - zero_point)`` for integers of ``dtype`` from ``q_min`` to ``q_max``."""

    scales: tuple[float, ...]  # one, or one for each index of ``axis``; values of float32
    zero_point: int = 0
    axis: int = 0
    q_min: int = -128
    q_max: int = 127
    dtype: str = "int8"


def params_of_range(low: float, high: float) -> Params:
    """Return the parameters of an activation whose values are from ``low`` to ``high``."""
    low, high = min(low, 0.0), max(high, 0.0)
    with np.errstate(over="ignore"):
        scale = float((np.float32(high) - np.float32(low)) / np.float32(255))
    if np.isinf(scale):
        scale = float(np.float32((high - low) / 255))
    if scale == 0:
        return Params((1.0,), -128)
    zero_point = float(np.float32(-128 - low / scale))
    return Params((scale,), int(_rounded(np.array(min(127.0, max(-128.0, zero_point))))))


def params_of_constant(values: Real) -> Params:
    """Return the parameters of a constant in an elementwise operator."""
    low, high = _widened(*_ends(values))
    return params_of_range(low, high)


def params_of_weights(values: Real, axis: int | None) -> Params:
    """Return symmetric parameters of weights: one scale, or one for each index of ``axis``."""
    if axis is None:
        low, high = _ends(values)
        return _symmetric([max(-low, high)], 0)
    others = tuple(place for place in range(values.ndim) if place != axis)
    reach = np.maximum(values.max(axis=others), -values.min(axis=others))
    return _symmetric([max(0.0, float(each)) for each in reach], axis)


def params_of_bias(of_input: Params, of_weights: Params, rank: int) -> Params:
    """Return the parameters of a bias of ``rank`` dimensions."""
    scales = tuple(float(np.float32(of_input.scales[0] * each)) for each in of_weights.scales)
    axis = rank - 1 if rank > 1 and len(scales) > 1 else 0
    return Params(scales, 0, axis, -(2**31), 2**31 - 1, _BIAS_DTYPE)


def fit_bias(
    values: Real, of_bias: Params, of_input: Params, of_weights: Params
) -> tuple[Params, Params]:
    """Widen scales with which the bias would not leave room in 32 bits for the sum.

    Returns:
        The parameters of the bias and of the weights.
    """
    reach = np.abs(values.astype(np.float64)).ravel()
    if len(of_bias.scales) == 1:
        reach = reach.max(initial=0, keepdims=True)
    scales = np.array(of_bias.scales)
    too_large = reach / scales >= _MOST_BIAS
    if not too_large.any():
        return of_bias, of_weights
    wide = np.where(too_large, reach / _MOST_BIAS, scales)
    weights = np.where(too_large, wide / of_input.scales[0], of_weights.scales)
    return (
        replace(of_bias, scales=tuple(map(float, wide))),
        replace(of_weights, scales=tuple(map(float, weights))),
    )


def quantized(values: Real, params: Params) -> NDArray[Any]:
    """Return ``values`` as integers, in the same shape.

    Weights and biases are multiplied by the reciprocal of the scale, others divided by the scale.
    Ties round away from zero.
    """
    made = np.empty(values.shape, params.dtype)
    scales = np.array(params.scales, np.float32)
    multiplies = params.q_min == -127 or params.dtype == _BIAS_DTYPE
    factors = _reciprocal(values, params, scales) if multiplies else scales
    if len(scales) > 1:
        factors = factors.reshape([-1 if d == params.axis else 1 for d in range(values.ndim)])
    shape = (len(values), -1) if values.ndim else (1, 1)
    rows, out = values.reshape(shape), made.reshape(shape)
    factors = np.broadcast_to(factors, values.shape or shape).reshape(rows.shape)
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        steps = rows[part] * factors[part] if multiplies else rows[part] / factors[part]
        found = _rounded(steps.astype(np.float64)) + params.zero_point
        out[part] = np.clip(found, params.q_min, params.q_max)
    return made


def _reciprocal(values: Real, params: Params, scales: Real) -> Real:
    """Return the factors from real values to integers.

    For weights with one scale this is 127 / reach, which differs from 1 / scale in the last bit.
    """
    if params.dtype != _BIAS_DTYPE and len(scales) == 1:
        reach = np.float32(max(map(abs, _ends(values))))
        if reach / np.float32(127) == scales[0]:
            return np.array([np.float32(127) / reach], np.float32)
    return np.float32(1) / scales


def _symmetric(reaches: Sequence[float], axis: int) -> Params:
    ends = [_widened(-each, each) for each in reaches]
    scales = tuple(float(np.float32(high - low) / np.float32(254)) for low, high in ends)
    return Params(scales, 0, axis, -127, 127)


def _ends(values: Real) -> tuple[float, float]:
    return min(0.0, float(values.min())), max(0.0, float(values.max()))


def _widened(low: float, high: float) -> tuple[float, float]:
    if high - low > _LEAST_RANGE:
        return low, high
    return min(low, -_LEAST_RANGE / 2), max(high, _LEAST_RANGE / 2)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to the nearest integer; ties away from zero."""
    return np.trunc(values + np.copysign(0.5, values))
