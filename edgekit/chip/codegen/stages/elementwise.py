# SPDX-License-Identifier: Apache-2.0
"""Every value alone through the identity row: a requantization, an activation, a copy.

A copy reads a window of one element, so that it also pads and cuts out. Source of the form with
an activation: tinycoral, docs/isa (MIT).
"""

from __future__ import annotations

from typing import Sequence

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.functions import FUNCTIONS
from edgekit.chip.codegen.geometry import WORD, Block, Counted
from edgekit.chip.codegen.memories import IDENTITY
from edgekit.chip.codegen.nests import Fields, op_nest_fields, round_up
from edgekit.chip.codegen.nodes import Elementwise
from edgekit.chip.codegen.stages.fields import (
    LANES,
    UNSYNCHRONIZED,
    by_tile,
    copy_stage,
    output_stage,
)
from edgekit.chip.codegen.stages.nonlinear import load_spline
from edgekit.chip.codegen.stages.stage import Stage


class ElementwiseStage(Stage):
    """An element-wise node on blocks."""

    def __init__(
        self,
        node: Elementwise,
        sources: Sequence[Block],
        output: Block,
        rows: Sequence[Counted],
        columns: Sequence[Counted],
    ) -> None:
        super().__init__(node.windows, sources, output, rows, columns)
        self.node = node

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        del scratch
        emitter.reset()
        node = self.node
        if node.table:
            emitter.fence(counters=7, units=1)
            table = FUNCTIONS[node.table].table(node.table_scale)
            load_spline(emitter, table, sum(1 << tile for tile in self.tiles))
        emitter.put_by_tile("op", by_tile(self.tiles, self._op))
        emitter.reset()

    def _op(self, tile: int) -> Fields:
        node, source, output = self.node, self.source, self.output
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        height, width = rows.num_outputs, columns.num_outputs
        words = round_up(node.num_channels or source.channels, WORD) // WORD
        step_y = node.window.rows.stride * source.row_bytes(tile)
        step_x = node.window.columns.stride * source.position_bytes
        repeated = [(0, width), (0, height), (0, words)]
        fields = {
            "loop0": width - 1,
            "loop1": height - 1,
            "loop2": words - 1,
            "in_base": source.at(tile, rows.window, columns.window) + node.source_channel,
            "in_flag": 3,
            "in_levels": 3,
            "out_base": output.at(tile, rows.output, columns.output) + node.output_channel,
            "out_flag": 3,
            "out_levels": 3,
            "par_base": IDENTITY,
            "psum_levels": 0x800,
            "cfg0": 5,
            "cfg1": 0x4D,
            "cfg2": 6,
            "group_level": 1,
            "channels": LANES - 1,
            "channels_last": LANES - 1,
            **UNSYNCHRONIZED,
            **op_nest_fields("in_", [(WORD, 1), (step_x, width), (step_y, height), (WORD, words)]),
            **op_nest_fields(
                "out_",
                [
                    (WORD, 1),
                    (output.position_bytes, width),
                    (output.row_bytes(tile), height),
                    (WORD, words),
                ],
            ),
            **op_nest_fields("par_", repeated),
            **op_nest_fields("psum_", repeated),
        }
        if width * height * words == 1:
            fields.update(par_lo0=1, psum_lo0=1, psum_levels=0)
        if node.is_copy:
            fields.update(copy_stage())
        else:
            fields.update(output_stage(node.stage))
        if node.table:
            fields.update(FUNCTIONS[node.table].fields)
        return fields
