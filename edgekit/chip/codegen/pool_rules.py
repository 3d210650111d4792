# SPDX-License-Identifier: Apache-2.0
"""Pools and reductions over whole axes: the nodes that they become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.chip.arithmetic.scales import (
    HIGHEST,
    activation_of,
    same_scale,
    scale_of,
    zero_point_of,
)
from edgekit.chip.codegen.builder import NodeBuilder
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import WORD, Axis, same_padding
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.node_list import shape_of
from edgekit.chip.codegen.nodes import (
    COPY,
    Convolution,
    Elementwise,
    OutputStage,
    Pool,
    Window,
)
from edgekit.formats.tflite import Operator, Tensor

# The average over a whole map reads it on one tile; larger maps go a few channels at a time.
_GATHERED_BYTES, _GATHERED_CHANNELS = 100_000, 64
_ROW, _COLUMN, _CHANNEL = range(3)


def pool(builder: NodeBuilder, operator: Operator) -> None:
    """AVERAGE_POOL_2D, MAX_POOL_2D."""
    (source,), output, options = operator.inputs, operator.outputs[0], operator.options
    maximum = operator.opcode == "MAX_POOL_2D"
    activation = activation_of(operator)
    if maximum and activation != "NONE":
        raise Unsupported("a maximum pool with an activation")
    axes, padded = [], False
    for k, (which, name) in enumerate((("h", "height"), ("w", "width"))):
        axis = Axis(options[f"filter_{name}"], options[f"stride_{which}"])
        size, out = shape_of(builder.tensors[source].shape)[k], builder.shape(output)[k]
        pad = 0
        if options["padding"] == "SAME":
            pad = same_padding(out, size, axis)
            padded = padded or (out - 1) * axis.stride + axis.size > size
        axes.append(Axis(axis.size, axis.stride, pad))
    base, window = builder.image(source), Window(*axes)
    first, last = builder.tensors[source], builder.tensors[output]
    if maximum:
        _add_maximum(builder, (base, output), window, (first, last))
        return
    stage = builder.stage(first, last, float(_ratio(first, last)), activation)
    node = Pool(
        base,
        output,
        window,
        stage,
        maximum=False,
        divides=True,
        padded=padded,
        padding=zero_point_of(first),
    )
    _add_gathered(builder, node, first)


def _ratio(first: Tensor, last: Tensor) -> np.float32:
    return np.float32(scale_of(first) * (np.float32(1) / scale_of(last)))


def _add_maximum(
    builder: NodeBuilder, ends: tuple[int, int], window: Window, tensors: tuple[Tensor, Tensor]
) -> None:
    """A maximum at the scale of the source, then a requantization if the output has another."""
    (base, output), (first, last) = ends, tensors
    same = same_scale(first, last)
    height, width, channels = builder.shape(output)
    made = output if same else builder.add_temporary(first, (height, width, channels))
    stage = builder.stage(first, first, 1.0)
    builder.nodes.append(Pool(base, made, window, stage, maximum=True))
    if not same:
        builder.nodes.append(Elementwise(made, output, builder.requantization(first, last)))


def _add_gathered(builder: NodeBuilder, node: Pool, first: Tensor) -> None:
    """A sum or average; that over a large map in groups of channels."""
    height, width, channels = builder.shape(node.source)
    window = node.window
    gathered = (window.rows.size, window.columns.size) == (height, width)
    most = _GATHERED_BYTES // (height * width) // WORD * WORD
    at_once = min(_GATHERED_CHANNELS, max(WORD, most))
    large = height * width * round_up(channels, WORD) > _GATHERED_BYTES
    if not gathered or not large or channels <= at_once:
        builder.nodes.append(node)
        return
    for begin in range(0, channels, at_once):
        number = min(at_once, channels - begin)
        part = builder.add_temporary(first, (height, width, number))
        builder.nodes.append(
            Elementwise(node.source, part, COPY, source_channel=begin, num_channels=number)
        )
        builder.nodes.append(replace(node, source=part, output_channel=begin))


def reduction(builder: NodeBuilder, operator: Operator) -> None:
    """MEAN, SUM over rows, columns, channels, or several of them."""
    first, last = (builder.tensors[i] for i in (operator.inputs[0], operator.outputs[0]))
    ends, over, window = _reduced(builder, operator)
    channels = builder.shape(ends[0])[_CHANNEL]
    divides = operator.opcode == "MEAN"
    if _CHANNEL not in over:
        stage = builder.stage(first, last, float(_ratio(first, last)))
        node = Pool(*ends, window, stage, maximum=False, divides=divides)
        _add_gathered(builder, node, first)
        return
    number = window.taps * channels if divides else 1
    multiplier = np.float32(_ratio(first, last) / np.float32(number))
    stage = builder.stage(first, last, float(multiplier))
    builder.nodes.append(_sum_of_channels(ends, window, stage, channels))


def extreme_reduction(builder: NodeBuilder, operator: Operator) -> None:
    """REDUCE_MAX, REDUCE_MIN over rows, columns or both."""
    first, last = (builder.tensors[i] for i in (operator.inputs[0], operator.outputs[0]))
    (base, output), over, window = _reduced(builder, operator)
    if _CHANNEL in over:
        raise Unsupported("a maximum or minimum over channels")
    if operator.opcode == "REDUCE_MAX":
        _add_maximum(builder, (base, output), window, (first, last))
        return
    counted_down = builder.add_temporary(first, builder.shape(base))
    builder.nodes.append(Elementwise(base, counted_down, COPY.reversed()))
    made = builder.add_temporary(first, builder.shape(output))
    limits = OutputStage(0, 0, 1.0, 0.0, float(HIGHEST))
    builder.nodes.append(Pool(counted_down, made, window, limits, maximum=True))
    if same_scale(first, last):
        builder.nodes.append(Elementwise(made, output, COPY.reversed()))
        return
    # The requantization of 255 - value, whose zero point is counted from the other end too.
    stage = builder.requantization(first, last)
    zero = HIGHEST - stage.input_zero_point
    stage = replace(stage, input_zero_point=zero, multiplier=-stage.multiplier)
    builder.nodes.append(Elementwise(made, output, stage))


def _reduced(builder: NodeBuilder, operator: Operator) -> tuple[tuple[int, int], set[int], Window]:
    """The tensors, which axes of a position's image are reduced, and the window over them."""
    source, output = operator.inputs[0], operator.outputs[0]
    rank = len(builder.tensors[source].shape)
    axes = {int(axis) % rank for axis in builder.values(operator.inputs[1]).reshape(-1)}
    if 0 in axes or not axes:
        raise Unsupported("a reduction over the batch, or over nothing")
    # A tensor of rank 3 has one row, one of rank 2 one row and one column.
    over = {axis + 3 - rank for axis in axes}
    base = builder.image(source)
    height, width, channels = builder.shape(base)
    made = (
        1 if _ROW in over else height,
        1 if _COLUMN in over else width,
        1 if _CHANNEL in over else channels,
    )
    builder.set_shape(output, made)
    rows, columns = height // made[_ROW], width // made[_COLUMN]
    return (base, output), over, Window(Axis(rows, rows), Axis(columns, columns))


def _sum_of_channels(
    ends: tuple[int, int], window: Window, stage: OutputStage, channels: int
) -> Convolution:
    """A convolution whose weights are all 1."""
    shape = 1, window.rows.size, window.columns.size, channels
    return Convolution(
        ends[0],
        ends[1],
        window,
        stage,
        np.ones(shape, np.uint8),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.array([stage.multiplier], np.float32),
    )
