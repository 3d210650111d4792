# SPDX-License-Identifier: Apache-2.0
"""Tile fences: units of a tile finish before later work begins; counters restart.

Source: tinycoral, docs/isa/scalar.md (the order of units follows from which mesh fences stand
around which mesh instructions).
"""

from __future__ import annotations

from edgekit.chip.emulator.plan import Planner, Task
from edgekit.chip.emulator.queues import NUM_COUNTERS
from edgekit.chip.isa.decode import Instruction

# Bit k of the field ``units``. Which bit is narrowToWide's follows from the fences of bit 5 that
# stand between it and an op that reads its rows, in 61 programs of the corpus.
UNITS = (
    "op", "ring_send", "ring_recv0", "ring_recv1", "w2n", "n2w",
    "mesh_south", "mesh_west", "mesh_north", "mesh_east",
)  # fmt: skip
_WIDE_TO_NARROW = 11  # sync counter
_ALL_UNITS = (1 << len(UNITS)) - 1


class Fence(Task):
    """A fence on some tiles and units; it passes when all earlier work there has finished."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        mask = instruction["units"]
        self.units = tuple(name for k, name in enumerate(UNITS) if mask >> k & 1)
        self.drains = mask == _ALL_UNITS
        self.signals = bool(instruction["signal"])
        self.sets = [k for k in range(NUM_COUNTERS) if instruction["counters"] >> k & 1]
        self.count = instruction["count"]

    def ready(self, planner: Planner, tile: int) -> bool:
        """Always true: the planner holds a fence back while its units are busy."""
        del planner, tile
        return True

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Set counters; a full fence also empties all streams."""
        for tile in tiles:
            queues = planner.tiles[tile]
            for counter in self.sets:
                queues.counters[counter] = self.count
            if _WIDE_TO_NARROW in self.sets and not self.count:
                queues.chunks.clear()  # copies count deliveries since the fence
            if self.drains:
                queues.fifo.clear()
                queues.headers.clear()
            self.waiting &= ~(1 << tile)
        if self.drains and not any(task.waiting for task in planner.pending):
            planner.reuse_rows()
