# SPDX-License-Identifier: Apache-2.0
"""Operators that move values, and resizes: the copies and convolutions that they become.

Where outputs of different kinds alternate (the pixels of an enlarged image), each kind is a node of
its own that makes every second, third or fourth row and column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor, gcd
from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.arithmetic.scales import activation_of, zero_point_of
from edgekit.chip.codegen.constant_maps import constant_image
from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import WORD, Axis, Block
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.node_list import shape_of, words_of
from edgekit.chip.codegen.nodes import COPY, Convolution, Elementwise, Permute, Shape, Window
from edgekit.chip.codegen.rearrange import (
    place_columns,
    place_values,
    select_channels,
    take_channels,
)
from edgekit.chip.isa.memories import NARROW_BYTES

if TYPE_CHECKING:
    from edgekit.chip.codegen.builder import NodeBuilder
    from edgekit.formats.tflite import Operator

_HEIGHT, _WIDTH, _CHANNELS = range(3)
_ROWS_AND_COLUMNS = (_WIDTH, _HEIGHT, _CHANNELS)  # an order of axes
_MOST_KINDS = 64  # of outputs of a resize
_MOST_DIRECT = 16  # kinds that are made at once; else rows first, then columns
_LARGE_FACTOR = 15  # which Google's compiler refuses to protect precision
_HIGHEST = 255
_ZERO_CROSSING = 128  # what makes an int8 value unsigned
_REPEATED = Axis(stride=0)  # every output reads the only row or column
_MOST_PARTS = 256
_MOST_GATHERED = 96_000  # bytes of a tensor that every tile gathers


def _dimension(rank: int, axis: int) -> int:
    """Which of height, width, channels an axis is."""
    axis %= rank
    if rank > 4 or (rank > 1 and axis == 0):
        raise Unsupported(f"axis {axis} of a tensor of rank {rank}")
    return 3 - rank + axis


def _with(shape: Shape, dimension: int, size: int) -> Shape:
    sizes = list(shape)
    sizes[dimension] = size
    return sizes[0], sizes[1], sizes[2]


def _window(dimension: int, axis: Axis) -> Window:
    """A window with ``axis`` along height or width."""
    return Window(axis, Axis()) if dimension == _HEIGHT else Window(Axis(), axis)


def _result(builder: NodeBuilder, output: int, shape: Shape) -> int:
    """The tensor of ``shape`` that an operator's output is another name of."""
    if shape_of(builder.tensors[output].shape) == shape:
        return output
    made = builder.add_temporary(builder.tensors[output], shape)
    builder.aliases[output] = made
    return made


# Parts of a tensor.


def _take(builder: NodeBuilder, source: int, output: int, ranges: Sequence[range]) -> None:
    """The rows, columns and channels in ``ranges``; the output may have lost dimensions of 1."""
    shape = len(ranges[0]), len(ranges[1]), len(ranges[2])
    if builder.shape(source) == shape:
        builder.aliases[output] = source
        return
    result = _result(builder, output, shape)
    rows, columns, channels = ranges
    window = Window(*(Axis(stride=each.step, pad=-each.start) for each in (rows, columns)))
    if channels.start % WORD or channels.step > 1:
        select_channels(builder, source, channels, result, window=window)
        return
    builder.nodes.append(
        Elementwise(
            source,
            result,
            COPY,
            window,
            source_channel=channels.start,
            num_channels=len(channels),
        )
    )


def strided_slice(builder: NodeBuilder, operator: Operator) -> None:
    """STRIDED_SLICE with positive steps."""
    source, options = operator.inputs[0], operator.options
    begin, end, step = (
        builder.values(index).reshape(-1).tolist() for index in operator.inputs[1:4]
    )
    if options.get("ellipsis_mask") or options.get("new_axis_mask"):
        raise Unsupported("a slice with an ellipsis or a new axis")
    if min(step) < 1:
        raise Unsupported("a slice that goes backwards")
    sizes = builder.tensors[source].shape
    ranges = []
    for k, size in enumerate(sizes):
        if k >= len(begin):
            ranges.append(range(size))
        elif options.get("shrink_axis_mask", 0) >> k & 1:
            ranges.append(range(begin[k] % size, begin[k] % size + 1))
        else:
            first = None if options.get("begin_mask", 0) >> k & 1 else begin[k]
            last = None if options.get("end_mask", 0) >> k & 1 else end[k]
            ranges.append(range(*slice(first, last, step[k]).indices(size)))
    _take_axes(builder, source, operator.outputs[0], ranges)


def slice_(builder: NodeBuilder, operator: Operator) -> None:
    """SLICE."""
    source = operator.inputs[0]
    begin, number = (builder.values(index).reshape(-1).tolist() for index in operator.inputs[1:3])
    sizes = builder.tensors[source].shape
    ranges = [
        range(first, size if count < 0 else first + count)
        for first, count, size in zip(begin, number, sizes)
    ]
    _take_axes(builder, source, operator.outputs[0], ranges)


def _take_axes(builder: NodeBuilder, source: int, output: int, ranges: Sequence[range]) -> None:
    rank = len(ranges)
    if rank > 1 and ranges[0] != range(1):
        raise Unsupported("a slice of the batch")
    inner = ranges[1:] if rank > 1 else ranges
    if len(inner) > 3:
        raise Unsupported(f"a tensor of rank {rank}")
    if not all(inner):
        raise Unsupported("an empty slice")
    filled = [range(1)] * (3 - len(inner)) + list(inner)
    _take(builder, builder.image(source), output, filled)


def split(builder: NodeBuilder, operator: Operator) -> None:
    """SPLIT, SPLIT_V."""
    with_sizes = operator.opcode == "SPLIT_V"
    source = operator.inputs[0 if with_sizes else 1]
    if len(operator.outputs) == 1:
        builder.aliases[operator.outputs[0]] = builder.root(source)
        return
    axis = int(builder.values(operator.inputs[2 if with_sizes else 0]).reshape(-1)[0])
    rank = len(builder.tensors[source].shape)
    sizes = [builder.tensors[output].shape[axis % rank] for output in operator.outputs]
    _split(builder, operator, source, _dimension(rank, axis), sizes)


def unpack(builder: NodeBuilder, operator: Operator) -> None:
    """UNPACK: parts of size 1, without the axis."""
    source = operator.inputs[0]
    dimension = _dimension(len(builder.tensors[source].shape), operator.options.get("axis", 0))
    _split(builder, operator, source, dimension, [1] * len(operator.outputs))


def _split(
    builder: NodeBuilder, operator: Operator, source: int, dimension: int, sizes: Sequence[int]
) -> None:
    if len(sizes) > _MOST_PARTS:
        raise Unsupported(f"a split into {len(sizes)} parts; at most {_MOST_PARTS} are made")
    image = builder.image(source)
    ranges, first = [range(size) for size in builder.shape(image)], 0
    for output, size in zip(operator.outputs, sizes):
        part = list(ranges)
        part[dimension] = range(first, first + size)
        _take(builder, image, output, part)
        first += size


# Several tensors to one.


def concatenation(builder: NodeBuilder, operator: Operator) -> None:
    """CONCATENATION: each part a copy, or a requantization, to its place."""
    output = builder.tensors[operator.outputs[0]]
    if activation_of(operator) != "NONE":
        raise Unsupported("a concatenation with an activation")
    axis = operator.options["axis"]
    rank = len(output.shape)
    dimension = _dimension(rank, axis)
    sizes = [builder.tensors[index].shape[axis % rank] for index in operator.inputs]
    _join(builder, operator, dimension, sizes)


def pack(builder: NodeBuilder, operator: Operator) -> None:
    """PACK: a concatenation along a new axis."""
    rank = len(builder.tensors[operator.outputs[0]].shape)
    dimension = _dimension(rank, operator.options.get("axis", 0))
    _join(builder, operator, dimension, [1] * len(operator.inputs))


def _join(builder: NodeBuilder, operator: Operator, dimension: int, sizes: Sequence[int]) -> None:
    if len(sizes) > _MOST_PARTS:
        raise Unsupported(f"a concatenation of {len(sizes)} tensors; at most {_MOST_PARTS}")
    output, sources = operator.outputs[0], _computed(builder, operator.inputs)
    shape = shape_of(builder.tensors[output].shape)
    if dimension == _CHANNELS:
        _join_channels(builder, sources, output, sizes)
        return
    if dimension == _HEIGHT and shape[_WIDTH] == 1:
        # A column, as boxes of a detector: its values come in the same order as those of a row.
        dimension, shape = _WIDTH, (1, shape[_HEIGHT], shape[_CHANNELS])
        builder.set_shape(output, shape)
    first = 0
    for source, size in zip(sources, sizes):
        stage = builder.requantization(builder.tensors[source], builder.tensors[output])
        part = _with(shape, dimension, size)
        root = builder.root(source)
        if dimension == _WIDTH and shape[0] == 1 and builder.shape(root) != part:
            place_values(builder, root, output, first, stage)  # straight from before the reshape
        else:
            axis = Axis(first=first, count=size)
            window = _window(dimension, axis)
            builder.nodes.append(Elementwise(builder.shaped(source, part), output, stage, window))
        first += size
    _check_room(builder, output)


def _computed(builder: NodeBuilder, sources: Sequence[int]) -> list[int]:
    """The tensors to join, with a map in the place of each constant."""
    given = [source for source in sources if not builder.is_constant(source)]
    if not given:
        raise Unsupported("a concatenation of constants")
    return [
        constant_image(builder, source, builder.image(given[0]))
        if builder.is_constant(source)
        else source
        for source in sources
    ]


def _join_channels(
    builder: NodeBuilder, sources: Sequence[int], output: int, sizes: Sequence[int]
) -> None:
    shape = shape_of(builder.tensors[output].shape)
    aligned = [round_up(size, WORD) for size in sizes]
    has_gaps = aligned[:-1] != list(sizes[:-1])
    target = output
    if has_gaps:
        target = builder.add_temporary(
            builder.tensors[output], _with(shape, _CHANNELS, sum(aligned))
        )
    first = 0
    chosen: list[int] = []
    for source, size in zip(sources, sizes):
        stage = builder.requantization(builder.tensors[source], builder.tensors[output])
        part = builder.shaped(source, _with(shape, _CHANNELS, size))
        builder.nodes.append(Elementwise(part, target, stage, output_channel=first))
        chosen += range(first, first + size)
        first += round_up(size, WORD)
    if has_gaps:
        select_channels(builder, target, chosen, output)


def _check_room(builder: NodeBuilder, output: int) -> None:
    """Refuse what would not fit, so that the rest of the network is compiled."""
    shape = builder.shape(output)
    if Block(shape).size_bytes > NARROW_BYTES // 2:
        raise Unsupported(f"{words_of(shape)} values, more than half of a tile's memory")


# Around and again.


def pad(builder: NodeBuilder, operator: Operator) -> None:
    """PAD, PADV2."""
    source, output = operator.inputs[0], operator.outputs[0]
    pads = _inner_pads(builder, operator)
    fill = zero_point_of(builder.tensors[source])
    if operator.opcode == "PADV2":
        constant = operator.inputs[2]
        crossing = _ZERO_CROSSING if builder.tensors[constant].dtype == "INT8" else 0
        fill = int(builder.values(constant).reshape(-1)[0]) + crossing
    image = builder.image(source)
    before, after = pads[_CHANNELS]
    if before or after:
        channels = [None] * before + list(range(builder.shape(image)[2])) + [None] * after
        last = None if any(map(any, pads[:2])) else output
        image = select_channels(builder, image, channels, last, fill=fill)
    if any(map(any, pads[:2])):
        window = Window(Axis(pad=pads[0][0]), Axis(pad=pads[1][0]))
        builder.nodes.append(Elementwise(image, output, COPY, window, padding=fill))
    elif not before and not after:
        builder.aliases[output] = image


def _inner_pads(builder: NodeBuilder, operator: Operator) -> list[list[int]]:
    """(before, after) for height, width, channels."""
    pads = builder.values(operator.inputs[1]).reshape(-1, 2).tolist()
    if len(pads) > 4 or (len(pads) > 1 and any(pads[0])):
        raise Unsupported("padding of the batch")
    inner = pads[1:] if len(pads) > 1 else pads
    return [[0, 0]] * (3 - len(inner)) + inner


def mirror_pad(builder: NodeBuilder, operator: Operator) -> None:
    """MIRROR_PAD: rows, columns and channels beyond the border, one after the other."""
    symmetric = int(operator.options.get("mode") in {1, "SYMMETRIC"})
    here = builder.image(operator.inputs[0])
    places = []
    for size, (before, after) in zip(builder.shape(here), _inner_pads(builder, operator)):
        skipped = 1 - symmetric
        places.append(
            [
                *range(before - 1 + skipped, skipped - 1, -1),
                *range(size),
                *range(size - 1 - skipped, size - 1 - skipped - after, -1),
            ]
        )
    _gather(builder, here, operator.outputs[0], places)


def tile(builder: NodeBuilder, operator: Operator) -> None:
    """TILE."""
    times = builder.values(operator.inputs[1]).reshape(-1).tolist()
    if len(times) > 4 or (len(times) > 1 and times[0] != 1):
        raise Unsupported("copies of the batch")
    inner = times[1:] if len(times) > 1 else times
    inner = [1] * (3 - len(inner)) + inner
    here = builder.image(operator.inputs[0])
    places = [list(range(size)) * count for size, count in zip(builder.shape(here), inner)]
    _gather(builder, here, operator.outputs[0], places)


def _gather(
    builder: NodeBuilder, source: int, output: int, places: Sequence[Sequence[int]]
) -> None:
    """Rows, columns and channels of the source in a new order: one dimension after the other."""
    moved = [
        dimension
        for dimension, size in enumerate(builder.shape(source))
        if list(places[dimension]) != list(range(size))
    ]
    if not moved:
        builder.aliases[output] = source
        return
    # What grows most comes last.
    moved.sort(key=lambda dimension: len(places[dimension]) / builder.shape(source)[dimension])
    here = source
    for dimension in moved:
        wanted = places[dimension]
        last = dimension == moved[-1]
        shape = _with(builder.shape(here), dimension, len(wanted))
        target = output if last else builder.add_temporary(builder.tensors[output], shape)
        if dimension == _CHANNELS:
            select_channels(builder, here, list(wanted), target)
        else:
            _gather_axis(builder, here, target, dimension, wanted)
        here = target


def _gather_axis(
    builder: NodeBuilder, source: int, output: int, dimension: int, wanted: Sequence[int]
) -> None:
    """Rows or columns in a new order: a copy for each run of neighbours."""
    if builder.shape(source)[dimension] == 1:
        window = _window(dimension, _REPEATED)
        builder.nodes.append(Elementwise(source, output, COPY, window))
        return
    first = 0
    for place in range(1, len(wanted) + 1):
        if place == len(wanted) or wanted[place] != wanted[place - 1] + 1:
            axis = Axis(pad=-wanted[first], first=first, count=place - first)
            window = _window(dimension, axis)
            builder.nodes.append(Elementwise(source, output, COPY, window))
            first = place


def transpose(builder: NodeBuilder, operator: Operator) -> None:
    """TRANSPOSE: another name where only dimensions of size 1 move, else copies of values."""
    source, output = operator.inputs[0], operator.outputs[0]
    order = builder.values(operator.inputs[1]).reshape(-1).tolist()
    sizes = builder.tensors[source].shape
    kept = [axis for axis in order if sizes[axis] != 1]
    if kept == sorted(kept):
        builder.aliases[output] = builder.root(source)
        return
    what = f"a transpose of {list(sizes)} in the order {order}"
    if order[0] != 0 or len(sizes) > 4:
        raise Unsupported(what)
    height, width, channels = shape_of(sizes)
    size = height * width * round_up(channels, WORD)
    first = 4 - len(sizes)
    _, *inner = [*range(first), *(axis + first for axis in order)][-4:]
    wanted = inner[0] - 1, inner[1] - 1, inner[2] - 1
    if size > _MOST_GATHERED:
        if wanted != _ROWS_AND_COLUMNS:
            raise Unsupported(f"{what}: {size:,} bytes; at most {_MOST_GATHERED:,} are moved")
        place_columns(builder, source, output, builder.shaped)
        return
    rows = Axis() if wanted[_HEIGHT] == _HEIGHT else Axis(height, stride=0)
    columns = Axis() if wanted[_WIDTH] == _WIDTH else Axis(width, stride=0)
    image = builder.image(source)
    builder.nodes.append(Permute(image, output, Window(rows, columns), wanted))


# Blocks of pixels.


def space_to_depth(builder: NodeBuilder, operator: Operator) -> None:
    """SPACE_TO_DEPTH: blocks of pixels side by side as channels."""
    source, output = builder.image(operator.inputs[0]), operator.outputs[0]
    size = operator.options["block_size"]
    channels = builder.shape(source)[2]
    if channels % WORD:
        axis = Axis(size, size)
        chosen = list(range(size * size * channels))
        select_channels(builder, source, chosen, output, window=Window(axis, axis))
        return
    for row in range(size):
        for column in range(size):
            window = Window(Axis(stride=size, pad=-row), Axis(stride=size, pad=-column))
            first = (row * size + column) * channels
            builder.nodes.append(Elementwise(source, output, COPY, window, output_channel=first))


def depth_to_space(builder: NodeBuilder, operator: Operator) -> None:
    """DEPTH_TO_SPACE: channels as blocks of pixels."""
    source, output = builder.image(operator.inputs[0]), operator.outputs[0]
    size = operator.options["block_size"]
    channels = shape_of(builder.tensors[output].shape)[2]
    for row in range(size):
        for column in range(size):
            window = Window(Axis(first=row, every=size), Axis(first=column, every=size))
            first = (row * size + column) * channels
            tensor, channel = take_channels(builder, source, first, channels)
            builder.nodes.append(
                Elementwise(
                    tensor,
                    output,
                    COPY,
                    window,
                    source_channel=channel,
                    num_channels=channels,
                )
            )


# Resizes.


@dataclass(frozen=True)
class _Kind:
    """Outputs along one axis that are made alike: every ``axis.every``-th.

    ``weights`` are of the taps, ``full`` in sum.
    """

    axis: Axis
    weights: tuple[int, ...] = (1,)
    full: int = 1


def _scale(operator: Operator, size: int, number: int) -> Fraction:
    if operator.options.get("align_corners") and number > 1:
        return Fraction(size - 1, number - 1)
    return Fraction(size, number)


def _nearest_kinds(operator: Operator, size: int, number: int) -> list[_Kind]:
    """The kinds of outputs along an axis, each a copy with a stride."""
    if size == 1:
        return [_Kind(_REPEATED)]
    align = bool(operator.options.get("align_corners"))
    half = bool(operator.options.get("half_pixel_centers"))
    scale = _scale(operator, size, number)
    # In float32, as TensorFlow Lite's kernel.
    step = np.float32(scale.numerator) / np.float32(scale.denominator)
    if align and number > 1:
        step = np.float32(size - 1) / np.float32(number - 1)
    elif not align:
        step = np.float32(size) / np.float32(number)
    place = (np.arange(number, dtype=np.float32) + np.float32(0.5 if half else 0)) * step
    whole = np.clip(np.floor(place + np.float32(0.5 if align else 0)), 0, size - 1).astype(int)
    stride, every = scale.numerator, scale.denominator
    kinds = []
    for first in range(min(every, number)):
        mine = whole[first::every]
        if (np.diff(mine) != stride).any():
            raise Unsupported(f"a resize of {size} to {number} rows or columns")
        kinds.append(_Kind(Axis(1, stride, -int(mine[0]), first=first, every=every)))
    return kinds


def _bilinear_kinds(
    operator: Operator, size: int, number: int
) -> tuple[list[_Kind], tuple[int, int]]:
    """The kinds of outputs along an axis, and the copies of the border that they read."""
    if size == 1:
        return [_Kind(_REPEATED)], (0, 0)
    scale = _scale(operator, size, number)
    offset = (scale - 1) / 2 if operator.options.get("half_pixel_centers") else Fraction(0)
    stride, every = scale.numerator, scale.denominator
    places = [first * scale + offset for first in range(min(every, number))]
    full = 1
    for place in places:
        full = full * place.denominator // gcd(full, place.denominator)
    kinds, lowest, highest = [], 0, size - 1
    for first, place in enumerate(places):
        low = floor(place)
        weight = int((place - low) * full)
        taps = 2 if weight else 1
        last = low + ((number - 1 - first) // every) * stride + taps - 1
        lowest, highest = min(lowest, low), max(highest, last)
        axis = Axis(taps, stride, -low, first=first, every=every)
        kinds.append(_Kind(axis, (full - weight, weight)[:taps], full))
    around = -lowest, highest - size + 1
    if around[0]:
        kinds = [
            replace(kind, axis=replace(kind.axis, pad=kind.axis.pad - around[0])) for kind in kinds
        ]
    return kinds, around


def _check_resize(before: Shape, after: Shape) -> None:
    for size, number in zip(before[:2], after[:2]):
        if size > 1 and number >= _LARGE_FACTOR * size:
            raise Unsupported(
                f"a resize of {words_of(before)} to {words_of(after)}: factors of "
                f"{_LARGE_FACTOR} and more are refused"
            )
    if Block(after).size_bytes > NARROW_BYTES * 3 // 4:
        raise Unsupported(f"a resize to {words_of(after)}, which does not fit into the tiles")


def resize_nearest(builder: NodeBuilder, operator: Operator) -> None:
    """RESIZE_NEAREST_NEIGHBOR by whole factors and simple fractions: copies."""
    source, output = builder.image(operator.inputs[0]), operator.outputs[0]
    before, after = builder.shape(source), shape_of(builder.tensors[output].shape)
    _check_resize(before, after)
    stage = builder.requantization(builder.tensors[operator.inputs[0]], builder.tensors[output])
    if before == after and stage == COPY:
        builder.aliases[output] = source
        return
    rows = _nearest_kinds(operator, before[0], after[0])
    columns = _nearest_kinds(operator, before[1], after[1])
    _check_kinds(rows, columns, before, after)
    if len(rows) * len(columns) > _MOST_DIRECT:
        middle = builder.add_temporary(builder.tensors[source], _with(after, _WIDTH, before[1]))
        for row in rows:
            builder.nodes.append(Elementwise(source, middle, COPY, Window(row.axis, Axis())))
        source, rows = middle, [_Kind(Axis())]
    for row in rows:
        for column in columns:
            window = Window(row.axis, column.axis)
            builder.nodes.append(Elementwise(source, output, stage, window))


def _check_kinds(
    rows: Sequence[_Kind], columns: Sequence[_Kind], before: Shape, after: Shape
) -> None:
    if len(rows) * len(columns) > _MOST_KINDS:
        raise Unsupported(
            f"a resize of {words_of(before)} to {words_of(after)}, whose outputs are of "
            f"{len(rows) * len(columns)} kinds; at most {_MOST_KINDS} are made"
        )


def resize_bilinear(builder: NodeBuilder, operator: Operator) -> None:
    """RESIZE_BILINEAR by whole factors and simple fractions.

    Each kind of output is a depthwise convolution of its two or four neighbours, on an image whose
    border repeats.
    """
    source, output = builder.image(operator.inputs[0]), operator.outputs[0]
    before, after = builder.shape(source), shape_of(builder.tensors[output].shape)
    _check_resize(before, after)
    first, last = builder.tensors[operator.inputs[0]], builder.tensors[output]
    if builder.requantization(first, last) != COPY:
        raise Unsupported("a resize that also rescales")
    if before == after:
        builder.aliases[output] = source
        return
    rows, row_border = _bilinear_kinds(operator, before[0], after[0])
    columns, column_border = _bilinear_kinds(operator, before[1], after[1])
    _check_kinds(rows, columns, before, after)
    places = [
        np.clip(np.arange(-low, size + high), 0, size - 1).tolist()
        for size, (low, high) in zip(before, (row_border, column_border, (0, 0)))
    ]
    wide = source
    if any((*row_border, *column_border)):
        shape = len(places[0]), len(places[1]), before[2]
        wide = builder.add_temporary(builder.tensors[source], shape)
        _gather(builder, source, wide, places)
    for row in rows:
        for column in columns:
            _interpolate(builder, wide, output, row, column)


def _interpolate(builder: NodeBuilder, source: int, output: int, row: _Kind, column: _Kind) -> None:
    window = Window(row.axis, column.axis)
    if window.taps == 1:
        builder.nodes.append(Elementwise(source, output, COPY, window))
        return
    channels = builder.shape(source)[2]
    products = np.outer(row.weights, column.weights)
    full = row.full * column.full
    while (products % 2 == 0).all() and full % 2 == 0:
        products, full = products // 2, full // 2
    if products.max() > _HIGHEST:
        raise Unsupported(f"a resize with weights up to {products.max()}; at most {_HIGHEST}")
    multiplier = np.float32(1) / np.float32(full)
    weights = np.broadcast_to(products[None, :, :, None], (channels, *products.shape, 1))
    builder.nodes.append(
        Convolution(
            source=source,
            output=output,
            window=window,
            stage=replace(COPY, multiplier=float(multiplier)),
            weights=weights.astype(np.uint8),
            weight_zero_points=np.zeros(channels, np.int64),
            bias=np.zeros(channels, np.int64),
            multipliers=np.array([multiplier], np.float32),
            depthwise=channels > 1,
        )
    )
