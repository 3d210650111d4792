# SPDX-License-Identifier: Apache-2.0
"""Operators of one or two operands, value by value: the nodes that they become.

Whatever has no stage of its own becomes several nodes that are exact together: an operand that
repeats is copied to the full shape, a constant with several values becomes a map by a convolution
without weights (if it depends on the position, by a dense layer without weights whose results are
moved to their places), and MINIMUM is MAXIMUM of values counted from the other end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.arithmetic.formulas.elementwise import add_weights
from edgekit.chip.arithmetic.scales import (
    HIGHEST,
    activation_of,
    same_scale,
    scale_of,
    zero_point_of,
)
from edgekit.chip.codegen.builder import NodeBuilder
from edgekit.chip.codegen.constant_maps import constant_image, constant_stage, raw_values
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.functions import FUNCTIONS
from edgekit.chip.codegen.geometry import Axis
from edgekit.chip.codegen.node_list import words_of
from edgekit.chip.codegen.nodes import (
    COPY,
    Addition,
    Convolution,
    Elementwise,
    Extreme,
    OutputStage,
    Product,
    Shape,
    Window,
)
from edgekit.formats.tflite import Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


_REPEATED = Axis(stride=0)  # every output reads the only row or column


# Functions of one value.


def function(builder: NodeBuilder, operator: Operator) -> None:
    """LOGISTIC, TANH, RSQRT, HARD_SWISH: a clamp, then a spline."""
    source, output = operator.inputs[0], operator.outputs[0]
    found = FUNCTIONS[operator.opcode]
    first, last = builder.tensors[source], builder.tensors[output]
    zero_points = zero_point_of(first), zero_point_of(last)
    stage = OutputStage(*zero_points, float(scale_of(first)), found.low, found.high)
    root = builder.root(source)
    builder.set_shape(output, builder.shape(root))
    builder.nodes.append(
        Elementwise(root, output, stage, table=operator.opcode, table_scale=float(scale_of(last)))
    )


def prelu(builder: NodeBuilder, operator: Operator) -> None:
    """PRELU: the values above zero, plus the slopes times the values below."""
    source, slopes = operator.inputs
    output = operator.outputs[0]
    first, alpha, last = (builder.tensors[i] for i in (source, slopes, output))
    base = builder.image(source)
    shape = builder.shape(base)
    weights = _per_channel(builder, slopes, shape)
    inverse = np.float32(1) / scale_of(last)
    zero = zero_point_of(first)
    above = builder.add_temporary(last, shape)
    stage = builder.stage(first, last, float(np.float32(scale_of(first) * inverse)), "RELU")
    builder.nodes.append(Elementwise(base, above, stage))
    negative = builder.add_temporary(first, shape)
    limited = OutputStage(zero, zero, 1.0, float(-zero), 0.0)
    builder.nodes.append(Elementwise(base, negative, limited))
    below = builder.add_temporary(last, shape)
    multiplier = np.float32(np.float32(scale_of(first) * scale_of(alpha)) * inverse)
    _scale_channels(
        builder,
        (negative, below),
        weights,
        zero_point_of(alpha),
        builder.stage(first, last, float(multiplier)),
    )
    _add_up(builder, above, below, output)


def _add_up(builder: NodeBuilder, first: int, second: int, output: int) -> None:
    """The sum of two tensors at the scale of the output."""
    last = builder.tensors[output]
    zero = zero_point_of(last)
    builder.nodes.append(
        Addition(first, second, output, (1, 1), -2 * zero, builder.stage(last, last, 1.0))
    )


# Two operands.


def addition(builder: NodeBuilder, operator: Operator) -> None:
    """ADD, SUB."""
    signs = (1, -1 if operator.opcode == "SUB" else 1)
    output = operator.outputs[0]
    last, activation = builder.tensors[output], activation_of(operator)
    for position in (0, 1):
        real = builder.real_constant(operator.inputs[position])
        if real is not None:
            _shift(builder, operator, 1 - position, (signs, real))
            return
    one, other = (builder.tensors[index] for index in operator.inputs)
    first, second = _same_shape(builder, operator)
    weights = add_weights(scale_of(one), scale_of(other))
    per_step = np.float32(scale_of(one) / np.float32(weights[0]))
    multiplier = float(np.float32(per_step * (np.float32(1) / scale_of(last))))
    signed = weights[0], signs[1] * weights[1]
    builder.nodes.append(
        Addition(
            first,
            second,
            output,
            signed,
            -(signed[0] * zero_point_of(one) + signed[1] * zero_point_of(other)),
            builder.stage(one, last, multiplier, activation),
        )
    )


def _shift(
    builder: NodeBuilder,
    operator: Operator,
    position: int,
    numbers: tuple[tuple[int, int], float],
) -> None:
    """Add a number to the input at ``position``: a bias in whole steps of that input."""
    signs, real = numbers
    source, output = operator.inputs[position], operator.outputs[0]
    _check_size(builder, source, output)
    first, last = builder.tensors[source], builder.tensors[output]
    # -(x - zero) + bias is computed as (x - zero - bias) times a negative multiplier.
    sign = signs[position]
    bias = sign * signs[1 - position] * int(np.rint(real / float(scale_of(first))))
    multiplier = np.float32(scale_of(first) * (np.float32(1) / scale_of(last)))
    stage = builder.stage(first, last, sign * float(multiplier), activation_of(operator))
    builder.add_elementwise(source, output, stage.shifted(bias))


def product(builder: NodeBuilder, operator: Operator) -> None:
    """MUL."""
    output = operator.outputs[0]
    last, activation = builder.tensors[output], activation_of(operator)
    inverse = np.float32(1) / scale_of(last)
    for position in (0, 1):
        real = builder.real_constant(operator.inputs[position])
        if real is not None:
            source = operator.inputs[1 - position]
            _check_size(builder, source, output)
            first = builder.tensors[source]
            multiplier = np.float32(np.float32(scale_of(first) * np.float32(real)) * inverse)
            stage = builder.stage(first, last, float(multiplier), activation)
            builder.add_elementwise(source, output, stage)
            return
    one, other = (builder.tensors[index] for index in operator.inputs)
    multiplier = np.float32(np.float32(scale_of(one) * scale_of(other)) * inverse)
    for position in (0, 1):
        if builder.is_constant(operator.inputs[position]):
            source, factors = operator.inputs[1 - position], operator.inputs[position]
            first, values = builder.tensors[source], builder.tensors[factors]
            base = builder.image(source)
            stage = builder.stage(first, last, float(multiplier), activation)
            if _is_per_channel(builder, factors, builder.shape(base)):
                _check_size(builder, source, output)
                weights = _per_channel(builder, factors, builder.shape(base))
                _scale_channels(builder, (base, output), weights, zero_point_of(values), stage)
                return
            shape = builder.shape(output)
            base = _broadcast(builder, source, shape)
            factor = _constant_map(builder, factors, base)
            builder.nodes.append(Product(base, factor, output, zero_point_of(values), stage))
            return
    _multiply(builder, operator, float(multiplier))


def _multiply(builder: NodeBuilder, operator: Operator, multiplier: float) -> None:
    """A product of two activations: one that repeats over rows and columns stays as it is."""
    output = operator.outputs[0]
    last, activation = builder.tensors[output], activation_of(operator)
    first, second = operator.inputs
    if builder.shape(builder.root(first)) != builder.shape(output):
        first, second = second, first
    one, other = builder.tensors[first], builder.tensors[second]
    stage = builder.stage(one, last, multiplier, activation)
    zero, window = zero_point_of(other), Window()
    roots = builder.root(first), builder.root(second)
    if one.shape == other.shape and builder.shape(roots[0]) == builder.shape(roots[1]):
        builder.set_shape(output, builder.shape(roots[0]))
    else:
        shape = builder.shape(output)
        roots = _broadcast(builder, first, shape), builder.image(second)
        given = builder.shape(roots[1])
        if given[2] != shape[2] or not all(size in {1, full} for size, full in zip(given, shape)):
            roots = roots[0], _broadcast(builder, second, shape)
        else:
            window = Window(*(_axis(size, full) for size, full in zip(given[:2], shape[:2])))
    builder.nodes.append(Product(*roots, output, zero, stage, window))


def extreme(builder: NodeBuilder, operator: Operator) -> None:
    """MAXIMUM, MINIMUM: of the values at the scale of the output."""
    output = operator.outputs[0]
    last = builder.tensors[output]
    is_minimum = operator.opcode == "MINIMUM"
    operands = _same_shape(builder, operator)
    shape = builder.shape(operands[0])
    scaled = []
    for index, root in zip(operator.inputs, operands):
        tensor = builder.tensors[index]
        if same_scale(tensor, last) and not is_minimum:
            scaled.append(root)
            continue
        ratio = float(np.float32(scale_of(tensor) * (np.float32(1) / scale_of(last))))
        stage = COPY if same_scale(tensor, last) else builder.stage(tensor, last, ratio)
        scaled.append(builder.add_temporary(last, shape))
        builder.nodes.append(
            Elementwise(root, scaled[-1], stage.reversed() if is_minimum else stage)
        )
    made = builder.add_temporary(last, shape) if is_minimum else output
    builder.nodes.append(Extreme(scaled[0], scaled[1], made))
    if is_minimum:
        builder.nodes.append(Elementwise(made, output, COPY.reversed()))


# Operands of another shape, and constants.


def _same_shape(builder: NodeBuilder, operator: Operator) -> tuple[int, int]:
    """Both operands with the shape of the output, and its shape as they lie."""
    output = operator.outputs[0]
    first, second = operator.inputs
    if not any(builder.is_constant(index) for index in operator.inputs):
        roots = builder.root(first), builder.root(second)
        shapes = [builder.tensors[index].shape for index in (first, second)]
        if shapes[0] == shapes[1]:
            lies = builder.shape(roots[0])
            builder.set_shape(output, lies)
            return roots[0], builder.shaped(roots[1], lies)
    shape = builder.shape(output)
    made = [
        -1 if builder.is_constant(index) else _broadcast(builder, index, shape)
        for index in (first, second)
    ]
    for position, index in enumerate((first, second)):
        if made[position] < 0:
            made[position] = _constant_map(builder, index, made[1 - position])
    return made[0], made[1]


def _check_size(builder: NodeBuilder, source: int, output: int) -> None:
    sizes = [int(np.prod(builder.tensors[index].shape)) for index in (source, output)]
    if sizes[0] != sizes[1]:
        raise Unsupported("a constant that is larger than the activation")


def _axis(size: int, full: int) -> Axis:
    return Axis() if size == full else _REPEATED


def _broadcast(builder: NodeBuilder, tensor: int, shape: Shape) -> int:
    """The tensor repeated to ``shape``: its only channel first, then rows and columns."""
    return _repeated(builder, builder.image(tensor), builder.tensors[tensor], shape)


def _repeated(builder: NodeBuilder, source: int, kind: Tensor, shape: Shape) -> int:
    """An image repeated to ``shape``."""
    given = builder.shape(source)
    if given == shape:
        return source
    if not all(size in {1, full} for size, full in zip(given, shape)):
        raise Unsupported("operands whose shapes do not fit together")
    if given[2] != shape[2]:
        wide = builder.add_temporary(kind, (*given[:2], shape[2]))
        _repeat_channel(builder, source, wide, shape[2])
        source = wide
    if given[:2] == shape[:2]:
        return source
    full = builder.add_temporary(kind, shape)
    window = Window(_axis(given[0], shape[0]), _axis(given[1], shape[1]))
    builder.nodes.append(Elementwise(source, full, COPY, window))
    return full


def _repeat_channel(builder: NodeBuilder, source: int, output: int, channels: int) -> None:
    """A convolution that copies the only channel to all."""
    builder.nodes.append(
        Convolution(
            source,
            output,
            Window(),
            OutputStage(0, 0, 1.0, 0.0, float(HIGHEST)),
            np.ones((channels, 1, 1, 1), np.uint8),
            np.zeros(channels, np.int64),
            np.zeros(channels, np.int64),
            np.ones(1, np.float32),
        )
    )


def _constant_map(builder: NodeBuilder, tensor: int, like: int) -> int:
    """A constant in the shape of the tensor ``like``.

    One for each channel is the result of a depthwise convolution of nothing.
    """
    shape, kind = builder.shape(like), builder.tensors[tensor]
    if not _is_per_channel(builder, tensor, shape):
        return _repeated(builder, constant_image(builder, tensor, like), kind, shape)
    values = _per_channel(builder, tensor, shape).astype(np.int64)
    made = builder.add_temporary(kind, shape)
    nothing, bias = np.zeros(shape[2], np.uint8), values - zero_point_of(kind)
    _scale_channels(builder, (like, made), nothing, 0, constant_stage(kind), bias)
    return made


def _scale_channels(
    builder: NodeBuilder,
    ends: tuple[int, int],
    weights: NDArray[np.uint8],
    zero_point: int,
    stage: OutputStage,
    bias: NDArray[np.int64] | None = None,
) -> None:
    """A weight for each channel: a depthwise convolution of one position."""
    channels = len(weights)
    builder.nodes.append(
        Convolution(
            ends[0],
            ends[1],
            Window(),
            stage,
            weights.reshape(-1, 1, 1, 1),
            np.full(channels, zero_point, np.int64),
            np.zeros(channels, np.int64) if bias is None else bias,
            np.array([stage.multiplier], np.float32),
            depthwise=True,
        )
    )


def _per_channel(builder: NodeBuilder, tensor: int, shape: Shape) -> NDArray[np.uint8]:
    """A constant's values as on the device, one for each channel.

    Raises:
        Unsupported: It also depends on the row or column.
    """
    values = raw_values(builder, tensor)
    if not _is_per_channel(builder, tensor, shape):
        sizes = words_of(values.shape)
        raise Unsupported(f"a constant of {sizes} values that are not one for each channel")
    return np.broadcast_to(values.reshape(-1), shape[2])


def _is_per_channel(builder: NodeBuilder, tensor: int, shape: Shape) -> bool:
    values = builder.values(tensor)
    return values.size in {1, shape[2]} and (not values.shape or values.shape[-1] == values.size)
