# SPDX-License-Identifier: Apache-2.0
"""A transposition: every tile gathers the rows and columns that it needs and copies its values.

Where channels stay together a step moves a word, else a byte.
"""

from __future__ import annotations

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import IDENTITY
from edgekit.chip.codegen.nests import Fields, divide_up, op_nest_fields
from edgekit.chip.codegen.nodes import Permute
from edgekit.chip.codegen.stages.fields import (
    LANES,
    Walk,
    by_tile,
    copy_stage,
    loops,
    value_by_value,
)
from edgekit.chip.codegen.stages.stage import Placement, Stage

_ROW, _COLUMN, _CHANNEL = range(3)


class PermuteStage(Stage):
    """Rows, columns and channels of the source in another order."""

    def __init__(self, node: Permute, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.node = node
        # The last word of a position may read beyond the last value.
        spare = WORD * self.source.width * self.source.position_bytes
        self.source.spare_bytes = max(self.source.spare_bytes, spare)

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        del scratch
        emitter.reset()
        emitter.put_by_tile("op", by_tile(self.tiles, self._op))
        emitter.reset()

    def _op(self, tile: int) -> Fields:
        source, output, order = self.source, self.output, self.node.order
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        steps = source.row_bytes(tile), source.position_bytes, 1
        step_y, step_x, step = (steps[dimension] for dimension in order)
        address = source.at(tile, rows.window, columns.window)
        if order[_ROW] != _ROW:
            address += rows.output * step_y
        if order[_COLUMN] != _COLUMN:
            address += columns.output * step_x
        read = Walk(address, step_x, step_y)
        written = Walk(
            output.at(tile, rows.output, columns.output),
            output.position_bytes,
            output.row_bytes(tile),
        )
        counts = columns.num_outputs, rows.num_outputs, divide_up(output.channels, WORD)
        fields = {**value_by_value(read, written, counts, IDENTITY), **copy_stage()}
        if order[_CHANNEL] != _CHANNEL:
            fields.update(_byte_by_byte(read, written, counts, step))
        return fields


def _byte_by_byte(read: Walk, written: Walk, counts: tuple[int, int, int], step: int) -> Fields:
    """Four bytes, ``step`` apart, become a word."""
    width, height, words = counts
    repeated = [(0, words), (0, width), (0, height)]
    return {
        **loops(LANES, words, width, height),
        "in_levels": 15,
        "out_levels": 7,
        "par_flag": 1,
        "psum_levels": 0x840,
        "cfg0": 9,
        "cfg3": 7,
        "group_level": 4,
        "reduce": 1,
        **op_nest_fields(
            "in_",
            [(step, LANES), (LANES * step, words), (read.step_x, width), (read.step_y, height)],
        ),
        **op_nest_fields(
            "out_",
            [(WORD, 1), (WORD, words), (written.step_x, width), (written.step_y, height)],
        ),
        **op_nest_fields("par_", [(1, LANES), *repeated]),
        **op_nest_fields("psum_", [(0, LANES), *repeated]),
    }
