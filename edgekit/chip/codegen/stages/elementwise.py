# SPDX-License-Identifier: Apache-2.0
"""Every value alone through the identity row: a requantization, an activation, a copy.

A copy reads a window of one element, so that it also pads and cuts out. Source of the form with
an activation: tinycoral, docs/isa (MIT).
"""

from __future__ import annotations

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.functions import FUNCTIONS
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import IDENTITY
from edgekit.chip.codegen.nests import Fields, divide_up
from edgekit.chip.codegen.nodes import Elementwise
from edgekit.chip.codegen.stages.fields import (
    Walk,
    by_tile,
    copy_stage,
    output_stage,
    value_by_value,
)
from edgekit.chip.codegen.stages.nonlinear import load_spline
from edgekit.chip.codegen.stages.stage import Placement, Stage


class ElementwiseStage(Stage):
    """An element-wise node on blocks."""

    def __init__(self, node: Elementwise, at: Placement) -> None:
        super().__init__(node.windows, at)
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
        channels = node.num_channels or source.channels
        read = Walk(
            source.at(tile, rows.window, columns.window) + node.source_channel,
            node.window.columns.stride * source.position_bytes,
            node.window.rows.stride * source.row_bytes(tile),
        )
        written = Walk(
            output.at(tile, rows.output, columns.output) + node.output_channel,
            *self.output_steps(tile),
        )
        counts = width, height, divide_up(channels, WORD)
        fields = value_by_value(read, written, counts, IDENTITY)
        if node.is_copy:
            fields.update(copy_stage())
        else:
            fields.update(output_stage(node.stage))
        if node.table:
            fields.update(FUNCTIONS[node.table].fields)
        return fields
