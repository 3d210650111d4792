# SPDX-License-Identifier: Apache-2.0
"""The documented arithmetic on the source graph: what each layer of a compiled model must give.

Plain numpy on the uncompiled model, sharing nothing with the emulator but float32. Values are the
device's: unsigned, so an int8 tensor's plus 128. Operations without a proven formula are left out.

Source of the formulas: tinycoral, docs/isa/eltwise.md (multipliers and clamps by the reciprocal of
the output scale, every product rounded to float32; integer weights of an addition).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Callable, Iterator

import numpy as np

from edgekit.formats.tflite import Model, Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ADD_WEIGHT_LIMIT = 32767  # int16 maximum; every pair seen fits limits from 25,319 on
_LIMITS = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
Values = "NDArray[np.int64]"


def run_twin(
    model: Model, inputs: dict[str, NDArray[np.generic]]
) -> Iterator[tuple[int, Operator, NDArray[np.uint8]]]:
    """Each operator of subgraph 0 with its output, as (index, operator, device values).

    Leaves out operators without a formula and what needs them; ``inputs`` are tensors by name.
    """
    graph = model.main
    values: dict[int, Any] = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        values[index] = _unsigned(inputs[tensor.name].reshape(tensor.shape))
    for number, operator in enumerate(graph.operators):
        formula = _FORMULAS.get(operator.opcode)
        if formula is None or any(
            i >= 0 and i not in values and model.data(graph.tensors[i]) is None
            for i in operator.inputs
        ):
            continue
        made = formula(model, operator, values)
        if made is None:
            continue
        results = made if isinstance(made, list) else [made]
        values.update(zip(operator.outputs, results))
        for result in results:
            yield number, operator, result.astype(np.uint8)


def _unsigned(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.int64) + (128 if values.dtype == np.int8 else 0)


def scale_of(tensor: Tensor) -> np.float32:
    """The per-tensor scale."""
    return np.float32(tensor.quantization.scale[0]) if tensor.quantization else np.float32(1)


def zero_point_of(tensor: Tensor) -> int:
    """The zero point of the values as they travel."""
    zero = tensor.quantization.zero_point[0] if tensor.quantization else 0
    return zero + (128 if tensor.dtype == "INT8" else 0)


def requantize(
    accumulator: NDArray[Any],
    multiplier: Any,  # noqa: ANN401
    output: Tensor,
    activation: str = "NONE",
) -> NDArray[np.int64]:
    """``round_half_even(clamp(float32(acc) * mult)) + zero point``."""
    low, high = clamps(output, activation)
    real = np.clip(accumulator.astype(np.float32) * multiplier, low, high)
    rounded: NDArray[np.int64] = np.rint(real).astype(np.int64)
    return rounded + zero_point_of(output)


def clamps(output: Tensor, activation: str) -> tuple[np.float32, np.float32]:
    """The clamp relative to the zero point, with a fused activation."""
    scale, zero = scale_of(output), zero_point_of(output)
    inverse = np.float32(1) / scale
    low, high = _LIMITS[activation]
    real_low = max(np.float32(np.float32(0 - zero) * scale), np.float32(low))
    real_high = min(np.float32(np.float32(255 - zero) * scale), np.float32(high))
    return np.float32(real_low * inverse), np.float32(real_high * inverse)


def _tensors(model: Model, operator: Operator) -> list[Tensor]:
    tensors = model.main.tensors
    return [tensors[i] for i in operator.inputs if i >= 0] + [tensors[operator.outputs[0]]]


def _constant(model: Model, tensor: Tensor) -> NDArray[Any]:
    data = model.data(tensor)
    return np.zeros(0, np.int64) if data is None else data


def _weights(model: Model, tensor: Tensor) -> NDArray[np.int64]:
    """Weights without zero point; the shift to unsigned cancels."""
    zero = tensor.quantization.zero_point if tensor.quantization else (0,)
    data: NDArray[np.int64] = _constant(model, tensor).astype(np.int64)
    if len(zero) == 1:
        return data - zero[0]
    axis = tensor.quantization.quantized_dimension if tensor.quantization else 0
    zeros = np.array(zero, np.int64)
    return data - zeros.reshape([-1 if i == axis else 1 for i in range(data.ndim)])


def multiplier_of(source: Tensor, weights: Tensor, output: Tensor) -> Any:  # noqa: ANN401
    """The multiplier of a convolution or a dense layer: one, or one a channel."""
    scales = np.array(weights.quantization.scale if weights.quantization else (1,), np.float32)
    multiplier = (scale_of(source) * scales) * (np.float32(1) / scale_of(output))
    return multiplier if len(multiplier) > 1 else multiplier[0]


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


def _conv(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    source, weights, *rest = _tensors(model, operator)
    output = rest[-1]
    kernel = _weights(model, weights)
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
    bias = _constant(model, rest[0]) if len(rest) > 1 else 0
    activation = operator.options["fused_activation_function"]
    total = np.rint(total).astype(np.int64) + bias
    return requantize(total, multiplier_of(source, weights, output), output, activation)


def _dense(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    source, weights, *rest = _tensors(model, operator)
    output = rest[-1]
    kernel = _weights(model, weights)
    data = (values[operator.inputs[0]] - zero_point_of(source)).reshape(-1, kernel.shape[1])
    total = data @ kernel.T + (_constant(model, rest[0]) if len(rest) > 1 else 0)
    activation = operator.options["fused_activation_function"]
    made = requantize(total, multiplier_of(source, weights, output), output, activation)
    return made.reshape(output.shape)


def add_weights(first: np.float32, second: np.float32) -> tuple[int, int]:
    """The integer weights of an addition: the best rational of the two scales."""
    ratio = Fraction(float(second)) / Fraction(float(first))
    if ratio <= 1:
        fraction = ratio.limit_denominator(_ADD_WEIGHT_LIMIT)
        return fraction.denominator, fraction.numerator
    fraction = (1 / ratio).limit_denominator(_ADD_WEIGHT_LIMIT)
    return fraction.numerator, fraction.denominator


def _add(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    first, second, output = _tensors(model, operator)
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
    """The one value of a constant; None where it has several, or is none."""
    data = model.data(tensor)
    if data is None or (data != data.reshape(-1)[:1]).any():
        return None
    zero = tensor.quantization.zero_point[0] if tensor.quantization else 0
    return (int(data.reshape(-1)[0]) - zero) * float(scale_of(tensor))


def _subtract(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    """Of one constant: it becomes an integer bias in steps of the input."""
    first, second, output = _tensors(model, operator)
    constant = _real_constant(model, second)
    if constant is None:
        return None
    bias = int(np.rint(constant / float(scale_of(first))))
    total = values[operator.inputs[0]] - zero_point_of(first) - bias
    multiplier = scale_of(first) * (np.float32(1) / scale_of(output))
    return requantize(total, multiplier, output, operator.options["fused_activation_function"])


def _scaled(
    model: Model, operator: Operator, values: dict[int, Any], constant: float
) -> NDArray[np.int64]:
    """A multiplication by one constant is part of the multiplier."""
    first, _, output = _tensors(model, operator)
    total = values[operator.inputs[0]] - zero_point_of(first)
    multiplier = (scale_of(first) * np.float32(constant)) * (np.float32(1) / scale_of(output))
    return requantize(total, multiplier, output, operator.options["fused_activation_function"])


def _mul(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    first, second, output = _tensors(model, operator)
    constant = _real_constant(model, second)
    if constant is not None and operator.inputs[0] in values:
        return _scaled(model, operator, values, constant)
    if any(index not in values for index in operator.inputs):
        return None
    total = (values[operator.inputs[0]] - zero_point_of(first)) * (
        values[operator.inputs[1]] - zero_point_of(second)
    )
    multiplier = (scale_of(first) * scale_of(second)) * (np.float32(1) / scale_of(output))
    return requantize(total, multiplier, output, operator.options["fused_activation_function"])


def _average(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    source, output = _tensors(model, operator)
    options = operator.options
    size = options["filter_height"], options["filter_width"]
    data = values[operator.inputs[0]]
    padded, out = _windows(data, size, operator, 0)
    if padded.shape != data.shape:
        return None
    total = sum(part - zero_point_of(source) for _, _, part in _taps(padded, size, out, operator))
    ratio = scale_of(source) * (np.float32(1) / scale_of(output))
    multiplier = np.float32(ratio / np.float32(size[0] * size[1]))
    return requantize(np.asarray(total), multiplier, output)


def _maximum(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    del model
    options = operator.options
    size = options["filter_height"], options["filter_width"]
    padded, out = _windows(values[operator.inputs[0]], size, operator, 0)
    parts = [part for _, _, part in _taps(padded, size, out, operator)]
    return np.max(parts, axis=0)  # type: ignore[no-any-return]


def _mean(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    source, axes, output = _tensors(model, operator)
    over = tuple(int(axis) for axis in _constant(model, axes).reshape(-1))
    data = values[operator.inputs[0]] - zero_point_of(source)
    number = int(np.prod([data.shape[axis] for axis in over]))
    ratio = scale_of(source) * (np.float32(1) / scale_of(output))
    total = data.sum(axis=over)
    return requantize(total, np.float32(ratio / np.float32(number)), output).reshape(output.shape)


def _requantized(
    model: Model, operator: Operator, values: dict[int, Any]
) -> NDArray[np.int64] | None:
    source, output = _tensors(model, operator)
    if source.quantization is None or output.quantization is None:
        return None
    data = values[operator.inputs[0]] - zero_point_of(source)
    activation = operator.opcode if operator.opcode in _LIMITS else "NONE"
    multiplier = scale_of(source) * (np.float32(1) / scale_of(output))
    return requantize(data, multiplier, output, activation)


def _reshape(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    shape = model.main.tensors[operator.outputs[0]].shape
    return values[operator.inputs[0]].reshape(shape)  # type: ignore[no-any-return]


def _pad(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    source, pads, *_ = _tensors(model, operator)
    widths = _constant(model, pads).reshape(-1, 2).tolist()
    return np.pad(values[operator.inputs[0]], widths, constant_values=zero_point_of(source))


def _concatenate(
    model: Model, operator: Operator, values: dict[int, Any]
) -> NDArray[np.int64] | None:
    *sources, output = _tensors(model, operator)
    same = {(scale_of(each), zero_point_of(each)) for each in (*sources, output)}
    if len(same) > 1 or any(index not in values for index in operator.inputs):
        return None
    parts = [values[index] for index in operator.inputs]
    return np.concatenate(parts, axis=operator.options["axis"])


def _split(model: Model, operator: Operator, values: dict[int, Any]) -> list[NDArray[np.int64]]:
    axis = int(_constant(model, model.main.tensors[operator.inputs[0]]).reshape(-1)[0])
    return np.split(values[operator.inputs[1]], len(operator.outputs), axis=axis)


def _tile(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64]:
    times = _constant(model, model.main.tensors[operator.inputs[1]]).reshape(-1).tolist()
    return np.tile(values[operator.inputs[0]], times)


def _resize(model: Model, operator: Operator, values: dict[int, Any]) -> NDArray[np.int64] | None:
    """To the same size, or double with half-pixel centres (nearest: without aligned corners)."""
    source, *_, output = _tensors(model, operator)
    data = values[operator.inputs[0]]
    if source.shape == output.shape:
        return data  # type: ignore[no-any-return]
    options, bilinear = operator.options, operator.opcode == "RESIZE_BILINEAR"
    double = all(2 * a == b for a, b in zip(source.shape[1:3], output.shape[1:3]))
    if not double or options["align_corners"] or bilinear > options["half_pixel_centers"]:
        return None
    if not bilinear:
        return np.asarray(data.repeat(2, axis=1).repeat(2, axis=2))
    total = _doubled(_doubled(data, 1), 2)
    return np.rint(total / np.float32(16)).astype(np.int64)


def _doubled(data: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """Four times the values between pixels: a quarter of the one and three of the other."""
    number = data.shape[axis]
    place = np.arange(number)
    before, after = np.maximum(place - 1, 0), np.minimum(place + 1, number - 1)
    pair = [3 * data + data.take(each, axis=axis) for each in (before, after)]
    shape = list(data.shape)
    shape[axis] *= 2
    return np.stack(pair, axis=axis + 1).reshape(shape)


_Formula = Callable[[Model, Operator, "dict[int, Any]"], Any]
_FORMULAS: dict[str, _Formula] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _average,
    "CONCATENATION": _concatenate,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "FULLY_CONNECTED": _dense,
    "MAX_POOL_2D": _maximum,
    "MEAN": _mean,
    "MUL": _mul,
    "PAD": _pad,
    "QUANTIZE": _requantized,
    "RELU": _requantized,
    "RELU6": _requantized,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "SPLIT": _split,
    "SUB": _subtract,
    "TILE": _tile,
}
