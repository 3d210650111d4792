# SPDX-License-Identifier: Apache-2.0
"""How an image lies on the 4 x 4 tiles: spans of an axis, blocks, and what neighbours exchange.

Each axis of an image is cut in four: ``size // 4`` for each tile row or column, and the remainder
on {0}, {0, 2} or {0, 1, 2}. A consumer needs a window that reaches into its neighbours' parts (the
halo) and outside of the image (the padding).

Source: tinycoral, docs/isa/codegen_conv2d.md (MIT); checked on Google's programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Tuple

from edgekit.chip.codegen.nests import round_up
from edgekit.chip.isa.memories import NUM_TILES, TILES_PER_ROW

Range = Tuple[int, int]  # (first, end)
Counted = Tuple[int, int]  # (first, number)
_REMAINDER = {0: (), 1: (0,), 2: (0, 2), 3: (0, 1, 2)}
WORD = 4  # bytes of a word of narrow memory: so many channels of a position


def shares(size: int) -> list[int]:
    """How many of ``size`` rows or columns each tile row or column has."""
    extra: Sequence[int] = _REMAINDER[size % 4]
    return [size // 4 + (part in extra) for part in range(4)]


def own_ranges(size: int) -> list[Counted]:
    """(first, number) of each tile row's or column's own part."""
    ranges, first = [], 0
    for number in shares(size):
        ranges.append((first, number))
        first += number
    return ranges


@dataclass
class Span:
    """What a tile row (or column) has, computes and reads of one axis, for one consumer."""

    own: int  # the first that is its own
    num_own: int
    output: int  # the first output that it computes
    num_outputs: int
    window: int  # the first that it reads; negative in the padding
    num_window: int
    low: int = 0  # the first that it has after the exchange
    high: int = 0  # the end of these

    @property
    def own_end(self) -> int:
        """The end of its own part."""
        return self.own + self.num_own

    @property
    def window_end(self) -> int:
        """The end of what it reads."""
        return self.window + self.num_window

    @property
    def held(self) -> Range:
        """What it has to store for this consumer."""
        if not self.num_outputs:
            return self.low, self.high
        return min(self.window, self.low), max(self.window_end, self.high)


@dataclass(frozen=True)
class Axis:
    """A sliding window along one axis; it may make only some of the outputs."""

    size: int = 1
    stride: int = 1
    pad: int = 0  # before the first row or column
    dilation: int = 1
    first: int = 0  # the first output that is made
    every: int = 1  # from one output that is made to the next
    count: int | None = None  # of outputs that are made; None: all from the first one on

    @property
    def reach(self) -> int:
        """Rows or columns that one output reads, gaps included."""
        return (self.size - 1) * self.dilation + 1

    def made(self, first: int, number: int) -> Counted:
        """(first, number) of the places of the window for outputs ``first`` and so on."""
        begin = max(0, -((self.first - first) // self.every))
        end = -((self.first - first - number) // self.every)
        if self.count is not None:
            end = min(end, self.count)
        return begin, max(0, end - begin)

    def output(self, place: int) -> int:
        """The output that a place of the window makes."""
        return self.first + self.every * place


def same_padding(outputs: int, size: int, axis: Axis) -> int:
    """Rows or columns before the first: half of what is missing, rounded down."""
    return max((outputs - 1) * axis.stride + axis.reach - size, 0) // 2


def spans_of(outputs: Sequence[Counted], size: int, axis: Axis) -> list[Span]:
    """The spans of a consumer that computes ``outputs`` = [(first, number)] of a source."""
    spans = []
    for (own, num_own), (first, number) in zip(own_ranges(size), outputs):
        place, made = axis.made(first, number)
        window = place * axis.stride - axis.pad
        reach = (made - 1) * axis.stride + axis.reach if made else 0
        spans.append(Span(own, num_own, axis.output(place), made, window, reach))
    return exchanged(spans, size)


def exchanged(spans: list[Span], size: int) -> list[Span]:
    """Set what each span has after the exchange; a neighbour passes on what others need."""
    for part, span in enumerate(spans):
        needed = min(span.window_end, size) if span.num_outputs else 0
        span.high = max(span.own_end, needed, spans[part - 1].high if part else 0)
    for part in reversed(range(4)):
        span = spans[part]
        needed = max(span.window, 0) if span.num_outputs else size
        span.low = min(span.own, needed, spans[part + 1].low if part < 3 else size)
    return spans


def held_by(spans: Sequence[Span]) -> list[Range]:
    """(first, end) of what each tile row or column stores."""
    return [span.held for span in spans]


def computing_tiles(rows: Sequence[Span], columns: Sequence[Span]) -> list[int]:
    """The tiles that compute any output."""
    return [
        tile
        for tile in range(NUM_TILES)
        if rows[tile // TILES_PER_ROW].num_outputs and columns[tile % TILES_PER_ROW].num_outputs
    ]


def joined(first: Range | None, second: Range | None) -> Range | None:
    """The smallest range around both; an empty one does not count."""
    if first is None or first[1] <= first[0]:
        return second
    if second is None or second[1] <= second[0]:
        return first
    return min(first[0], second[0]), max(first[1], second[1])


@dataclass
class Moves:
    """What one span sends, receives and fills in one direction; (number, first)."""

    sent: tuple[int, int]
    received: tuple[int, int]
    padding: tuple[int, int]


def moves(spans: Sequence[Span], part: int, size: int, *, to_previous: bool) -> Moves:
    """The halo exchange of span ``part`` towards the previous or the next span."""
    span = spans[part]
    if to_previous:
        sent = max(0, spans[part - 1].high - span.own) if part else 0
        end = max(size, span.own_end)
        padding = (max(0, span.window_end - end), end) if span.num_outputs else (0, 0)
        return Moves((sent, span.own), (span.high - span.own_end, span.own_end), padding)
    sent = max(0, span.own_end - spans[part + 1].low) if part < 3 else 0
    padding = (max(0, min(0, span.own) - span.window), span.window) if span.num_outputs else (0, 0)
    return Moves((sent, span.own_end - sent), (span.own - span.low, span.low), padding)


class Block:
    """Where a tensor lies in narrow memory: for each tile row and column, what it stores.

    A whole block has every tile's own part and grows by what consumers need; a local one, of a
    slice, has exactly the ranges it is given.
    """

    def __init__(self, shape: tuple[int, int, int], *, local: bool = False) -> None:
        self.height, self.width, self.channels = shape
        self.position_bytes = round_up(self.channels, WORD)
        self.local = local
        self.own_rows, self.own_columns = own_ranges(self.height), own_ranges(self.width)
        self.rows: list[Range | None] = [None] * 4
        self.columns: list[Range | None] = [None] * 4
        if not local:
            self.rows = [(first, first + number) for first, number in self.own_rows]
            self.columns = [(first, first + number) for first, number in self.own_columns]
        self.spare_bytes = 0  # behind the positions
        self.address = -1  # in every tile; set by the allocation

    def cover(self, rows: Sequence[Range | None], columns: Sequence[Range | None]) -> None:
        """Grow until ``rows`` and ``columns`` fit."""
        self.rows = [joined(mine, other) for mine, other in zip(self.rows, rows)]
        self.columns = [joined(mine, other) for mine, other in zip(self.columns, columns)]

    def stored(self, tile: int) -> tuple[int, int]:
        """Rows and columns that a tile stores."""
        return _length(self.rows[tile // 4]), _length(self.columns[tile % 4])

    def row_bytes(self, tile: int) -> int:
        """Bytes from one row to the next."""
        return self.stored(tile)[1] * self.position_bytes

    def at(self, tile: int, row: int, column: int) -> int:
        """The address of a position."""
        first_row, first_column = self.rows[tile // 4], self.columns[tile % 4]
        top = first_row[0] if first_row else 0
        left = first_column[0] if first_column else 0
        return (
            self.address
            + (row - top) * self.row_bytes(tile)
            + (column - left) * self.position_bytes
        )

    @property
    def size_bytes(self) -> int:
        """Bytes in the tile that stores most."""
        return (
            max(
                rows * columns for rows, columns in (self.stored(tile) for tile in range(NUM_TILES))
            )
            * self.position_bytes
            + self.spare_bytes
        )

    def own(self, tile: int) -> tuple[int, int, int, int]:
        """First row, rows, first column, columns of a tile's own part."""
        return (*self.own_rows[tile // TILES_PER_ROW], *self.own_columns[tile % TILES_PER_ROW])

    def own_tiles(self) -> list[int]:
        """The tiles with a part of their own."""
        return [tile for tile in range(NUM_TILES) if self.own(tile)[1] and self.own(tile)[3]]


def _length(stored: Range | None) -> int:
    return max(0, stored[1] - stored[0]) if stored else 0
