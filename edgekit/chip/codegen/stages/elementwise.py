# SPDX-License-Identifier: Apache-2.0
"""Every value alone through the identity row: a requantization, an activation, a copy.

A copy reads a window of one element, so that it also pads and cuts out. Source of the form with
an activation: tinycoral, docs/isa (MIT).
"""

from __future__ import annotations

from functools import partial
from typing import Sequence

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.functions import FUNCTIONS
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import IDENTITY
from edgekit.chip.codegen.nests import Fields, divide_up
from edgekit.chip.codegen.nodes import Elementwise
from edgekit.chip.codegen.seen import is_seen
from edgekit.chip.codegen.stages.fields import (
    Walk,
    by_tile,
    copy_stage,
    output_stage,
    value_by_value,
)
from edgekit.chip.codegen.stages.nonlinear import load_spline
from edgekit.chip.codegen.stages.stage import Placement, Stage

_MOST_ROWS = 64  # of a tile, for an op for each row


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
        for fields in self._ops():
            emitter.put_by_tile("op", fields)
        emitter.reset()

    def _ops(self) -> list[list[Fields | None]]:
        """One op for each tile; one for each row if only those are seen."""
        whole = by_tile(self.tiles, self._op)
        rows = max(span.num_outputs for span in self.rows)
        if rows > _MOST_ROWS or _are_seen(whole):
            return [whole]
        by_row = [by_tile(self.tiles, partial(self._row, row)) for row in range(rows)]
        return by_row if all(_are_seen(fields) for fields in by_row) else [whole]

    def _row(self, row: int, tile: int) -> Fields | None:
        return self._op(tile, (row, 1)) if row < self.rows[tile // 4].num_outputs else None

    def _op(self, tile: int, part: tuple[int, int] | None = None) -> Fields:
        """The op of a tile; ``part`` is a first row of its outputs, and a number of them."""
        node, source, output = self.node, self.source, self.output
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        first, height = part or (0, rows.num_outputs)
        width = columns.num_outputs
        channels = node.num_channels or source.channels
        read = Walk(
            source.at(tile, rows.window + first * node.window.rows.stride, columns.window)
            + node.source_channel,
            node.window.columns.stride * source.position_bytes,
            node.window.rows.stride * source.row_bytes(tile),
        )
        made_x, made_y = self.output_steps(tile)
        made = output.at(tile, rows.output, columns.output) + node.output_channel
        written = Walk(made + first * made_y, made_x, made_y)
        counts = width, height, divide_up(channels, WORD)
        fields = value_by_value(read, written, counts, IDENTITY)
        if node.is_copy:
            fields.update(copy_stage())
        else:
            fields.update(output_stage(node.stage))
        if node.table:
            fields.update(FUNCTIONS[node.table].fields)
        return fields


def _are_seen(ops: Sequence[Fields | None]) -> bool:
    return all(fields is None or is_seen("op", fields) for fields in ops)
