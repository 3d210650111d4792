# SPDX-License-Identifier: Apache-2.0
"""nlu.load: the non-linear unit's table for the ops that follow."""

from __future__ import annotations

from edgekit.chip.arithmetic.spline import MODE, Spline
from edgekit.chip.emulator.plan import Planner, Task
from edgekit.chip.isa.decode import Instruction


class SplineLoad(Task):
    """Loads a table for the ops that follow on its tiles."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        if instruction["mode"] != MODE or instruction["slot48"] or instruction["slot49"]:
            raise self.stop(f"a spline of mode {instruction['mode']}", "mode")
        self.spline = Spline.loaded_by(instruction)

    def ready(self, planner: Planner, tile: int) -> bool:
        """Always true: the op unit is in order."""
        del planner, tile
        return True

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Load."""
        for tile in tiles:
            planner.tiles[tile].spline = self.spline
            self.waiting &= ~(1 << tile)
