# SPDX-License-Identifier: Apache-2.0
"""Scales, zero points, multipliers and clamps of the source graph, as the device uses them.

Source: tinycoral, docs/isa/eltwise.md (multipliers and clamps by the reciprocal of the output
scale, every product is rounded to float32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edgekit.formats.tflite import Model, Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values = Mapping[int, Any]  # tensor index -> array of values as on the device, 0 to 255

# Fused activation -> its limits, real.
ACTIVATIONS = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}
HIGHEST = 255  # of a stored value
_SIGNED_ZEROS = {"INT8": 128, "INT16": 32768}


def scale_of(tensor: Tensor) -> np.float32:
    """The per-tensor scale."""
    return np.float32(tensor.quantization.scale[0]) if tensor.quantization else np.float32(1)


def inverse_of(tensor: Tensor) -> np.float32:
    """The reciprocal of the scale, rounded to float32."""
    return np.float32(1) / scale_of(tensor)


def zero_point_of(tensor: Tensor) -> int:
    """The zero point of the values as the device transfers them."""
    zero = tensor.quantization.zero_point[0] if tensor.quantization else 0
    return zero + _SIGNED_ZEROS.get(tensor.dtype, 0)


def is_quantized(*tensors: Tensor) -> bool:
    """Whether all are 8 bits wide and have one scale each."""
    return all(each.dtype in ("INT8", "UINT8") and each.scale is not None for each in tensors)


def same_scale(first: Tensor, second: Tensor) -> bool:
    """Whether equal stored values stand for equal numbers."""
    return scale_of(first) == scale_of(second) and zero_point_of(first) == zero_point_of(second)


def activation_of(operator: Operator) -> str:
    """The fused activation, a key of `ACTIVATIONS`, or one that the chip does not compute."""
    return str(operator.options.get("fused_activation_function", "NONE"))


def unsigned(values: NDArray[Any]) -> NDArray[Any]:
    """The values of a tensor or constant as the device stores them: int8 plus 128, as uint8."""
    if values.dtype == np.int16:
        return np.asarray(values.view(np.uint16) ^ np.uint16(_SIGNED_ZEROS["INT16"]))
    if values.dtype == np.int8:
        return np.asarray(values.view(np.uint8) ^ np.uint8(_SIGNED_ZEROS["INT8"]))
    return values.astype(np.uint8, copy=False)


def operand(model: Model, operator: Operator, values: Values, position: int) -> Any:  # noqa: ANN401
    """The device's values of an input, computed or constant; None if it has neither."""
    index = operator.inputs[position]
    if index in values:
        return values[index]
    data = model.data(model.main.tensors[index])
    return None if data is None else unsigned(data)


def centred(values: NDArray[Any], tensor: Tensor) -> NDArray[np.int32]:
    """Values minus their zero point."""
    return np.asarray(values.astype(np.int32) - zero_point_of(tensor))


def requantize(
    accumulator: NDArray[Any],
    multiplier: Any,  # noqa: ANN401
    output: Tensor,
    activation: str = "NONE",
) -> NDArray[np.uint8]:
    """``round_half_even(clamp(float32(acc) * mult)) + zero point``."""
    low, high = clamps(output, activation)
    real = np.multiply(accumulator.astype(np.float32, copy=False), multiplier, dtype=np.float32)
    np.clip(real, low, high, out=real)
    return stored(real, zero_point_of(output))


def stored(real: NDArray[np.float32], zero_point: int) -> NDArray[np.uint8]:
    """Round to even, add the zero point, saturate; changes ``real``."""
    np.rint(real, out=real)
    real += np.float32(zero_point)
    np.clip(real, 0, HIGHEST, out=real)
    return real.astype(np.uint8)


def clamps(output: Tensor, activation: str) -> tuple[np.float32, np.float32]:
    """The clamp relative to the zero point, with a fused activation."""
    scale, zero, inverse = scale_of(output), zero_point_of(output), inverse_of(output)
    low, high = ACTIVATIONS[activation]
    real_low = max(np.float32(np.float32(0 - zero) * scale), np.float32(low))
    real_high = min(np.float32(np.float32(HIGHEST - zero) * scale), np.float32(high))
    return np.float32(real_low * inverse), np.float32(real_high * inverse)


def tensors_of(model: Model, operator: Operator) -> list[Tensor]:
    """The inputs that are present, then the first output."""
    tensors = model.main.tensors
    return [tensors[i] for i in operator.inputs if i >= 0] + [tensors[operator.outputs[0]]]


def constant(model: Model, tensor: Tensor) -> NDArray[Any]:
    """The data of a constant tensor; empty if it does not have any."""
    data = model.data(tensor)
    return np.zeros(0, np.int64) if data is None else data


def weights_of(model: Model, tensor: Tensor) -> NDArray[np.int64]:
    """Weights minus their zero point; the shift to unsigned cancels out."""
    zero = tensor.quantization.zero_point if tensor.quantization else (0,)
    data: NDArray[np.int64] = constant(model, tensor).astype(np.int64)
    if len(zero) == 1:
        return data - zero[0]
    axis = tensor.quantization.quantized_dimension if tensor.quantization else 0
    zeros = np.array(zero, np.int64)
    return data - zeros.reshape([-1 if i == axis else 1 for i in range(data.ndim)])


def multiplier_of(source: Tensor, weights: Tensor, output: Tensor) -> Any:  # noqa: ANN401
    """The multiplier of a convolution or dense layer: a scalar, or one for each channel."""
    scales = np.array(weights.quantization.scale if weights.quantization else (1,), np.float32)
    multiplier = (scale_of(source) * scales) * inverse_of(output)
    return multiplier if len(multiplier) > 1 else multiplier[0]
