# SPDX-License-Identifier: Apache-2.0
"""Pools: the maximum of windows from wide memory, averages from there or through the identity row.

The windows are copied to wide memory, transposed: four positions a row. An average multiplies them
by a constant 1; where they do not fit there, the identity row adds them up in narrow memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Callable

import numpy as np

from edgekit.chip.codegen.emitter import AVDATA, Emitter
from edgekit.chip.codegen.geometry import WORD, Axis, Block, Span
from edgekit.chip.codegen.memories import IDENTITY, SHARED_UNITS, TOP
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    divide_up,
    filled,
    level_mask,
    merged,
    nest_fields,
    op_nest_fields,
    round_up,
)
from edgekit.chip.codegen.nodes import Pool
from edgekit.chip.codegen.stages.fields import (
    LANES,
    UNSYNCHRONIZED,
    by_tile,
    float_bits,
    loops,
    output_stage,
)
from edgekit.chip.codegen.stages.stage import Placement, Stage
from edgekit.chip.isa.memories import ROW_UNITS

GROUP_CHANNELS = 64
_MOST_ITERATIONS = 1 << 14
_MAX_WIDE_UNITS = 1600  # windows of an average beyond this go through the identity row


@dataclass(frozen=True)
class Area:
    """Rows and columns of an image."""

    row: int
    column: int
    num_rows: int
    num_columns: int


def to_wide(block: Block, tile: int, area: Area, group: int, target: tuple[int, int]) -> Fields:
    """Copy an area of a block to wide memory, transposed: 64 channels, four positions a row.

    Args:
        block: Where the tensor lies.
        tile: Whose part.
        area: Rows and columns that the tile has.
        group: Which 64 channels.
        target: The first unit, and the number of rows for each row of the image.
    """
    channels = min(GROUP_CHANNELS, block.position_bytes - GROUP_CHANNELS * group)
    length = divide_up(area.num_columns, 4)
    nest = [
        (block.position_bytes // WORD, 4),
        (1, channels // WORD),
        (block.position_bytes, length),
        (block.row_bytes(tile) // WORD, area.num_rows),
    ]
    rows = merged([(1, length), (target[1], area.num_rows)])
    return {
        "n_addr": block.at(tile, area.row, area.column) + GROUP_CHANNELS * group,
        "n_levels": 15,
        "w_addr": target[0],
        "w_levels": level_mask(len(rows)),
        "transpose": 1,
        "tail": 4,
        "s0_en0": 1,
        "s0_f1": 1,
        **nest_fields("n_", nest, NARROW_DMA_LEVELS),
        **nest_fields("w_", rows, DMA_LEVELS),
    }


def _at(
    number: int,
    parts: dict[int, list[Area]],
    fields_of: Callable[[int, Area], Fields],
    tile: int,
) -> Fields:
    return fields_of(tile, parts[tile][number])


def _pixels(output: int, axis: Axis, size: int) -> int:
    """The rows or columns of a window that lie inside of the image."""
    first = output * axis.stride - axis.pad
    return min(first + axis.size, size) - max(first, 0)


def _runs(span: Span, axis: Axis, size: int) -> list[tuple[int, int]]:
    """(first, number) of outputs in a row whose windows have the same number of pixels."""
    runs: list[tuple[int, int]] = []
    for output in range(span.output, span.output + span.num_outputs):
        if runs and _pixels(output, axis, size) == _pixels(runs[-1][0], axis, size):
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((output, 1))
    return runs


class PoolStage(Stage):
    """A pool on blocks."""

    def __init__(self, node: Pool, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.node = node
        self.row_lengths = [divide_up(span.num_window, 4) for span in self.columns]  # of tiles
        self.num_rows = max(span.num_window for span in self.rows)
        self.groups = divide_up(self.source.channels, GROUP_CHANNELS)
        size = ROW_UNITS * max(self.row_lengths) * self.num_rows * self.groups
        self.through_identity = not node.maximum and size > _MAX_WIDE_UNITS
        self.base = TOP - SHARED_UNITS - size
        self.bottom = TOP if self.through_identity else self.base

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute; ``scratch`` is the address of a free word of narrow memory."""
        emitter.reset()
        if self.through_identity:
            self._put(emitter, "op", self._sum)
            emitter.reset()
            return
        self._from_wide(emitter, scratch)
        if any(len(self._parts(tile)) > 1 for tile in self.tiles):
            emitter.reset()
            return
        for tile in self.tiles:  # a mesh transfer behind it waits for each group of channels
            emitter.counters.by_tile[tile][AVDATA] += self.groups
            emitter.counters.last_groups[tile] = self.groups
        emitter.resets_late = True

    def _put(self, emitter: Emitter, name: str, fields_of: Callable[[int, Area], Fields]) -> None:
        """An op for each part of a tile's outputs whose windows have the same number of pixels."""
        parts = {tile: self._parts(tile) for tile in self.tiles}
        for number in range(max(len(each) for each in parts.values())):
            tiles = [tile for tile in self.tiles if number < len(parts[tile])]
            emitter.put_by_tile(name, by_tile(tiles, partial(_at, number, parts, fields_of)))

    def _parts(self, tile: int) -> list[Area]:
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        if not self.node.divides:
            return [Area(rows.output, columns.output, rows.num_outputs, columns.num_outputs)]
        window = self.node.window
        return [
            Area(row, column, num_rows, num_columns)
            for row, num_rows in _runs(rows, window.rows, self.source.height)
            for column, num_columns in _runs(columns, window.columns, self.source.width)
        ]

    def _multiplier(self, area: Area) -> float:
        """The multiplier of an average: that of a sum, divided by the pixels of a window."""
        stage, window = self.node.stage, self.node.window
        if not self.node.divides:
            return stage.multiplier
        rows = _pixels(area.row, window.rows, self.source.height)
        columns = _pixels(area.column, window.columns, self.source.width)
        return float(np.float32(np.float32(stage.multiplier) / np.float32(rows * columns)))

    def _sum(self, tile: int, area: Area) -> Fields:
        node, source, output, window = self.node, self.source, self.output, self.node.window
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        height, width, words = area.num_rows, area.num_columns, source.position_bytes // WORD
        row = rows.window + (area.row - rows.output) * window.rows.stride
        column = columns.window + (area.column - columns.output) * window.columns.stride
        positions = height * width
        # A loop counts to 16,384: a window of more positions takes two.
        taps = [window.taps]
        if window.taps > _MOST_ITERATIONS:
            taps = [window.columns.size, window.rows.size]
        step_x, step_y = source.position_bytes, source.row_bytes(tile)
        repeated = [(0, count) for count in (*taps, positions, words)]
        level = len(taps) + 1  # of the words
        return {
            **loops(*taps, positions, words),
            "in_base": source.at(tile, row, column),
            "in_flag": 3,
            "in_levels": 7,
            "out_base": output.at(tile, area.row, area.column) + node.output_channel,
            "out_flag": 3,
            "out_levels": 3,
            "par_base": IDENTITY,
            "psum_levels": 0x820 << len(taps),
            "cfg0": 7,
            "cfg1": level << 5 | 0x0D,
            "cfg2": 6 if window.taps == 1 else 7,
            "reduce": level_mask(len(taps)),
            "group_level": level,
            "channels": LANES - 1,
            "channels_last": LANES - 1,
            **UNSYNCHRONIZED,
            **output_stage(replace(node.stage, multiplier=self._multiplier(area))),
            **op_nest_fields(
                "in_",
                [
                    (step_x, window.columns.size),
                    (step_y, window.rows.size),
                    (window.columns.stride * step_x, width),
                    (window.rows.stride * step_y, height),
                    (WORD, words),
                ],
            ),
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

    def _from_wide(self, emitter: Emitter, scratch: int) -> None:
        if not self.node.maximum:
            mask = sum(1 << tile for tile in self.tiles)
            emitter.put("mesh.north", tiles=mask, i_addr=scratch, i_inc0=1, fill_en=1, fill=1)
            emitter.fence()
        for group in range(self.groups):
            emitter.put_by_tile("n2w", by_tile(self.tiles, partial(self._to_wide, group)))
            emitter.fence()  # Google's programs have no two transposing copies in a queue
        name = "op.max" if self.node.maximum else "op"
        self._put(emitter, name, partial(self._op, scratch))

    def _to_wide(self, group: int, tile: int) -> Fields:
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        area = Area(rows.window, columns.window, rows.num_window, columns.num_window)
        length = self.row_lengths[tile % 4]
        target = self.base + ROW_UNITS * length * self.num_rows * group
        return to_wide(self.source, tile, area, group, (target, length))

    def _op(self, scratch: int, tile: int, area: Area) -> Fields:
        node, source, output, window = self.node, self.source, self.output, self.node.window
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        stored = round_up(source.channels, WORD)
        group_channels = min(GROUP_CHANNELS, stored)
        last = stored - GROUP_CHANNELS * (self.groups - 1)
        counts = [
            window.columns.size,
            window.rows.size,
            area.num_columns,
            area.num_rows,
            self.groups,
        ]
        step_y = ROW_UNITS * self.row_lengths[tile % 4]
        steps = [
            1,
            step_y,
            window.columns.stride,
            window.rows.stride * step_y,
            step_y * self.num_rows,
        ]
        fields = loops(*counts)
        fields.update(output_stage(replace(node.stage, multiplier=self._multiplier(area))))
        first = (area.row - rows.output) * steps[3] + (area.column - columns.output) * steps[2]
        fields.update(
            par_base=self.base + first,
            par_flag=3,
            par_levels=15,
            out_base=output.at(tile, area.row, area.column) + node.output_channel,
            out_flag=3,
            out_levels=7,
            cfg0=0x127,
            cfg2=6,
            cfg3=7,
            group_level=4,
            reduce=3,
            channels=group_channels - 1,
            channels_last=last - 1,
            **op_nest_fields("par_", filled(list(zip(steps, counts)), 6)),
            **op_nest_fields(
                "out_",
                filled(
                    [
                        (WORD, group_channels // WORD),
                        (output.position_bytes, area.num_columns),
                        (output.row_bytes(tile), area.num_rows),
                        (group_channels, self.groups),
                    ],
                    5,
                ),
            ),
        )
        taps, emissions = window.taps, counts[2] * counts[3] * counts[4]
        joined = node.maximum or emissions == 1
        repeated = [(0, count) for count in counts]
        if joined and (emissions > 1 or not node.maximum):
            repeated = [(0, taps), (0, emissions)]
        fields.update(psum_levels=0x840 if joined else 0x880, **op_nest_fields("psum_", repeated))
        # The address of the constant never moves: only levels of one iteration have a stride.
        levels = counts if self.groups > 1 else counts[:4]
        steady = [(0 if n > 1 or k < 2 else WORD, n) for k, n in enumerate(levels)]
        zero_point = node.stage.input_zero_point
        if node.maximum:
            fields.update(offset=-zero_point, mult=float_bits(1.0))
        else:
            fields.update(
                in_base=scratch,
                in_levels=3,
                cfg2=14,
                cfg3=6,
                in_zp=0,
                w_zp=zero_point,
                **op_nest_fields("in_", steady),
            )
        if last != group_channels:
            missing = (group_channels - last) // WORD
            fields.update(out_last_cnt=last // WORD - 1, out_last_mode=3, out_last_skip=4 * missing)
        return fields
