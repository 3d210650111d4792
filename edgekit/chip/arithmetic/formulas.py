# SPDX-License-Identifier: Apache-2.0
"""The formulas of the operators that compute. A formula returns None for a case it does not cover.

Source of the formulas: tinycoral, docs/isa/eltwise.md (multipliers and clamps by the reciprocal of
the output scale, every product is rounded to float32; an addition has integer weights).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, AbstractSet, Any, Iterator

import numpy as np

from edgekit.chip.arithmetic.scales import (
    ACTIVATIONS,
    constant,
    multiplier_of,
    requantize,
    scale_of,
    tensors_of,
    weights_of,
    zero_point_of,
)
from edgekit.formats.tflite import Model, Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ADD_WEIGHT_LIMIT = 32767  # int16 maximum; every pair seen fits limits from 25,319 on


def _windows(
    values: NDArray[Any], size: tuple[int, int], operator: Operator, fill: int
) -> tuple[NDArray[Any], tuple[int, int]]:
    """The padded image and the output size of a sliding window."""
    options = operator.options
    strides = options["stride_h"], options["stride_w"]
    dilations = options.get("dilation_h_factor", 1), options.get("dilation_w_factor", 1)
    padded, out = values, []
    for axis in (0, 1):
        length, step = values.shape[1 + axis], strides[axis]
        reach = (size[axis] - 1) * dilations[axis] + 1
        if options["padding"] == "SAME":
            number = -(-length // step)
            missing = max((number - 1) * step + reach - length, 0)
            pads = [(0, 0)] * 4
            pads[1 + axis] = (missing // 2, missing - missing // 2)
            padded = np.pad(padded, pads, constant_values=fill)
        else:
            number = (length - reach) // step + 1
        out.append(number)
    return padded, (out[0], out[1])


def _taps(
    padded: NDArray[Any], size: tuple[int, int], out: tuple[int, int], operator: Operator
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    options = operator.options
    step_y, step_x = options["stride_h"], options["stride_w"]
    dilate_y, dilate_x = options.get("dilation_h_factor", 1), options.get("dilation_w_factor", 1)
    for y in range(size[0]):
        for x in range(size[1]):
            top, left = y * dilate_y, x * dilate_x
            yield (
                y,
                x,
                padded[
                    :,
                    top : top + (out[0] - 1) * step_y + 1 : step_y,
                    left : left + (out[1] - 1) * step_x + 1 : step_x,
                ],
            )


def conv(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    """A convolution; a depthwise one uses one input channel for each filter."""
    source, weights, *_, output = tensors_of(model, operator)
    activation = operator.options["fused_activation_function"]
    total = conv_sums(model, operator, values)
    return requantize(total, multiplier_of(source, weights, output), output, activation)


def conv_sums(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    """The accumulators of a convolution, bias included."""
    source, weights, *rest = tensors_of(model, operator)
    kernel = weights_of(model, weights)
    data = values[operator.inputs[0]] - zero_point_of(source)
    size = kernel.shape[1:3]
    padded, out = _windows(data, size, operator, 0)
    deep = operator.opcode == "CONV_2D"
    total: Any = 0
    for y, x, part in _taps(padded, size, out, operator):
        if deep:
            total = total + part.astype(np.float64) @ kernel[:, y, x].T.astype(np.float64)
        else:
            times = kernel.shape[3] // part.shape[3]
            total = total + np.repeat(part, times, axis=3) * kernel[:, y, x]
    bias = constant(model, rest[0]) if len(rest) > 1 else 0
    sums: NDArray[np.int64] = np.rint(total).astype(np.int64) + bias
    return sums


def dense(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    """A dense layer."""
    source, weights, *_, output = tensors_of(model, operator)
    activation = operator.options["fused_activation_function"]
    total = dense_sums(model, operator, values)
    made = requantize(total, multiplier_of(source, weights, output), output, activation)
    return made.reshape(output.shape)


def dense_sums(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    """The accumulators of a dense layer, bias included."""
    source, weights, *rest = tensors_of(model, operator)
    kernel = weights_of(model, weights)
    data = (values[operator.inputs[0]] - zero_point_of(source)).reshape(-1, kernel.shape[1])
    bias = constant(model, rest[0]) if len(rest) > 1 else 0
    sums: NDArray[np.int64] = data @ kernel.T + bias
    return sums


def add_weights(first: np.float32, second: np.float32) -> tuple[int, int]:
    """The integer weights of an addition: the best rational of the two scales."""
    ratio = Fraction(float(second)) / Fraction(float(first))
    if ratio <= 1:
        fraction = ratio.limit_denominator(_ADD_WEIGHT_LIMIT)
        return fraction.denominator, fraction.numerator
    fraction = (1 / ratio).limit_denominator(_ADD_WEIGHT_LIMIT)
    return fraction.numerator, fraction.denominator


def add(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    """An addition of two activations."""
    first, second, output = tensors_of(model, operator)
    if any(index not in values for index in operator.inputs):
        return None
    scale_1, scale_2 = scale_of(first), scale_of(second)
    weight_1, weight_2 = add_weights(scale_1, scale_2)
    total = weight_1 * (values[operator.inputs[0]] - zero_point_of(first)) + weight_2 * (
        values[operator.inputs[1]] - zero_point_of(second)
    )
    multiplier = np.float32(scale_1 / np.float32(weight_1)) * (np.float32(1) / scale_of(output))
    return requantize(total, multiplier, output, operator.options["fused_activation_function"])


def _real_constant(model: Model, tensor: Tensor) -> float | None:
    """Return the value of a scalar constant; None if it has several values or is not constant."""
    data = model.data(tensor)
    if data is None or (data != data.reshape(-1)[:1]).any():
        return None
    zero = tensor.quantization.zero_point[0] if tensor.quantization else 0
    return (int(data.reshape(-1)[0]) - zero) * float(scale_of(tensor))


def subtract(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    """A subtraction of one constant, which becomes an integer bias in steps of the input."""
    first, second, output = tensors_of(model, operator)
    real = _real_constant(model, second)
    if real is None:
        return None
    bias = int(np.rint(real / float(scale_of(first))))
    total = values[operator.inputs[0]] - zero_point_of(first) - bias
    multiplier = scale_of(first) * (np.float32(1) / scale_of(output))
    return requantize(total, multiplier, output, operator.options["fused_activation_function"])


def _scaled(
    model: Model, operator: Operator, values: dict[int, Any], real: float
) -> NDArray[np.int64]:
    """Multiply by one constant: it becomes part of the multiplier."""
    first, _, output = tensors_of(model, operator)
    total = values[operator.inputs[0]] - zero_point_of(first)
    multiplier = (scale_of(first) * np.float32(real)) * (np.float32(1) / scale_of(output))
    return requantize(total, multiplier, output, operator.options["fused_activation_function"])


def mul(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    """A product of two activations, or of an activation and a constant."""
    first, second, output = tensors_of(model, operator)
    real = _real_constant(model, second)
    if real is not None and operator.inputs[0] in values:
        return _scaled(model, operator, values, real)
    if any(index not in values for index in operator.inputs):
        return None
    total = (values[operator.inputs[0]] - zero_point_of(first)) * (
        values[operator.inputs[1]] - zero_point_of(second)
    )
    multiplier = (scale_of(first) * scale_of(second)) * (np.float32(1) / scale_of(output))
    return requantize(total, multiplier, output, operator.options["fused_activation_function"])


def average(
    model: Model,
    operator: Operator,
    values: dict[int, Any],
    *,
    multipliers: AbstractSet[np.float32] = frozenset(),
) -> NDArray[np.int64] | None:
    """Return the mean over windows; None if the windows are padded.

    Google's compilers divide by the window size in one of two places. The last bit of the
    multiplier shows which: if the program's ``multipliers`` contain one of the two, it is used.
    """
    source, output = tensors_of(model, operator)
    total = window_sums(model, operator, values)
    if total is None:
        return None
    size = operator.options["filter_height"] * operator.options["filter_width"]
    number, inverse = np.float32(size), np.float32(1) / scale_of(output)
    last = scale_of(source) * inverse / number
    first = scale_of(source) * (np.float32(1) / number) * inverse
    multiplier = first if first in multipliers and last not in multipliers else last
    return requantize(total, multiplier, output)


def window_sums(
    model: Model, operator: Operator, values: dict[int, Any]
) -> NDArray[np.int64] | None:
    """Return the sums over windows; None if the windows are padded."""
    source, _ = tensors_of(model, operator)
    size = operator.options["filter_height"], operator.options["filter_width"]
    data = values[operator.inputs[0]]
    padded, out = _windows(data, size, operator, 0)
    if padded.shape != data.shape:
        return None
    parts = [part - zero_point_of(source) for _, _, part in _taps(padded, size, out, operator)]
    total: NDArray[np.int64] = np.sum(parts, axis=0)
    return total


def maximum(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    """The largest value of each window."""
    del model
    options = operator.options
    size = options["filter_height"], options["filter_width"]
    padded, out = _windows(values[operator.inputs[0]], size, operator, 0)
    parts = [part for _, _, part in _taps(padded, size, out, operator)]
    return np.max(parts, axis=0)  # type: ignore[no-any-return]


def mean(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    """A mean over whole axes."""
    source, axes, output = tensors_of(model, operator)
    over = tuple(int(axis) for axis in constant(model, axes).reshape(-1))
    data = values[operator.inputs[0]] - zero_point_of(source)
    number = int(np.prod([data.shape[axis] for axis in over]))
    ratio = scale_of(source) * (np.float32(1) / scale_of(output))
    total = data.sum(axis=over)
    return requantize(total, np.float32(ratio / np.float32(number)), output).reshape(output.shape)


def requantized(
    model: Model, operator: Operator, values: dict[int, Any]
) -> NDArray[np.int64] | None:
    """Return the same values at the scale of the output."""
    source, output = tensors_of(model, operator)
    if source.quantization is None or output.quantization is None:
        return None
    data = values[operator.inputs[0]] - zero_point_of(source)
    activation = operator.opcode if operator.opcode in ACTIVATIONS else "NONE"
    multiplier = scale_of(source) * (np.float32(1) / scale_of(output))
    return requantize(data, multiplier, output, activation)
