# SPDX-License-Identifier: Apache-2.0
"""The op unit: when an op can run, and the steps that it becomes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.arithmetic.spline import APPLY, Spline
from edgekit.chip.emulator.nest import Nest
from edgekit.chip.emulator.plan import Planner, Task
from edgekit.chip.emulator.queues import Chunk, take
from edgekit.chip.emulator.steps.base import Weights
from edgekit.chip.emulator.steps.gather import Gather, Output
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
                bool(first.rows)
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
            chunks = [self._take_chunks(planner, tile) for tile in group] if nest.chunked else []
            gather = Gather(nest.in_addresses, nest.chunk_of, chunks, self.instruction["in_base"])
            output = Output(nest.out_words, nest.keep)
            planner.add(make_step(nest, group, gather, weights[key], output, spline))
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
            gather = Gather(self.nest.in_addresses, self.nest.chunk_of, [], 0)
            number = self.nest.num_emissions
            first = planner.new_rows(number * len(group))
            output = Output(self.nest.out_words, None)
            planner.add(SumsStep(self.nest, group, gather, weights[key], output, first))
            for position, tile in enumerate(group):
                rows = self.nest.sum_rows.tolist()
                at = first + position * number
                planner.put_rows(tile, rows, list(range(at, at + number)), where)
                self.waiting &= ~(1 << tile)

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
        if self.nest.stream_row >= 0 or (several and len(queue) >= number):
            # An op without its own count of rows uses the stream that arrived at its address.
            rows = np.array(take(queue, number))
            index = self.nest.streamed
        else:
            used, index = np.unique(self.nest.resident, return_inverse=True)
            rows = np.array([planner.row_at(tile, row, where) for row in used.tolist()])
        headers = self._headers(planner, tile)
        known = [planner.constant_bytes[each] for each in (rows, headers)]
        constant = all((each >= 4 * self.nest.channels).all() for each in known)
        return Weights(rows, index.reshape(-1), headers, constant)

    def _headers(self, planner: Planner, tile: int) -> NDArray[np.int64]:
        """Return row numbers of the header sets: (sets, rows of one); without scaling, no sets."""
        queues = planner.tiles[tile]
        instruction = self.instruction
        where = f"{instruction.where}, field bias"
        per_set = instruction["bias"] + instruction["per_channel"] + self.nest.has_zero_rows
        if not self.nest.has_scaling and not self.nest.has_zero_rows:
            return np.zeros((0, 0), np.int64)
        if self.nest.has_scaling and queues.scaling[0].rows:
            step = 2 if instruction["bias"] and instruction["per_channel"] else 1
            starts = queues.scaling.popleft().rows[::step]
            sets = [
                [planner.row_at(tile, row + k, where) for k in range(per_set)] for row in starts
            ]
        else:
            if self.nest.has_scaling:
                scaling = queues.scaling.popleft()
                header, number = scaling.header, self.nest.num_sets(scaling.num_rows)
            else:
                header, number = instruction["zp_row_first"], self.nest.groups
            queue = queues.headers.get(header, deque())
            if len(queue) >= number:
                sets = [list(queue.popleft()) for _ in range(number)]
            else:  # a stream of nothing but scaling rows
                stream = queues.queue(header)
                sets = [[stream.popleft() for _ in range(per_set)] for _ in range(number)]
        sets = self.nest.set_of_each_group(sets)
        if len(sets) != self.nest.groups:
            raise self.stop(f"{len(sets)} header sets for {self.nest.groups} groups", "group_level")
        if any(len(rows) != per_set for rows in sets):
            raise self.stop(f"header sets of {len(sets[0])} rows, expected {per_set}", "bias")
        return np.array(sets, np.int64)
