# SPDX-License-Identifier: Apache-2.0
"""The op unit: when an op can run, and the steps that it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.arithmetic.spline import APPLY, Spline
from edgekit.chip.emulator.nest import Nest
from edgekit.chip.emulator.plan import Planner, Task
from edgekit.chip.emulator.queues import Chunk
from edgekit.chip.emulator.steps.base import Layout, Weights
from edgekit.chip.emulator.steps.gather import Gather
from edgekit.chip.emulator.steps.mac import SumsStep
from edgekit.chip.emulator.steps.pool import make_step
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.walks import product

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AVDATA = 0


class Op(Task):
    """An op instruction: the data it needs, and the step it becomes."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        self.nest = Nest(instruction)
        self.written, self.narrow_written = self.nest.written, self.nest.narrow_written
        self._layouts: dict[bool, Layout] = {}  # for weights that are streamed or not

    # -- when it can run

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether its activations, weights and scaling rows have arrived."""
        queues = planner.tiles[tile]
        if self.nest.chunked and self._chunks(planner, tile) is None:
            return False
        if self.nest.stream_row >= 0:
            if len(queues.queue(self.nest.stream_row)) < self.nest.num_rows:
                return False
        elif planner.written_before(self, tile, self.nest.read):
            return False
        if self.nest.has_scaling:
            if not queues.scaling:
                return False
            first = queues.scaling[0]
            sets = self.nest.num_sets(first.num_rows)
            return (
                bool(len(first.rows))
                or len(queues.headers.get(first.header, ())) >= sets
                or len(queues.queue(first.header)) >= first.num_rows
            )
        if self.nest.has_zero_rows:
            header = self.instruction["zp_row_first"]
            return len(queues.headers.get(header, ())) >= self.nest.groups
        return True

    def _chunks(self, planner: Planner, tile: int) -> list[Chunk] | None:
        """Return the chunks it will read, starting with the one at its address."""
        base, chunks = self.instruction["in_base"], list(planner.tiles[tile].chunks)
        for start, chunk in enumerate(chunks):
            if chunk.address <= base < chunk.address + chunk.num_bytes:
                found = chunks[start : start + self.nest.num_chunks]
                return found if len(found) == self.nest.num_chunks else None
        return None

    # -- what it becomes

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Add one step for each set of tiles that use the same weights."""
        sharing: dict[bytes, list[int]] = {}
        weights: dict[bytes, Weights] = {}
        for tile in tiles:
            found = self._weights(planner, tile)
            key = found.key
            weights.setdefault(key, found)
            sharing.setdefault(key, []).append(tile)
        if self.nest.access.sums:
            self._fire_sums(planner, weights, sharing)
            return
        spline, nest = self._spline(planner, tiles), self.nest
        for key, group in sharing.items():
            layout = self._layout(weights[key])
            gather = layout.gather
            if nest.chunked:
                chunks = [self._take_chunks(planner, tile) for tile in group]
                inside = layout.sets_inside
                gather = Gather.of_chunks(nest, layout.shape, chunks, inside=inside)
            planner.add(make_step(nest, group, layout, weights[key], gather, spline))
        for tile in tiles:
            if self.instruction["cfg0"] & 1:
                level = self.instruction["cfg0"] >> 1 & 7
                planner.tiles[tile].counters[_AVDATA] += product(nest.out.counts[level:])
            self.waiting &= ~(1 << tile)

    def _fire_sums(
        self, planner: Planner, weights: dict[bytes, Weights], sharing: dict[bytes, list[int]]
    ) -> None:
        """Write sums to rows of wide memory, where a scaling load reads them as biases."""
        where = f"{self.instruction.where}, field psum_base"
        for key, group in sharing.items():
            number = self.nest.num_emissions
            first = planner.new_rows(number * len(group))
            layout = self._layout(weights[key])
            planner.add(SumsStep(self.nest, group, layout, weights[key], first))
            numbers = first + np.arange(number * len(group)).reshape(len(group), number)
            planner.wide.put(group, self.nest.sum_rows, numbers, where)
            for tile in group:
                self.waiting &= ~(1 << tile)

    def _layout(self, weights: Weights) -> Layout:
        layout = self._layouts.get(weights.streamed)
        if layout is None:
            index = self.nest.streamed if weights.streamed else self.nest.resident
            layout = self._layouts[weights.streamed] = Layout(self.nest, index)
        return layout

    def _spline(self, planner: Planner, tiles: list[int]) -> Spline | None:
        """Return the table that is loaded on all of ``tiles``, if the op uses one."""
        if not self.instruction["nlu"] & APPLY:
            return None
        spline = planner.tiles[tiles[0]].spline
        if spline is None or any(planner.tiles[tile].spline is not spline for tile in tiles):
            raise self.stop("the tiles have no spline in common", "nlu")
        return spline

    def _take_chunks(self, planner: Planner, tile: int) -> list[Chunk]:
        chunks = self._chunks(planner, tile) or []
        queue = planner.tiles[tile].chunks
        while queue and queue[0] is not chunks[0]:
            queue.popleft()
        for _ in chunks:
            queue.popleft()
        return chunks

    def _weights(self, planner: Planner, tile: int) -> Weights:
        queues = planner.tiles[tile]
        where = f"{self.instruction.where}, field par_base"
        queue = queues.queue(self.nest.base_row)
        number = self.nest.num_rows
        several = (self.nest.has_scaling or self.nest.fills > 1) and self.nest.is_above_base
        # An op without its own count of rows uses the stream that arrived at its address.
        streamed = self.nest.stream_row >= 0 or (several and len(queue) >= number)
        if streamed:
            rows = queue.take(number)
        else:
            rows = planner.wide.at(tile, self.nest.resident_rows, where)
        headers = self._headers(planner, tile)
        known = [planner.constant_bytes[each] for each in (rows, headers)]
        constant = all((each >= 4 * self.nest.channels).all() for each in known)
        return Weights(rows, streamed, headers, constant)

    def _headers(self, planner: Planner, tile: int) -> NDArray[np.int64]:
        """Return row numbers of the header sets: (sets, rows of one); without scaling, no sets."""
        queues = planner.tiles[tile]
        instruction = self.instruction
        where = f"{instruction.where}, field bias"
        per_set = instruction["bias"] + instruction["per_channel"] + self.nest.has_zero_rows
        if not self.nest.has_scaling and not self.nest.has_zero_rows:
            return np.zeros((0, 0), np.int64)
        if self.nest.has_scaling and len(queues.scaling[0].rows):
            step = 2 if instruction["bias"] and instruction["per_channel"] else 1
            starts = queues.scaling.popleft().rows[::step]
            places = starts[:, None] + np.arange(per_set)
            sets = planner.wide.at(tile, places, where)
        else:
            if self.nest.has_scaling:
                scaling = queues.scaling.popleft()
                header, number = scaling.header, self.nest.num_sets(scaling.num_rows)
            else:
                header, number = instruction["zp_row_first"], self.nest.groups
            queue = queues.header_queue(header)
            if len(queue) >= number:
                sets = queue.take(number)
            else:  # a stream of nothing but scaling rows
                sets = queues.queue(header).take(number * per_set).reshape(number, per_set)
        if sets.shape[1] != per_set:
            raise self.stop(f"header sets of {sets.shape[1]} rows, expected {per_set}", "bias")
        sets = self.nest.set_of_each_group(sets)
        if len(sets) != self.nest.groups:
            raise self.stop(f"{len(sets)} header sets for {self.nest.groups} groups", "group_level")
        return sets
