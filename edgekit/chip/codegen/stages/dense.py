# SPDX-License-Identifier: Apache-2.0
"""Stages that work on a dense copy of some positions at a time, in scratch memory.

Channels beyond the last are padding there: nothing that is summed over channels sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable, Sequence

import numpy as np

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import FIFO, IDENTITY, MASKS
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    Nest,
    divide_up,
    level_mask,
    nest_fields,
)
from edgekit.chip.codegen.nodes import Window
from edgekit.chip.codegen.stages.constants import fill_words, write_rows
from edgekit.chip.codegen.stages.fields import (
    ALL_CHANNELS,
    HANDED_OVER,
    LANES,
    UNSYNCHRONIZED,
    Walk,
    by_tile,
    copy_stage,
    value_by_value,
)
from edgekit.chip.codegen.stages.stage import SCRATCH_BYTES, Placement, Stage
from edgekit.chip.isa.memories import ROW_UNITS

MOST_POSITIONS = 128  # at a time
_SCRATCH_LIMIT = 1 << 15
_BYTE_ONES = tuple(1 << 8 * lane for lane in range(LANES))
_LAST, HALF, _ZERO = MASKS, MASKS + ROW_UNITS, MASKS + 2 * ROW_UNITS
# An op whose weight rows come one by one from a narrow-to-wide copy.
STREAMED: Fields = {
    "par_base": FIFO,
    "par_flag": 1,
    "par_levels": 64,
    "cfg0": 0x60,
    "cfg1": 0x12D,
    **UNSYNCHRONIZED,
    **ALL_CHANNELS,
}


@dataclass(frozen=True)
class Part:
    """Some positions of a tile: where they lie in the source and in the output."""

    num_rows: int
    num_columns: int
    source: Walk
    output: Walk

    @property
    def positions(self) -> int:
        """The number of positions."""
        return self.num_rows * self.num_columns

    def dense(self, step: int) -> Nest:
        """A walk over the positions, ``step`` apart."""
        return [(step, self.num_columns), (step * self.num_columns, self.num_rows)]


class DenseStage(Stage):
    """A stage that runs several times, each time on some positions of all tiles."""

    def __init__(self, windows: Sequence[Window], at: Placement) -> None:
        super().__init__(windows, at)
        self.channels = self.source.channels
        self.used_words = self.source.position_bytes // WORD
        self.valid_words = divide_up(self.channels, LANES)
        self.words = self.used_words  # of a position in the copy
        self.padding = 0  # the value of channels beyond the last
        self.positions = self.rows_at_once = self.columns_at_once = 1
        self._parts: dict[int, Part] = {}
        self._tiles = 0

    @property
    def most_rows(self) -> int:
        """Rows of the tile with most of them."""
        return max(span.num_outputs for span in self.rows)

    @property
    def most_columns(self) -> int:
        """Columns of the tile with most of them."""
        return max(span.num_outputs for span in self.columns)

    @property
    def most_positions(self) -> int:
        """Positions of the tile with most of them."""
        return self.most_rows * self.most_columns

    def divide(self, position_words: int, extra_words: int = 0) -> None:
        """Choose how many positions run at a time, each with ``position_words`` of scratch."""
        most_rows, most_columns = self.most_rows, self.most_columns
        position = WORD * position_words
        most = min(MOST_POSITIONS, max(1, (_SCRATCH_LIMIT - SCRATCH_BYTES) // position))
        self.columns_at_once = min(most_columns, most)
        self.rows_at_once = min(most_rows, max(1, most // self.columns_at_once))
        self.positions = self.rows_at_once * self.columns_at_once
        self.scratch_bytes = SCRATCH_BYTES + position * self.positions + WORD * extra_words

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        self.place(scratch)
        emitter.reset()
        valid = self.channels % LANES
        rows = [*_row(valid), *_row(2), *_row(0)]
        mask = sum(1 << tile for tile in self.tiles)
        write_rows(emitter, scratch, MASKS, rows, mask)
        emitter.reset()
        for row in range(0, self.most_rows, self.rows_at_once):
            for column in range(0, self.most_columns, self.columns_at_once):
                found = {tile: self._part(tile, row, column) for tile in self.tiles}
                self._parts = {
                    tile: part
                    for tile, part in found.items()
                    if part.num_rows > 0 and part.num_columns > 0
                }
                self._tiles = sum(1 << tile for tile in self._parts)
                self.compute(emitter)
        emitter.reset()

    def _part(self, tile: int, row: int, column: int) -> Part:
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        place = rows.output + row, columns.output + column
        source, output = (
            Walk(block.at(tile, *place), block.position_bytes, block.row_bytes(tile))
            for block in (self.source, self.output)
        )
        return Part(
            min(self.rows_at_once, rows.num_outputs - row),
            min(self.columns_at_once, columns.num_outputs - column),
            source,
            output,
        )

    def place(self, scratch: int) -> None:
        """Set the addresses in scratch memory."""
        raise NotImplementedError

    def compute(self, emitter: Emitter) -> None:
        """Compute the positions of `_parts`."""
        raise NotImplementedError

    def put(self, emitter: Emitter, name: str, fields_of: Callable[[Part], Fields]) -> None:
        """Append an instruction for the positions of every tile."""
        emitter.put_by_tile(
            name, by_tile(list(self._parts), lambda tile: fields_of(self._parts[tile]))
        )

    def copy_in(self, emitter: Emitter, values: int) -> None:
        """A dense copy of the values, with padding in the channels beyond the last."""
        self.put(emitter, "op", partial(self._copied_values, values))
        last = WORD * (self.valid_words - 1)
        if self.channels % LANES:
            self.put(emitter, "op", lambda part: self.masked(part, values + last, _LAST))
        self.clear(emitter, values + last + WORD, self.words - self.valid_words, 1)
        emitter.reset()

    def _copied_values(self, values: int, part: Part) -> Fields:
        return self._copied(part, part.source, self._dense(part, values))

    def copy_out(self, values: int, part: Part) -> Fields:
        """A copy of the results to the output."""
        return self._copied(part, self._dense(part, values), part.output)

    def _copied(self, part: Part, source: Walk, output: Walk) -> Fields:
        counts = part.num_columns, part.num_rows, self.used_words
        return {**value_by_value(source, output, counts, IDENTITY), **copy_stage()}

    def _dense(self, part: Part, address: int, scale: int = 1) -> Walk:
        step = scale * WORD * self.words
        return Walk(address, step, step * part.num_columns)

    def masked(self, part: Part, address: int, row: int, scale: int = 1) -> Fields:
        """A word of each position through a row of wide memory; ``scale`` words for four values.

        Of a single position, also the word behind it, which is 0 or becomes 0.
        """
        walk = self._dense(part, address, scale)
        counts = part.num_columns, part.num_rows, 2 if self.most_positions == 1 else 1
        fields = {**value_by_value(walk, walk, counts, row), **copy_stage()}
        if self.padding:
            fields.update(in_zp=self.padding, out_zp=self.padding)
        return fields

    def clear(self, emitter: Emitter, address: int, number: int, scale: int) -> None:
        """Padding in ``number`` words of each position."""
        if self.positions == 1 and number:
            emitter.fence()
            fill_words(emitter, address, [self.padding * 0x01010101] * number, self._tiles)
            return
        for word in range(number):
            self.put(emitter, "op", partial(self._cleared, address + WORD * word, scale))

    def _cleared(self, address: int, scale: int, part: Part) -> Fields:
        return self.masked(part, address, _ZERO, scale)


def _row(valid: int) -> tuple[int, ...]:
    """A row that copies the first ``valid`` bytes of a word and makes the others 0."""
    return tuple(one if lane < valid else 0 for lane, one in enumerate(_BYTE_ONES))


def feed(address: int, nest: Nest, turns: int = 0) -> Fields:
    """Words to one row of wide memory, one after the other."""
    levels = [level for level in nest if level[1] > 1]
    words = int(np.prod([count for _, count in nest]))
    if words == 1:
        return {
            "n_addr": address,
            "w_addr": FIFO,
            "w_circular": 1,
            "w_rows": 1,
            **HANDED_OVER,
            "s0_f1": 1,
            "s0_level": 1,
            "tail": 2,
            **nest_fields("n_", [(1, 1)], NARROW_DMA_LEVELS),
            **nest_fields("w_", [(1, 1)], DMA_LEVELS),
        }
    walk = [(0, turns), (0, words // turns)] if turns and words > turns else [(0, words)]
    return {
        "n_addr": address,
        "n_levels": level_mask(len(levels)),
        "w_addr": FIFO,
        "w_rows": 1,
        **HANDED_OVER,
        **nest_fields("n_", levels, NARROW_DMA_LEVELS),
        **nest_fields("w_", walk, DMA_LEVELS),
    }
