# SPDX-License-Identifier: Apache-2.0
"""A product of two tensors, value by value.

The second one goes through a few rows of wide memory, as weights of the first one: each value of
the product is written as a word of four copies. A second op packs four words into one. Source:
tinycoral, docs/isa/eltwise.md (MIT); checked on Google's programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import FIFO, IDENTITY
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    filled,
    level_mask,
    nest_fields,
    op_nest_fields,
)
from edgekit.chip.codegen.nodes import Product
from edgekit.chip.codegen.stages.fields import (
    ALL_CHANNELS,
    HANDED_OVER,
    LANES,
    UNSYNCHRONIZED,
    by_tile,
    copy_stage,
    loops,
    output_stage,
    wait_for_handover,
)
from edgekit.chip.codegen.stages.stage import SCRATCH_BYTES, Placement, Stage

_DEPTHS = (4, 2, 1)  # rows of wide memory that the second tensor goes through
_NARROW_TO_WIDE_UNIT = 0x20  # of a fence
_SCRATCH_LIMIT = 1 << 15  # bytes of words to pack at a time, if a row has fewer


class ProductStage(Stage):
    """A product on blocks."""

    def __init__(self, node: Product, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.node = node
        self.words = self.source.position_bytes // WORD
        self.depth = next(depth for depth in _DEPTHS if self.words % depth == 0)
        most_rows = max(span.num_outputs for span in self.rows)
        row = LANES * self.source.position_bytes * max(span.num_outputs for span in self.columns)
        self.rows_at_once = min(most_rows, max(1, _SCRATCH_LIMIT // row))
        self.scratch_bytes = max(SCRATCH_BYTES, row * self.rows_at_once)

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        emitter.reset()
        most_rows = max(span.num_outputs for span in self.rows)
        for first in range(0, most_rows, self.rows_at_once):
            found = {tile: self._part(tile, first) for tile in self.tiles}
            parts = {tile: part for tile, part in found.items() if part.num_rows > 0}
            self._put(emitter, "op", parts, partial(self._multiply, scratch))
            self._put(emitter, "n2w", parts, self._feed)
            emitter.fence(units=_NARROW_TO_WIDE_UNIT)
            self._put(emitter, "op", parts, partial(self._pack, scratch))
            wait_for_handover(emitter)

    @staticmethod
    def _put(
        emitter: Emitter,
        name: str,
        parts: dict[int, _Part],
        fields_of: Callable[[_Part], Fields],
    ) -> None:
        emitter.put_by_tile(name, by_tile(list(parts), lambda tile: fields_of(parts[tile])))

    def _part(self, tile: int, first: int) -> _Part:
        """What a tile computes of the rows from its row ``first`` on."""
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        row, column = rows.output + first, columns.output
        steps, addresses = [], []
        for block, window in zip(self.sources, self.node.windows):
            addresses.append(
                block.at(tile, row * window.rows.stride, column * window.columns.stride)
            )
            step_x = window.columns.stride * block.position_bytes
            steps.append((step_x, window.rows.stride * block.row_bytes(tile)))
        addresses.append(self.output.at(tile, row, column))
        steps.append((self.output.position_bytes, self.output.row_bytes(tile)))
        number = min(self.rows_at_once, rows.num_outputs - first)
        return _Part(number, columns.num_outputs, tuple(addresses), tuple(steps))

    def _multiply(self, scratch: int, part: _Part) -> Fields:
        """Every value of the first source times a row: a word for each."""
        node, values = self.node, LANES * self.words
        step_x, step_y = part.steps[0]
        row_bytes = WORD * values * part.num_columns
        rounds, positions = self.words // self.depth, [(0, part.num_columns), (0, part.num_rows)]
        return {
            **loops(LANES * self.depth, rounds, part.num_columns, part.num_rows),
            "in_base": part.addresses[0],
            "in_flag": 3,
            "in_levels": 3,
            "out_base": scratch,
            "out_flag": 3,
            "out_levels": 7,
            "par_base": FIFO,
            "par_flag": 1,
            "par_levels": 64,
            "par_rows": self.depth,
            "psum_flag": 1,
            "psum_levels": 0x840,
            "cfg0": 0x60,
            "cfg1": 0x12D,
            "cfg2": 6,
            "cfg3": 7,
            "group_level": 4,
            **ALL_CHANNELS,
            **UNSYNCHRONIZED,
            **output_stage(node.stage),
            "w_zp": node.second_zero_point,
            **op_nest_fields(
                "in_", filled([(1, values), (step_x, part.num_columns), (step_y, part.num_rows)])
            ),
            **op_nest_fields(
                "out_",
                filled(
                    [
                        (WORD, 1),
                        (WORD, values),
                        (WORD * values, part.num_columns),
                        (row_bytes, part.num_rows),
                    ],
                    5,
                ),
            ),
            **op_nest_fields("par_", [(1, LANES * self.depth), (0, rounds), *positions]),
            **op_nest_fields("psum_", [(1, 1), (0, values), *positions]),
        }

    def _feed(self, part: _Part) -> Fields:
        """The second source to wide memory, one word a row, in turns."""
        step_x, step_y = part.steps[1]
        nest = [
            (1, self.words),
            (step_x // WORD, part.num_columns),
            (step_y // WORD, part.num_rows),
        ]
        levels = [level for level in nest if level[1] > 1]
        positions = part.num_columns * part.num_rows
        several = self.depth > 1
        walk = [(1, self.depth), (0, self.words // self.depth)] if several else [(0, self.words)]
        turns = [level for level in (*walk, (0, positions)) if level[1] > 1]
        fields = {
            "n_addr": part.addresses[1],
            "n_levels": level_mask(len(levels)),
            "w_addr": FIFO,
            "w_rows": self.depth,
            **HANDED_OVER,
            **nest_fields("n_", levels or [(1, 1)], NARROW_DMA_LEVELS),
            **nest_fields("w_", turns or [(0, 1)], DMA_LEVELS),
        }
        if several:
            fields.update(w_circular=1, w_levels=1, s0_f1=1, s0_level=1)
        return fields

    def _pack(self, scratch: int, part: _Part) -> Fields:
        """Four words of copies to one."""
        step_x, step_y = part.steps[2]
        values = LANES * self.words
        row_bytes = WORD * values * part.num_columns
        positions = [(0, part.num_columns), (0, part.num_rows)]
        return {
            **loops(LANES, self.words, part.num_columns, part.num_rows),
            "in_base": scratch,
            "in_flag": 3,
            "in_levels": 3,
            "out_base": part.addresses[2],
            "out_flag": 3,
            "out_levels": 3,
            "par_base": IDENTITY,
            "par_flag": 1,
            "par_levels": 64,
            "psum_levels": 0x840,
            "cfg2": 6,
            "cfg3": 7,
            "group_level": 2,
            **ALL_CHANNELS,
            **copy_stage(),
            **op_nest_fields(
                "in_",
                filled(
                    [(WORD, values), (WORD * values, part.num_columns), (row_bytes, part.num_rows)]
                ),
            ),
            **op_nest_fields(
                "out_",
                filled([(WORD, self.words), (step_x, part.num_columns), (step_y, part.num_rows)]),
            ),
            **op_nest_fields("par_", [(1, LANES), (0, self.words), *positions]),
            **op_nest_fields("psum_", [(0, LANES), (0, self.words), *positions]),
        }


@dataclass(frozen=True)
class _Part:
    """Some rows of a tile: addresses and (column, row) steps of both sources and the result."""

    num_rows: int
    num_columns: int
    addresses: tuple[int, ...]
    steps: tuple[tuple[int, int], ...]
