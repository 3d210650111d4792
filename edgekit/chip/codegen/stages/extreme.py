# SPDX-License-Identifier: Apache-2.0
"""The larger one of two values: a maximum pool whose window is the two tensors.

Both are copied to wide memory, as the windows of a pool are. No program of Google's was seen with
this operator; the fields are those of a pool of two columns.
"""

from __future__ import annotations

from functools import partial

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import SHARED_UNITS, TOP
from edgekit.chip.codegen.nests import Fields, divide_up, op_nest_fields, round_up
from edgekit.chip.codegen.nodes import Extreme
from edgekit.chip.codegen.stages.fields import by_tile, float_bits, loops
from edgekit.chip.codegen.stages.pool import GROUP_CHANNELS, Area, to_wide
from edgekit.chip.codegen.stages.stage import Placement, Stage
from edgekit.chip.isa.memories import ROW_UNITS

_MAX_WIDE_UNITS = 1600  # of the rows that are compared at a time, if a row needs less


class ExtremeStage(Stage):
    """A maximum of two tensors on blocks."""

    def __init__(self, node: Extreme, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.row_length = divide_up(max(span.num_outputs for span in self.columns), 4)
        self.groups = divide_up(self.source.position_bytes, GROUP_CHANNELS)
        row_units = ROW_UNITS * self.row_length * self.groups
        self.num_rows = max(span.num_outputs for span in self.rows)
        self.rows_at_once = min(self.num_rows, max(1, _MAX_WIDE_UNITS // (2 * row_units)))
        self.source_units = row_units * self.rows_at_once
        self.bottom = TOP - SHARED_UNITS - 2 * self.source_units

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        del scratch
        emitter.reset()
        for first in range(0, self.num_rows, self.rows_at_once):
            tiles = [tile for tile in self.tiles if self._area(tile, first).num_rows > 0]
            for group in range(self.groups):
                for number in range(2):
                    fields_of = partial(self._to_wide, first, group, number)
                    emitter.put_by_tile("n2w", by_tile(tiles, fields_of))
            emitter.fence()
            emitter.put_by_tile("op.max", by_tile(tiles, partial(self._op, first)))
            emitter.reset()

    def _area(self, tile: int, first: int) -> Area:
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        number = min(self.rows_at_once, rows.num_outputs - first)
        return Area(rows.output + first, columns.output, number, columns.num_outputs)

    def _to_wide(self, first: int, group: int, number: int, tile: int) -> Fields:
        target = self.bottom + number * self.source_units
        target += ROW_UNITS * self.row_length * self.rows_at_once * group
        area = self._area(tile, first)
        return to_wide(self.sources[number], tile, area, group, (target, self.row_length))

    def _op(self, first: int, tile: int) -> Fields:
        output, area = self.output, self._area(tile, first)
        stored = round_up(output.channels, WORD)
        group_channels = min(GROUP_CHANNELS, stored)
        last = stored - GROUP_CHANNELS * (self.groups - 1)
        counts = [2, 1, area.num_columns, area.num_rows, self.groups]
        step_y = ROW_UNITS * self.row_length
        steps = [self.source_units, 0, 1, step_y, step_y * self.rows_at_once]
        fields = {
            **loops(*counts),
            "par_base": self.bottom,
            "par_flag": 3,
            "par_levels": 15,
            "out_base": output.at(tile, area.row, area.column),
            "out_flag": 3,
            "out_levels": 7,
            "psum_levels": 0x880,
            "cfg0": 0x127,
            "cfg2": 6,
            "cfg3": 7,
            "group_level": 4,
            "reduce": 3,
            "channels": group_channels - 1,
            "channels_last": last - 1,
            "mult": float_bits(1.0),
            "clamp_max": float_bits(255.0),
            **op_nest_fields("par_", list(zip(steps, counts))),
            **op_nest_fields(
                "out_",
                [
                    (WORD, group_channels // WORD),
                    (output.position_bytes, area.num_columns),
                    (output.row_bytes(tile), area.num_rows),
                    (group_channels, self.groups),
                ],
            ),
            **op_nest_fields("psum_", [(0, count) for count in counts]),
        }
        if last != group_channels:
            missing = (group_channels - last) // WORD
            fields.update(out_last_cnt=last // WORD - 1, out_last_mode=3, out_last_skip=4 * missing)
        return fields
