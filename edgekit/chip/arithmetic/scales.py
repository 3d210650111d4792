# SPDX-License-Identifier: Apache-2.0
"""Scales, zero points, multipliers and clamps of the source graph, as the device uses them.

Source: tinycoral, docs/isa/eltwise.md (multipliers and clamps by the reciprocal of the output
scale, every product is rounded to float32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.formats.tflite import Model, Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Fused activation -> its limits, real.
ACTIVATIONS = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def scale_of(tensor: Tensor) -> np.float32:
    """The per-tensor scale."""
    return np.float32(tensor.quantization.scale[0]) if tensor.quantization else np.float32(1)


def zero_point_of(tensor: Tensor) -> int:
    """The zero point of the values as the device transfers them."""
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
    low, high = ACTIVATIONS[activation]
    real_low = max(np.float32(np.float32(0 - zero) * scale), np.float32(low))
    real_high = min(np.float32(np.float32(255 - zero) * scale), np.float32(high))
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
    multiplier = (scale_of(source) * scales) * (np.float32(1) / scale_of(output))
    return multiplier if len(multiplier) > 1 else multiplier[0]
