# SPDX-License-Identifier: Apache-2.0
"""The halo exchange: tiles send their edges to neighbours over the mesh, and fill the padding.

Rows move first (north and south, own columns only), then whole rows of windows move west and east,
so that corners arrive with the columns. Where a window reaches beyond the neighbour, the neighbour
passes on what it has received.
"""

from __future__ import annotations

from typing import Sequence

from edgekit.chip.codegen.emitter import (
    AVDATA,
    EAST_IN,
    NORTH_IN,
    SOUTH_IN,
    WEST_IN,
    Emitter,
)
from edgekit.chip.codegen.geometry import WORD, Block, Moves, Span, moves
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    Fields,
    Nest,
    divide_up,
    level_mask,
    nest_fields,
)
from edgekit.chip.isa.memories import NUM_TILES

# Direction -> the counter that a transfer in it advances at the receiver.
ARRIVALS = {"north": SOUTH_IN, "south": NORTH_IN, "west": EAST_IN, "east": WEST_IN}
_PIECE_WORDS = 16  # a mesh transfer moves at most this many words of a position at once
_MAX_RECORD_LEVEL = 3


def _half(prefix: str, address: int, nest: Nest, words: int) -> tuple[Fields, int]:
    """One half of a mesh transfer (``o_`` out, ``i_`` in), and its number of levels.

    ``nest[0]`` are the words of a position; more than 16 go in pieces, by an outermost level.
    """
    pieces = divide_up(words, _PIECE_WORDS)
    levels = [each for each in [(1, min(words, _PIECE_WORDS)), *nest[1:]] if each[1] > 1]
    number = len(levels)
    if pieces > 1:
        levels.append((_PIECE_WORDS, pieces))
    fields = {
        f"{prefix}addr": address,
        f"{prefix}levels": level_mask(len(levels)),
        **nest_fields(prefix, levels, DMA_LEVELS),
    }
    short = words % _PIECE_WORDS
    if pieces > 1 and short:
        fields[f"{prefix}group"] = short - 1
        fields[f"{prefix}group_stride"] = 4 * (_PIECE_WORDS - short) + len(levels) - 1
    if not levels:
        fields[f"{prefix}inc0"] = 1
    if prefix == "i_":
        fields["i_mode"] = 2 * number + 1
    return fields, number


def fill(address: int, nest: Nest, words: int, value: int) -> Fields:
    """A mesh instruction that writes ``value`` to every byte."""
    return {**_half("i_", address, nest, words)[0], "fill_en": 1, "fill": value * 0x01010101}


class _Exchange:
    """The exchange of one block for one consumer."""

    def __init__(
        self, emitter: Emitter, block: Block, rows: Sequence[Span], columns: Sequence[Span]
    ) -> None:
        self.emitter, self.block, self.rows, self.columns = emitter, block, rows, columns
        self.words = block.position_bytes // WORD
        self.pieces = divide_up(self.words, _PIECE_WORDS)
        # Counters that each tile's vertical transfers advance; horizontal ones wait for them.
        self.arrived: list[set[int]] = [set() for _ in range(NUM_TILES)]

    def move(self, direction: str, padding: int) -> None:
        """Emit the transfers in one direction."""
        vertical = direction in {"north", "south"}
        by_tile: list[Fields | None] = [None] * NUM_TILES
        fills: list[Fields | None] = [None] * NUM_TILES
        received = [0] * NUM_TILES
        for tile in range(NUM_TILES):
            amounts = self._amounts(tile, direction)
            if amounts is None:
                continue
            fields, extra = self._instruction(tile, direction, amounts, padding)
            by_tile[tile], fills[tile] = fields or None, extra
            received[tile] = bool(amounts.received[0]) + bool(amounts.padding[0])
        self.emitter.put_by_tile(f"mesh.{direction}", by_tile)
        self.emitter.put_by_tile(f"mesh.{direction}", fills)
        counter = ARRIVALS[direction]
        for tile, number in enumerate(received):
            self.emitter.counters.by_tile[tile][counter] += self.pieces * number
            if vertical and number:
                self.arrived[tile].add(counter)

    def writes(self) -> bool:
        """Whether any tile receives or fills anything."""
        found = (
            self._amounts(tile, direction) for tile in range(NUM_TILES) for direction in ARRIVALS
        )
        return any(each and (each.received[0] or each.padding[0]) for each in found)

    def _amounts(self, tile: int, direction: str) -> Moves | None:
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        to_previous = direction in {"north", "west"}
        if direction in {"north", "south"}:
            if not columns.num_own or not self._is_needed(columns):
                return None
            return moves(self.rows, tile // 4, self.block.height, to_previous=to_previous)
        if not rows.num_outputs:
            return None
        return moves(self.columns, tile % 4, self.block.width, to_previous=to_previous)

    def _is_needed(self, own: Span) -> bool:
        """Whether any tile column reads columns of ``own``."""
        return any(
            each.num_outputs
            and max(each.window, each.low) < own.own_end
            and own.own < max(each.window_end, each.high)
            for each in self.columns
        )

    def _place(self, tile: int, vertical: bool, first: int, number: int) -> tuple[int, Nest]:
        block, rows, columns = self.block, self.rows[tile // 4], self.columns[tile % 4]
        row_words = block.row_bytes(tile) // WORD
        if vertical:
            nest = [(self.words, columns.num_own), (row_words, number)]
            return block.at(tile, first, columns.own), [(1, self.words), *nest]
        nest = [(self.words, number), (row_words, rows.num_window)]
        return block.at(tile, rows.window, first), [(1, self.words), *nest]

    def _instruction(
        self, tile: int, direction: str, amounts: Moves, padding: int
    ) -> tuple[Fields, Fields | None]:
        vertical = direction in {"north", "south"}
        fields: Fields = {}
        extra: Fields | None = None
        if amounts.sent[0]:
            number, first = amounts.sent
            address, nest = self._place(tile, vertical, first, number)
            half, levels = _half("o_", address, nest, self.words)
            fields.update(half)
            fields.update(self._waits(tile, direction, number, levels))
        if amounts.received[0]:
            number, first = amounts.received
            address, nest = self._place(tile, vertical, first, number)
            fields.update(_half("i_", address, nest, self.words)[0])
        if amounts.padding[0]:
            number, first = amounts.padding
            address, nest = self._place(tile, vertical, first, number)
            filled = fill(address, nest, self.words, padding)
            if amounts.received[0]:
                extra = filled
            else:
                fields.update(filled)
        return fields, extra

    def _waits(self, tile: int, direction: str, number: int, levels: int) -> Fields:
        """What the sender waits for: rows to pass on, the op that makes them, vertical arrivals."""
        vertical = direction in {"north", "south"}
        counters = self.emitter.counters
        counts = counters.by_tile[tile]
        span = self.rows[tile // 4] if vertical else self.columns[tile % 4]
        records: list[tuple[int, int]] = []
        if number > span.num_own:
            arrival = ARRIVALS[direction]
            records.append((arrival, counts[arrival] + 1))
        if counts[AVDATA] and span.num_own:
            records.append((AVDATA, counts[AVDATA] - (counters.last_groups[tile] - 1)))
        if not vertical:
            records += [
                (arrival, counts[arrival] - (self.pieces - 1))
                for arrival in sorted(self.arrived[tile])
            ]
        fields: Fields = {}
        for k, (counter, count) in enumerate(records):
            fields[f"s{k}_id"] = counter << 1
            fields[f"s{k}_val"] = count << 2 | min(levels, _MAX_RECORD_LEVEL)
            fields[f"s{k}_en_a"] = fields[f"s{k}_en_b"] = 1
        return fields


def exchange_halo(
    emitter: Emitter, block: Block, rows: Sequence[Span], columns: Sequence[Span], padding: int
) -> None:
    """Bring the windows of a consumer together; ``padding`` is the value outside of the image."""
    exchange = _Exchange(emitter, block, rows, columns)
    if id(block) in emitter.read_by_ops and exchange.writes():
        emitter.fence()  # an op of another consumer may still read what is written now
    for direction in ARRIVALS:
        exchange.move(direction, padding)


def fill_outside(emitter: Emitter, block: Block, padding: int) -> None:
    """Fill what of a local block lies outside of the image."""
    words = block.position_bytes // WORD
    for side in range(4):
        by_tile: list[Fields | None] = [None] * NUM_TILES
        for tile in range(NUM_TILES):
            area = _outside(block, tile, side)
            if area is not None:
                top, left, height, width = area
                nest = [(1, words), (words, width), (block.row_bytes(tile) // WORD, height)]
                by_tile[tile] = fill(block.at(tile, top, left), nest, words, padding)
        emitter.put_by_tile("mesh.north", by_tile)
        for tile, fields in enumerate(by_tile):
            if fields:
                emitter.counters.by_tile[tile][SOUTH_IN] += divide_up(words, _PIECE_WORDS)


def _outside(block: Block, tile: int, side: int) -> tuple[int, int, int, int] | None:
    """Top, left, height, width of what a tile stores above, below, left or right of the image."""
    rows, columns = block.rows[tile // 4], block.columns[tile % 4]
    if rows is None or columns is None or rows[1] <= rows[0] or columns[1] <= columns[0]:
        return None
    inner = max(rows[0], 0), min(rows[1], block.height)
    vertical = (
        (rows[0], min(0, rows[1])),
        (max(block.height, rows[0]), rows[1]),
        inner,
        inner,
    )[side]
    horizontal = (
        columns,
        columns,
        (columns[0], min(0, columns[1])),
        (max(block.width, columns[0]), columns[1]),
    )[side]
    height, width = vertical[1] - vertical[0], horizontal[1] - horizontal[0]
    if height <= 0 or width <= 0:
        return None
    return vertical[0], horizontal[0], height, width
