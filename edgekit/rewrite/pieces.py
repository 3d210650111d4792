# SPDX-License-Identifier: Apache-2.0
"""Build operators that map, with their options and the scales that they need."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.edgetpu.limits import TRANSPOSE_SEEN
from edgekit.formats.tflite import Operator, Quantization, Tensor
from edgekit.rewrite.edit import INT8, Edit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NO_ACTIVATION = {"fused_activation_function": "NONE"}
_SUM = {**_NO_ACTIVATION, "pot_scale_int16": True}
_AT_EACH_PIXEL = {
    "padding": "VALID",
    "stride_w": 1,
    "stride_h": 1,
    "dilation_w_factor": 1,
    "dilation_h_factor": 1,
}
# A product with a rescaling factor of 1 or more needs MUL version 3. With a factor this much
# below 1, every 8-bit code stays the same and version 2 is enough.
_JUST_BELOW_ONE = 1 - 2.0**-16
_ONE = 64  # the code of a weight of one: with the scale 1/64, products are exact


def q_range(tensor: Tensor) -> tuple[int, int]:
    """Return the lowest and highest code of an 8-bit tensor."""
    return (-128, 127) if tensor.dtype == INT8 else (0, 255)


def real_range(tensor: Tensor) -> tuple[float, float]:
    """Return the lowest and highest real value of an 8-bit tensor."""
    low, high = q_range(tensor)
    scale, zero_point = float(tensor.scale or 1), int(tensor.zero_point or 0)
    return scale * (low - zero_point), scale * (high - zero_point)


def constant(edit: Edit, like: Tensor, name: str, values: NDArray[np.float64] | float) -> int:
    """Add a constant of the type of ``like`` with its own scale; a single value is exact."""
    real = np.asarray(values, np.float64)
    dtype = np.int8 if like.dtype == INT8 else np.uint8
    zero_point = 0 if like.dtype == INT8 else 128
    if real.ndim == 0:
        q = np.asarray(zero_point + (1 if real >= 0 else -1), dtype)
        scale = abs(float(real)) or 1.0
    else:
        scale = float(np.abs(real).max()) / 127 or 1.0
        q = (np.rint(real / scale) + zero_point).astype(dtype)
    return edit.constant(name, q, Quantization((float(np.float32(scale)),), (zero_point,)))


def add(edit: Edit, left: int, right: int, out: int) -> Operator:
    """ADD of two tensors, saturating to the range of ``out``."""
    return edit.operator("ADD", (left, right), (out,), _SUM, "AddOptions")


def subtract(edit: Edit, left: int, right: int, out: int) -> Operator:
    """SUB of two tensors, saturating to the range of ``out``."""
    return edit.operator("SUB", (left, right), (out,), _SUM, "SubOptions")


def mul(edit: Edit, left: int, right: int, out: int, fused: str = "NONE") -> Operator:
    """MUL of two tensors."""
    options = {"fused_activation_function": fused}
    return edit.operator("MUL", (left, right), (out,), options, "MulOptions")


def maximum(edit: Edit, left: int, right: int, out: int) -> Operator:
    """MAXIMUM; the kernel compares codes, so all three need the same scale."""
    return edit.operator("MAXIMUM", (left, right), (out,), {}, "MaximumMinimumOptions")


def minimum(edit: Edit, left: int, right: int, out: int) -> Operator:
    """MINIMUM; the kernel compares codes, so all three need the same scale."""
    return edit.operator("MINIMUM", (left, right), (out,), {}, "MaximumMinimumOptions")


def quantize(edit: Edit, source: int, out: int) -> Operator:
    """QUANTIZE from one scale or type to another."""
    return edit.operator("QUANTIZE", (source,), (out,), {}, "QuantizeOptions")


def reshape(edit: Edit, source: int, out: int) -> Operator:
    """RESHAPE to the shape that tensor ``out`` has."""
    shape = edit.tensors[out].shape
    values = edit.constant(f"{edit.tensors[out].name}/shape", np.array(shape, np.int32))
    return edit.operator(
        "RESHAPE", (source, values), (out,), {"new_shape": shape}, "ReshapeOptions"
    )


def transpose(edit: Edit, source: int, order: Sequence[int], out: int) -> Operator:
    """TRANSPOSE: axis i of ``out`` is axis ``order[i]`` of ``source``."""
    values = edit.constant(f"{edit.tensors[out].name}/order", np.array(order, np.int32))
    return edit.operator("TRANSPOSE", (source, values), (out,), {}, "TransposeOptions")


def turn_matrix(edit: Edit, source: int, out: int, shape: tuple[int, int]) -> list[Operator]:
    """Exchange the axes of ``source``, a matrix of this shape, in the order that was seen mapped.

    Source and ``out`` may have any shape with as many elements.
    """
    rows, columns = shape
    name = edit.tensors[out].name
    matrix = edit.activation(edit.tensors[source], f"{name}/matrix", shape=(1, rows, 1, columns))
    turned = edit.activation(edit.tensors[out], f"{name}/turned", shape=(1, columns, rows, 1))
    return [
        reshape(edit, source, matrix),
        transpose(edit, matrix, TRANSPOSE_SEEN, turned),
        reshape(edit, turned, out),
    ]


def concatenate(edit: Edit, parts: Sequence[int], axis: int, out: int) -> Operator:
    """CONCATENATION of tensors of one scale."""
    options = {**_NO_ACTIVATION, "axis": axis}
    return edit.operator("CONCATENATION", parts, (out,), options, "ConcatenationOptions")


def slice_from(edit: Edit, source: int, begin: Sequence[int], out: int) -> Operator:
    """SLICE of the shape that tensor ``out`` has, from ``begin`` on."""
    tensor = edit.tensors[out]
    bounds = [
        edit.constant(f"{tensor.name}/{what}", np.array(numbers, np.int32))
        for what, numbers in (("begin", begin), ("size", tensor.shape))
    ]
    return edit.operator("SLICE", (source, *bounds), (out,), {}, "SliceOptions")


def pad(edit: Edit, source: int, paddings: NDArray[Any], name: str) -> tuple[Operator, int]:
    """PAD with the real value zero; return it and its output.

    Args:
        edit: The graph.
        source: A tensor of static shape.
        paddings: Shape [rank, 2]: how many zeros before and after each axis.
        name: The new tensors' names begin with it.
    """
    tensor = edit.tensors[source]
    shape = tuple(size + int(sum(ends)) for size, ends in zip(tensor.shape, paddings))
    out = edit.activation(tensor, f"{name}/padded", shape=shape)
    values = edit.constant(f"{name}/paddings", paddings.astype(np.int32))
    return edit.operator("PAD", (source, values), (out,), {}, "PadOptions"), out


def convolve(
    edit: Edit, source: int, kernel: int, bias: int, out: int, fused: str = "NONE"
) -> Operator:
    """CONV_2D without padding, stride and dilation."""
    options = {**_AT_EACH_PIXEL, "fused_activation_function": fused}
    return edit.operator("CONV_2D", (source, kernel, bias), (out,), options, "Conv2DOptions")


def convolve_depthwise(edit: Edit, source: int, kernel: int, bias: int, out: int) -> Operator:
    """DEPTHWISE_CONV_2D without padding, stride and dilation, with one output per channel."""
    options = {**_AT_EACH_PIXEL, **_NO_ACTIVATION, "depth_multiplier": 1}
    inputs = (source, kernel, bias)
    return edit.operator("DEPTHWISE_CONV_2D", inputs, (out,), options, "DepthwiseConv2DOptions")


def choose_channels(edit: Edit, source: int, order: Sequence[int], out: int, name: str) -> Operator:
    """A 1x1 convolution of int8 whose output channels are those of ``source`` in ``order``.

    It keeps every code; channels may be left out and repeated.
    """
    tensor, count = edit.tensors[source], len(order)
    weights = np.zeros((count, 1, 1, tensor.shape[-1]), np.int8)
    weights[np.arange(count), 0, 0, order] = _ONE
    kernel = edit.constant(name, weights, Quantization((1 / _ONE,) * count, (0,) * count))
    products = Quantization((float(tensor.scale or 1) / _ONE,) * count, (0,) * count)
    bias = edit.constant(f"{name}_bias", np.zeros(count, np.int32), products)
    return convolve(edit, source, kernel, bias, out)


def repeat_pixels(edit: Edit, source: int, size: tuple[int, int], out: int, name: str) -> Operator:
    """RESIZE_NEAREST_NEIGHBOR to a multiple of height and width."""
    values = edit.constant(name, np.array(size, np.int32))
    options = {"align_corners": False, "half_pixel_centers": False}
    kind = "ResizeNearestNeighborOptions"
    return edit.operator("RESIZE_NEAREST_NEIGHBOR", (source, values), (out,), options, kind)


def max_pool(
    edit: Edit, source: int, size: tuple[int, int], strides: tuple[int, int], out: int
) -> Operator:
    """MAX_POOL_2D without padding; ``size`` and ``strides`` are of height and width."""
    options = _pooling(size, strides, "VALID")
    return edit.operator("MAX_POOL_2D", (source,), (out,), options, "Pool2DOptions")


def average_pool(
    edit: Edit,
    source: int,
    size: tuple[int, int],
    strides: tuple[int, int],
    out: int,
    padding: str = "VALID",
) -> Operator:
    """AVERAGE_POOL_2D; ``size`` and ``strides`` are of height and width."""
    options = _pooling(size, strides, padding)
    return edit.operator("AVERAGE_POOL_2D", (source,), (out,), options, "Pool2DOptions")


def _pooling(size: tuple[int, int], strides: tuple[int, int], padding: str) -> dict[str, Any]:
    return {
        **_NO_ACTIVATION,
        "padding": padding,
        **dict(zip(("filter_height", "filter_width"), size)),
        **dict(zip(("stride_h", "stride_w"), strides)),
    }


def ending_in(operators: list[Operator], output: int) -> list[Operator]:
    """Return ``operators`` with the last one writing tensor ``output``."""
    return [*operators[:-1], replace(operators[-1], outputs=(output,))]


def l2_normalize(edit: Edit, source: int, out: int) -> Operator:
    """L2_NORMALIZATION over the last axis."""
    return edit.operator("L2_NORMALIZATION", (source,), (out,), _NO_ACTIVATION, "L2NormOptions")


def spread(edit: Edit, source: int, out: int, down: int) -> list[Operator]:
    """Spread the channels of ``source`` over the pixels of ``out``, as DEPTH_TO_SPACE does.

    Channels that belong to one row of the output follow each other in memory, and so do the rows
    after they are joined.

    Args:
        edit: The graph.
        source: Shape [1, H, W, down * across * C].
        out: Shape [1, down * H, across * W, C].
        down: How many rows come from one.
    """
    like = edit.tensors[out]
    (_, height, width, depth), wide = edit.tensors[source].shape, like.shape[2]
    if down == 1:
        return [reshape(edit, source, out)]
    parts, rows = (
        [edit.activation(like, f"{like.name}/{name}", shape=shape) for _ in range(down)]
        for name, shape in (
            ("part", (1, height, width, depth // down)),
            ("row", (1, height, wide, like.shape[3])),
        )
    )
    axis = edit.constant(f"{like.name}/axis", np.array(3, np.int32))
    joined = edit.activation(
        like, f"{like.name}/rows", shape=(1, height, wide * down, like.shape[3])
    )
    return [
        edit.operator("SPLIT", (axis, source), parts, {"num_splits": down}, "SplitOptions"),
        *(reshape(edit, part, row) for part, row in zip(parts, rows)),
        concatenate(edit, rows, 2, joined),
        reshape(edit, joined, out),
    ]


def logistic(edit: Edit, source: int, name: str) -> tuple[Operator, int]:
    """Return LOGISTIC and its output, whose scale the kernel prescribes: 1/256 from zero."""
    zero_point = q_range(edit.tensors[source])[0]
    out = edit.requantized(source, 1 / 256, zero_point, name)
    return edit.operator("LOGISTIC", (source,), (out,)), out


def times(edit: Edit, source: int, factor: float, name: str) -> tuple[Operator, int]:
    """Multiply ``source`` by ``factor`` > 0 without rounding: codes stay, the scale changes."""
    tensor = edit.tensors[source]
    number = constant(edit, tensor, f"{name}/factor", factor)
    scale = float(tensor.scale or 1) * factor / _JUST_BELOW_ONE
    out = edit.requantized(source, scale, int(tensor.zero_point or 0), name)
    return mul(edit, source, number, out), out


def zero(edit: Edit, like: Tensor, name: str) -> int:
    """Add the real value zero at the scale of ``like``; return its tensor index."""
    dtype = np.int8 if like.dtype == INT8 else np.uint8
    return edit.constant(name, np.asarray(like.zero_point, dtype), like.quantization)
