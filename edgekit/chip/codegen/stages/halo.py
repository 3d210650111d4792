# SPDX-License-Identifier: Apache-2.0
"""The halo exchange: tiles send their edges to neighbours over the mesh, and fill the padding.

Rows move first (north and south, own columns only), then whole rows of windows move west and east,
so that corners arrive with the columns. Where a window reaches beyond the neighbour, the neighbour
passes on what it has received.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from edgekit.chip.codegen.emitter import (
    AVDATA,
    EAST_IN,
    NORTH_IN,
    SOUTH_IN,
    WEST_IN,
    Counters,
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
from edgekit.chip.codegen.seen import first_seen, is_seen
from edgekit.chip.isa.memories import NUM_TILES

# Direction -> the counter that a transfer in it advances at the receiver.
ARRIVALS = {"north": SOUTH_IN, "south": NORTH_IN, "west": EAST_IN, "east": WEST_IN}
_PIECE_WORDS = 16  # a mesh transfer moves at most this many words of a position at once
_LEAST_PIECE_WORDS = 4
_MAX_RECORD_LEVEL = 3
_Transfer = Tuple[str, List[Optional[Fields]]]  # the instruction, and its fields on each tile


@dataclass(frozen=True)
class _Way:
    """One of the ways to write a transfer of positions, which all do the same.

    ``nest`` of a half is words, columns and rows; a position of more words than a piece is moved
    piece by piece, by an outermost level.
    """

    piece: int = _PIECE_WORDS  # words
    # With levels of one iteration and a signal for what is sent, as older compilers of Google's.
    whole: bool = False

    def pieces(self, words: int) -> int:
        """The number of pieces of a position."""
        return divide_up(words, self.piece)

    def half(self, prefix: str, address: int, nest: Nest, words: int) -> tuple[Fields, int]:
        """One half of a transfer (``o_`` out, ``i_`` in), and its number of levels in a piece."""
        pieces = self.pieces(words)
        levels = [(1, min(words, self.piece)), *nest[1:]]
        if not self.whole:
            levels = [each for each in levels if each[1] > 1]
        number = len(levels)
        if pieces > 1 or self.whole:
            levels.append((self.piece, pieces))
        fields = {
            f"{prefix}addr": address,
            f"{prefix}levels": level_mask(len(levels)),
            **nest_fields(prefix, levels, DMA_LEVELS),
        }
        short = words % self.piece
        if pieces > 1 and short:
            fields[f"{prefix}group"] = short - 1
            fields[f"{prefix}group_stride"] = 4 * (self.piece - short) + len(levels) - 1
        if not levels:
            fields[f"{prefix}inc0"] = 1
        if prefix == "i_" or self.whole:
            fields[f"{prefix}mode"] = 2 * number + 1
        return fields, number

    def fill(self, address: int, nest: Nest, words: int, value: int) -> Fields:
        """A transfer from nowhere that writes ``value`` to every byte."""
        made = self.half("i_", address, nest, words)[0]
        return {**made, "fill_en": 1, "fill": value * 0x01010101}


_BOTH = _Way(), _Way(whole=True)


class _Exchange:
    """The exchange of one block for one consumer."""

    def __init__(
        self,
        emitter: Emitter,
        block: Block,
        rows: Sequence[Span],
        columns: Sequence[Span],
        padding: int,
    ) -> None:
        self.emitter, self.block, self.rows, self.columns = emitter, block, rows, columns
        self.words = block.position_bytes // WORD
        self.padding = padding

    def emit(self) -> None:
        """Emit the transfers: with the longest pieces for which all of them are seen."""
        emitter = self.emitter
        plan = self._seen_plan() or _Plan(self, _PIECE_WORDS, emitter.counters)
        if plan.resets:
            emitter.reset()  # all outputs are there: no transfer waits for the op
        for name, by_tile in plan.transfers:
            emitter.put_by_tile(name, by_tile)
        for tile, counts in enumerate(plan.counts):
            emitter.counters.by_tile[tile] = counts

    def _seen_plan(self) -> _Plan | None:
        """The first plan whose transfers are all seen: better short pieces than a reset."""
        counters = self.emitter.counters
        states = [counters]
        if any(counts[AVDATA] for counts in counters.by_tile):
            states.append(Counters())
        plans = (
            _Plan(self, size, state, resets=state is not counters)
            for state in states
            for size in range(_PIECE_WORDS, _LEAST_PIECE_WORDS - 1, -1)
            if (size == _PIECE_WORDS or size < self.words) and self._can_wait(size, state)
        )
        return next((plan for plan in plans if plan.is_seen()), None)

    def _can_wait(self, piece: int, counters: Counters) -> bool:
        """Whether a sender can wait for an output of the op for each piece: it signals as many."""
        pieces = _Way(piece).pieces(self.words)
        return all(
            not counters.by_tile[tile][AVDATA] or pieces <= counters.last_groups[tile]
            for tile in range(NUM_TILES)
        )

    def pieces_wait_in_vain(self) -> bool:
        """Whether pieces of the usual length would wait for signals that no op sends."""
        return not self._can_wait(_PIECE_WORDS, self.emitter.counters)

    def writes(self) -> bool:
        """Whether any tile receives or fills anything."""
        found = (
            self.amounts(tile, direction) for tile in range(NUM_TILES) for direction in ARRIVALS
        )
        return any(each and (each.received[0] or each.padding[0]) for each in found)

    def amounts(self, tile: int, direction: str) -> Moves | None:
        """What a tile moves in a direction; None if nothing."""
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

    def place(self, tile: int, vertical: bool, first: int, number: int) -> tuple[int, Nest]:
        """The first byte of rows or columns on a tile, and the nest of their words."""
        block, rows, columns = self.block, self.rows[tile // 4], self.columns[tile % 4]
        row_words = block.row_bytes(tile) // WORD
        if vertical:
            nest = [(self.words, columns.num_own), (row_words, number)]
            return block.at(tile, first, columns.own), [(1, self.words), *nest]
        nest = [(self.words, number), (row_words, rows.num_window)]
        return block.at(tile, rows.window, first), [(1, self.words), *nest]


class _Plan:
    """The transfers of an exchange in order, and the counters of each tile behind them."""

    def __init__(
        self, exchange: _Exchange, piece: int, counters: Counters, *, resets: bool = False
    ) -> None:
        """Plan pieces of ``piece`` words; ``counters`` are those in front of them.

        ``resets`` says whether a reset has to set the counters to these.
        """
        self.exchange, self.resets = exchange, resets
        self.ways = _Way(piece), _Way(piece, whole=True)
        self.pieces = self.ways[0].pieces(exchange.words)
        self.last_groups = counters.last_groups
        self.counts = [list(each) for each in counters.by_tile]
        # Counters that each tile's vertical transfers advance; horizontal ones wait for them.
        self.arrived: list[set[int]] = [set() for _ in range(NUM_TILES)]
        self.transfers = [each for direction in ARRIVALS for each in self._move(direction)]

    def is_seen(self) -> bool:
        """Whether Google's programs have all of them, but for their numbers."""
        return all(
            fields is None or is_seen(name, fields)
            for name, by_tile in self.transfers
            for fields in by_tile
        )

    def _move(self, direction: str) -> tuple[_Transfer, _Transfer]:
        """The transfers in one direction, and the fills that do not fit into them."""
        vertical = direction in {"north", "south"}
        by_tile: list[Fields | None] = [None] * NUM_TILES
        fills: list[Fields | None] = [None] * NUM_TILES
        received = [0] * NUM_TILES
        for tile in range(NUM_TILES):
            amounts = self.exchange.amounts(tile, direction)
            if amounts is None:
                continue
            by_tile[tile], fills[tile] = self._instructions(tile, direction, amounts)
            received[tile] = bool(amounts.received[0]) + bool(amounts.padding[0])
        counter = ARRIVALS[direction]
        for tile, number in enumerate(received):
            self.counts[tile][counter] += self.pieces * number
            if vertical and number:
                self.arrived[tile].add(counter)
        name = f"mesh.{direction}"
        return (name, by_tile), (name, fills)

    def _instructions(
        self, tile: int, direction: str, amounts: Moves
    ) -> tuple[Fields | None, Fields | None]:
        """A tile's transfer, and a fill if both receive."""
        made = [self._in_way(way, tile, direction, amounts) for way in self.ways]
        name = f"mesh.{direction}"
        transfers = [fields for fields, _ in made if fields]
        fills = [fill for _, fill in made if fill]
        return (
            first_seen(name, transfers) if transfers else None,
            first_seen(name, fills) if fills else None,
        )

    def _in_way(
        self, way: _Way, tile: int, direction: str, amounts: Moves
    ) -> tuple[Fields, Fields | None]:
        vertical = direction in {"north", "south"}
        fields: Fields = {}
        fill: Fields | None = None
        if amounts.sent[0]:
            number, first = amounts.sent
            address, nest = self.exchange.place(tile, vertical, first, number)
            half, levels = way.half("o_", address, nest, self.exchange.words)
            fields.update(half)
            fields.update(self._waits(tile, direction, number, levels))
        if amounts.received[0]:
            number, first = amounts.received
            address, nest = self.exchange.place(tile, vertical, first, number)
            fields.update(way.half("i_", address, nest, self.exchange.words)[0])
        if amounts.padding[0]:
            number, first = amounts.padding
            address, nest = self.exchange.place(tile, vertical, first, number)
            filled = way.fill(address, nest, self.exchange.words, self.exchange.padding)
            if amounts.received[0]:
                fill = filled
            else:
                fields.update(filled)
        return fields, fill

    def _waits(self, tile: int, direction: str, number: int, levels: int) -> Fields:
        """What the sender waits for: rows to pass on, the op that makes them, vertical arrivals.

        Each piece waits for one more than the piece before it.
        """
        exchange, vertical = self.exchange, direction in {"north", "south"}
        counts, last_groups = self.counts[tile], self.last_groups[tile]
        span = exchange.rows[tile // 4] if vertical else exchange.columns[tile % 4]
        records: list[tuple[int, int]] = []
        if number > span.num_own:
            arrival = ARRIVALS[direction]
            records.append((arrival, counts[arrival] + 1))
        if counts[AVDATA] and span.num_own:
            records.append((AVDATA, counts[AVDATA] - (last_groups - 1)))
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
    exchange = _Exchange(emitter, block, rows, columns, padding)
    if exchange.writes():
        if exchange.pieces_wait_in_vain():
            emitter.reset()
        elif id(block) in emitter.read_by_ops:
            emitter.fence()  # an op of another consumer may still read what is written now
    exchange.emit()


def fill_outside(emitter: Emitter, block: Block, padding: int) -> None:
    """Fill the part of a local block that lies outside of the image."""
    words = block.position_bytes // WORD
    for side in range(4):
        by_tile: list[Fields | None] = [None] * NUM_TILES
        for tile in range(NUM_TILES):
            area = _outside(block, tile, side)
            if area is not None:
                top, left, height, width = area
                nest = [(1, words), (words, width), (block.row_bytes(tile) // WORD, height)]
                at = block.at(tile, top, left)
                made = [way.fill(at, nest, words, padding) for way in _BOTH]
                by_tile[tile] = first_seen("mesh.north", made)
        emitter.put_by_tile("mesh.north", by_tile)
        for tile, fields in enumerate(by_tile):
            if fields:
                emitter.counters.by_tile[tile][SOUTH_IN] += divide_up(words, _PIECE_WORDS)
    emitter.fence()  # no fill of Google's is followed by a fence that signals


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
