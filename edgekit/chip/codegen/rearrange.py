# SPDX-License-Identifier: Apache-2.0
"""Values at other places: copies of positions, and convolutions that choose channels.

A copy moves whole words of a position. Channels that do not lie at multiples of a word, or come in
another order, go through a 1 x 1 convolution whose weights are 0 and 1, which is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Callable, Iterator, Sequence

import numpy as np

from edgekit.chip.codegen.errors import Unsupported
from edgekit.chip.codegen.geometry import WORD, Axis, Block
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.codegen.node_list import NodeList, shape_of, words_of
from edgekit.chip.codegen.nodes import (
    COPY,
    Convolution,
    Elementwise,
    Flatten,
    OutputStage,
    Shape,
    Window,
)

_MOST_COPIES = 512  # of one reshape
_MOST_BYTES = 96_000  # of a tile, for a tensor whose positions a reshape moves
_DIRECT_BYTES = 24_000  # smaller tensors are read by every tile that needs a part


def select_channels(
    builder: NodeList,
    source: int,
    channels: Sequence[int | None],
    output: int | None = None,
    *,
    window: Window | None = None,
    fill: int = 0,
) -> int:
    """A node that takes ``channels`` of the source, in this order; None stands for ``fill``.

    Args:
        builder: Gets the node.
        source: A tensor of narrow memory.
        channels: What each channel of the result is.
        output: The result; None: a new tensor of the source's rows and columns.
        window: Of one or more positions; the first channels are those of its first position.
        fill: The value of channels that are None.
    """
    height, width, number = builder.shape(source)
    if output is None:
        output = builder.add_temporary(builder.tensors[source], (height, width, len(channels)))
    window = window or Window()
    weights = np.zeros((len(channels), window.taps * number), np.uint8)
    for place, channel in enumerate(channels):
        if channel is not None:
            weights[place, channel] = 1
    bias = [fill if channel is None else 0 for channel in channels]
    builder.nodes.append(
        Convolution(
            source=source,
            output=output,
            window=window,
            stage=COPY,
            weights=weights.reshape(-1, window.rows.size, window.columns.size, number),
            weight_zero_points=np.zeros(len(channels), np.int64),
            bias=np.array(bias, np.int64),
            multipliers=np.ones(1, np.float32),
        )
    )
    return output


def take_channels(builder: NodeList, source: int, first: int, number: int) -> tuple[int, int]:
    """(tensor, channel) from which on ``number`` channels of the source lie in whole words."""
    if first % WORD == 0:
        return source, first
    return select_channels(builder, source, range(first, first + number)), 0


def reshaped(builder: NodeList, source: int, shape: Shape) -> int:
    """A new tensor with the values of the source, row by row, in another shape.

    Raises:
        Unsupported: It needs too many copies or too much memory.
    """
    output = builder.add_temporary(builder.tensors[source], shape)
    before = len(builder.nodes)
    place_values(builder, source, output, 0, COPY)
    _check(builder, source, shape, len(builder.nodes) - before)
    return output


def _check(builder: NodeList, source: int, shape: Shape, copies: int) -> None:
    what = f"a reshape of {words_of(builder.shape(source))} to {words_of(shape)}"
    if copies > _MOST_COPIES:
        raise Unsupported(f"{what}, which takes {copies:,} copies; at most {_MOST_COPIES} are made")
    size = Block(shape).size_bytes
    if size > _MOST_BYTES:
        raise Unsupported(
            f"{what}, whose result needs {size:,} bytes of a tile; at most {_MOST_BYTES:,} are used"
        )


def place_values(
    builder: NodeList, source: int, output: int, first: int, stage: OutputStage
) -> None:
    """Copy all values of the source, row by row, to the output from position ``first`` on."""
    height, width, channels = builder.shape(source)
    wanted = builder.shape(output)
    positions = height * width
    if wanted[:2] == (1, 1) and _flattened(builder, source, output, stage):
        return
    if channels % wanted[2] == 0:
        parts = channels // wanted[2]
        for part in range(parts):
            tensor, channel = take_channels(builder, source, part * wanted[2], wanted[2])
            walk = _Walk(0, 1, width), _Walk(first + part, parts, wanted[1])
            _copy(builder, (tensor, channel), (output, 0), wanted[2], walk, positions, stage)
        return
    if wanted[2] % channels == 0 and positions % (wanted[2] // channels) == 0:
        parts = wanted[2] // channels
        joined = positions // parts
        # Side by side in whole words, and without the gaps then.
        words = round_up(channels, WORD)
        wide = output
        if words != channels:
            wide = builder.add_temporary(builder.tensors[source], (1, joined, parts * words))
        shape = builder.shape(wide)
        for part in range(parts):
            walk = _Walk(part, parts, width), _Walk(first if wide == output else 0, 1, shape[1])
            _copy(builder, (source, 0), (wide, part * words), channels, walk, joined, stage)
        if wide != output:
            chosen = [part * words + k for part in range(parts) for k in range(channels)]
            place_values(builder, select_channels(builder, wide, chosen), output, first, COPY)
        return
    common = gcd(channels, wanted[2])
    middle = (height, width * (channels // common), common)
    between = builder.add_temporary(builder.tensors[source], middle)
    place_values(builder, source, between, 0, stage)
    place_values(builder, between, output, first, COPY)


def place_columns(
    builder: NodeList, source: int, output: int, shaped: Callable[[int, Shape], int]
) -> None:
    """Copy each column of the source to a row of the output: anchors of a detector, for example.

    The columns are channels of an image with as many positions as the source has rows, often the
    one that was reshaped to the source. ``shaped`` is the builder's `NodeBuilder.shaped`.

    Raises:
        Unsupported: It needs too many copies or too much memory.
    """
    height, width, channels = shape_of(builder.tensors[source].shape)
    root = builder.root(source)
    rows, columns, joined = builder.shape(root)
    if (rows * columns, joined) != (height, width * channels):
        root = shaped(source, (1, height, width * channels))
    before, image_width = len(builder.nodes), builder.shape(root)[1]
    for column in range(width):
        tensor, channel = take_channels(builder, root, column * channels, channels)
        walks = _Walk(0, 1, image_width), _Walk(column * height, 1, height)
        _copy(builder, (tensor, channel), (output, 0), channels, walks, height, COPY)
    _check(builder, source, (width, height, channels), len(builder.nodes) - before)


def _flattened(builder: NodeList, source: int, output: int, stage: OutputStage) -> bool:
    """Whether the source, one vector then, is gathered on one tile by as few copies as possible."""
    height, width, channels = builder.shape(source)
    joined = WORD // gcd(channels, WORD)  # positions in whole words
    if height * width == 1 or width % joined:
        return False
    if height * width * channels > _MOST_BYTES:
        return False
    if joined > 1:
        shape = height, width // joined, channels * joined
        wide = builder.add_temporary(builder.tensors[source], shape)
        window = Window(Axis(), Axis(joined, joined))
        select_channels(builder, source, range(channels * joined), wide, window=window)
        source, width = wide, width // joined
    builder.nodes.append(Flatten(source, output, Window(Axis(height), Axis(width)), stage))
    return True


@dataclass(frozen=True)
class _Walk:
    """Positions of an image, row by row: the first, the step, the width of a row."""

    first: int
    step: int
    width: int

    def at(self, number: int) -> tuple[int, int]:
        """Row and column of a position."""
        return divmod(self.first + number * self.step, self.width)


@dataclass
class _Run:
    """Positions in a rectangle of the source, and one of the output."""

    source: tuple[int, int]
    output: tuple[int, int]
    count: int
    rows: int = 1
    source_rows: int = 1  # from one row to the next
    output_rows: int = 1


def _runs(source: _Walk, output: _Walk, number: int) -> list[_Run]:
    """The fewest rectangles, row by row."""
    runs: list[_Run] = []
    for run in _rows(source, output, number):
        last = runs[-1] if runs else None
        if last is None or (last.source[1], last.output[1], last.count) != (
            run.source[1],
            run.output[1],
            run.count,
        ):
            runs.append(run)
            continue
        step = (
            run.source[0] - last.source[0] - (last.rows - 1) * last.source_rows,
            run.output[0] - last.output[0] - (last.rows - 1) * last.output_rows,
        )
        if min(step) < 1:  # of one row several parts: no rectangle
            runs.append(run)
        elif last.rows == 1:
            last.rows, (last.source_rows, last.output_rows) = 2, step
        elif step == (last.source_rows, last.output_rows):
            last.rows += 1
        else:
            runs.append(run)
    return runs


def _rows(source: _Walk, output: _Walk, number: int) -> Iterator[_Run]:
    start = 0
    while start < number:
        here, there = source.at(start), output.at(start)
        left = min(
            -(-(source.width - here[1]) // source.step),
            -(-(output.width - there[1]) // output.step),
            number - start,
        )
        yield _Run(here, there, left)
        start += left


def _copy(
    builder: NodeList,
    source: tuple[int, int],
    output: tuple[int, int],
    channels: int,
    walks: tuple[_Walk, _Walk],
    number: int,
    stage: OutputStage,
) -> None:
    """Copy positions; ``source`` and ``output`` are (tensor, channel)."""
    tensor, channel = source
    runs = _runs(*walks, number)
    large = Block(builder.shape(tensor)).size_bytes * 4 > _DIRECT_BYTES
    for run in runs:
        rows = Axis(stride=run.source_rows, pad=-run.source[0])
        columns = Axis(stride=walks[0].step, pad=-run.source[1])
        taken, place = tensor, channel
        if large and len(runs) > 1:
            # In two steps: else the tiles that store the result would read all of the source.
            taken, place = (
                builder.add_temporary(builder.tensors[tensor], (run.rows, run.count, channels)),
                0,
            )
            builder.nodes.append(
                Elementwise(
                    tensor,
                    taken,
                    COPY,
                    Window(rows, columns),
                    source_channel=channel,
                    num_channels=channels,
                )
            )
            rows = columns = Axis()
        window = Window(
            _making(rows, run.output[0], run.output_rows, run.rows),
            _making(columns, run.output[1], walks[1].step, run.count),
        )
        builder.nodes.append(
            Elementwise(
                taken,
                output[0],
                stage,
                window,
                source_channel=place,
                output_channel=output[1],
                num_channels=channels,
            )
        )


def _making(axis: Axis, first: int, every: int, count: int) -> Axis:
    return Axis(1, axis.stride, axis.pad, first=first, every=every, count=count)
