# SPDX-License-Identifier: Apache-2.0
"""Convolutions and dense layers.

Proved bit-equal on programs of Google's compiler (docs/emulator.md): CONV_2D and DEPTHWISE_CONV_2D
in 510 layers, 124,119,642 values (per tensor and per channel, with strides, dilation, and eight
filters for one channel), FULLY_CONNECTED in 20. Not proved: TRANSPOSE_CONV and a CONV_2D in
groups, of which the corpus has none; they follow the same rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from edgekit.chip.arithmetic.formulas.products import Matrix
from edgekit.chip.arithmetic.formulas.windows import Axis, axes_of, windows
from edgekit.chip.arithmetic.scales import (
    HIGHEST,
    Values,
    activation_of,
    constant,
    multiplier_of,
    requantize,
    tensors_of,
    zero_point_of,
)
from edgekit.formats.tflite import Model, Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


def conv(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """A convolution: also dilated, depthwise or in groups."""
    source, weights, *_, output = tensors_of(model, operator)
    multiplier = multiplier_of(source, weights, output)
    activation = activation_of(operator)
    result = np.empty(output.shape, np.uint8)
    for batch, row, sums in _sums(model, operator, values):
        made = requantize(sums, multiplier, output, activation)
        result[batch, row : row + len(sums)] = made
    return result


def conv_sums(model: Model, operator: Operator, values: Values) -> NDArray[np.int64]:
    """The accumulators of a convolution, bias included."""
    *_, output = tensors_of(model, operator)
    total = np.empty(output.shape, np.int64)
    for batch, row, sums in _sums(model, operator, values):
        total[batch, row : row + len(sums)] = np.rint(sums)
    return total


def _sums(
    model: Model, operator: Operator, values: Values
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield (batch element, first row, exact sums of some rows)."""
    source, weights, *rest = tensors_of(model, operator)
    kernel, zero = _float_weights(model, weights), zero_point_of(source)
    bias = _bias(model, rest[0] if len(rest) > 1 else None)
    data = values[operator.inputs[0]]
    axes = axes_of(operator, data.shape, kernel.shape[1:3])
    largest = max(zero, HIGHEST - zero)
    if operator.opcode == "DEPTHWISE_CONV_2D":
        sums_of: Any = _Depthwise(kernel, bias, largest)
    else:
        sums_of = _Dense(kernel, bias, largest, data.shape[3])
    for batch, image in enumerate(data):
        for row, part in windows(image, *axes, zero_point=zero):
            yield batch, row, sums_of(part)


class _Dense:
    """Sums over all channels of a window; with fewer channels in the weights, over groups."""

    def __init__(
        self, kernel: NDArray[np.float32], bias: NDArray[np.int64], largest: int, channels: int
    ) -> None:
        groups = channels // kernel.shape[3]
        self.channels = kernel.shape[3]
        biases = np.broadcast_to(bias, len(kernel))
        self.matrices = [
            Matrix(np.ascontiguousarray(each.reshape(len(each), -1).T), added, largest)
            for each, added in zip(np.split(kernel, groups), np.split(biases, groups))
        ]

    def __call__(self, part: NDArray[np.float32]) -> NDArray[Any]:
        rows, columns = part.shape[:2]
        made = []
        for number, matrix in enumerate(self.matrices):
            channels = slice(number * self.channels, (number + 1) * self.channels)
            flat = part[..., channels].reshape(rows * columns, -1)
            made.append(matrix.sums(flat).reshape(rows, columns, -1))
        return made[0] if len(made) == 1 else np.concatenate(made, axis=2)


class _Depthwise:
    """Sums over each channel alone; several filters may read one channel."""

    def __init__(self, kernel: NDArray[np.float32], bias: NDArray[np.int64], largest: int) -> None:
        self.kernel = kernel[0]
        bound = np.abs(self.kernel).sum((0, 1), dtype=np.float64) * largest
        is_small = float((bound + np.abs(bias)).max()) < 1 << 24
        self.dtype: Any = np.float32 if is_small else np.float64
        self.bias = bias.astype(self.dtype)

    def __call__(self, part: NDArray[np.float32]) -> NDArray[Any]:
        rows, columns, height, width, channels = part.shape
        times = self.kernel.shape[2] // channels
        total = np.empty((rows, columns, channels, times), self.dtype)
        total[:] = np.broadcast_to(self.bias, channels * times).reshape(channels, times)
        product = np.empty_like(total)
        for y in range(height):
            for x in range(width):
                weights = self.kernel[y, x].reshape(channels, times)
                np.multiply(part[:, :, y, x, :, None], weights, out=product)
                total += product
        return total.reshape(rows, columns, -1)


def dense(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """A dense layer."""
    source, weights, *_, output = tensors_of(model, operator)
    total = _dense_sums(model, operator, values)
    multiplier = multiplier_of(source, weights, output)
    return requantize(total, multiplier, output, activation_of(operator)).reshape(output.shape)


def dense_sums(model: Model, operator: Operator, values: Values) -> NDArray[np.int64]:
    """The accumulators of a dense layer, bias included."""
    total: NDArray[Any] = np.rint(_dense_sums(model, operator, values))
    return total.astype(np.int64)


def _dense_sums(model: Model, operator: Operator, values: Values) -> NDArray[Any]:
    source, weights, *rest = tensors_of(model, operator)
    kernel, zero = _float_weights(model, weights), zero_point_of(source)
    bias = _bias(model, rest[0] if len(rest) > 1 else None)
    matrix = Matrix(kernel.T, bias, max(zero, HIGHEST - zero))
    data = values[operator.inputs[0]].reshape(-1, kernel.shape[1]).astype(np.float32)
    data -= np.float32(zero)
    return matrix.sums(data)


def transpose_conv(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """A transposed convolution: every pixel adds its products to a window of the output."""
    tensors = model.main.tensors
    weights, source = tensors[operator.inputs[1]], tensors[operator.inputs[2]]
    output = tensors[operator.outputs[0]]
    kernel, zero = _float_weights(model, weights), zero_point_of(source)
    data = values[operator.inputs[2]]
    # The windows are those of the convolution that it is the transpose of.
    rows, columns = axes_of(operator, output.shape, kernel.shape[1:3])
    if (rows.number, columns.number) != data.shape[1:3]:
        return None
    has_bias = len(operator.inputs) > 3 and operator.inputs[3] >= 0
    bias = _bias(model, tensors[operator.inputs[3]] if has_bias else None)
    matrices = _scattered(kernel, max(zero, HIGHEST - zero))
    result = np.empty(output.shape, np.uint8)
    multiplier = multiplier_of(source, weights, output)
    for batch, image in enumerate(data):
        flat = image.reshape(-1, image.shape[2]).astype(np.float32) - np.float32(zero)
        padded = _spread(flat, rows, columns, matrices)
        top, left = rows.before, columns.before
        total = padded[top : top + output.shape[1], left : left + output.shape[2]] + bias
        result[batch] = requantize(total, multiplier, output, activation_of(operator))
    return result


def _scattered(kernel: NDArray[np.float32], largest: int) -> list[list[Matrix]]:
    """One matrix for each place in the window."""
    places = kernel.transpose(1, 2, 3, 0)
    none = np.zeros(1, np.int64)
    return [[Matrix(np.ascontiguousarray(place), none, largest) for place in row] for row in places]


def _spread(
    flat: NDArray[np.float32], rows: Axis, columns: Axis, matrices: list[list[Matrix]]
) -> NDArray[np.float64]:
    """The sums at every pixel of the output and its padding."""
    ends = [(axis.number - 1) * axis.stride + 1 for axis in (rows, columns)]
    channels = matrices[0][0].parts[0].shape[1]
    height, width = (max(axis.before + axis.length, end + axis.reach - 1)
                     for axis, end in zip((rows, columns), ends))  # fmt: skip
    padded = np.zeros((height, width, channels))
    for y, line in enumerate(matrices):
        for x, matrix in enumerate(line):
            made = matrix.sums(flat).reshape(rows.number, columns.number, channels)
            padded[y : y + ends[0] : rows.stride, x : x + ends[1] : columns.stride] += made
    return padded


def _bias(model: Model, tensor: Tensor | None) -> NDArray[np.int64]:
    if tensor is None:
        return np.zeros(1, np.int64)
    return constant(model, tensor).astype(np.int64)


def _float_weights(model: Model, tensor: Tensor) -> NDArray[np.float32]:
    """Weights minus their zero points."""
    data = constant(model, tensor).astype(np.float32)
    quantization = tensor.quantization
    zeros = np.array(quantization.zero_point if quantization else (0,), np.float32)
    if quantization and len(zeros) > 1:
        axis = quantization.quantized_dimension
        zeros = zeros.reshape([-1 if k == axis else 1 for k in range(data.ndim)])
    return np.asarray(data - zeros)
