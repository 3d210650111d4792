# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: check that no transfer waits for more than is ever counted.

Each iteration of a wait's level waits for one more. A transfer whose last wait never ends lets the
chip hang, though the emulator, which moves all words at once, sees no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Container, Mapping

from edgekit.chip.emulator.units.mesh import waits_of
from edgekit.chip.isa.errors import SyncError
from edgekit.chip.isa.memories import NUM_TILES
from edgekit.chip.isa.walks import product

if TYPE_CHECKING:
    from edgekit.chip.isa.decode import Instruction

Counts = Mapping[int, int]  # counter -> its value


class ArrivalChecker:
    """Records for each tile what its transfers wait for, until a fence waits for them."""

    def __init__(self) -> None:
        # Of each tile: (unit, counter) -> the highest value, and which transfer waits for it.
        self._awaited: list[dict[tuple[str, int], tuple[int, Instruction]]] = [
            {} for _ in range(NUM_TILES)
        ]

    def sends(self, instruction: Instruction, tile: int) -> None:
        """The outbound half of a mesh transfer runs on ``tile``."""
        awaited, unit = self._awaited[tile], instruction.layout.unit
        for counter, first, level in waits_of(instruction):
            last = first + product([instruction[f"o_cnt{k}"] + 1 for k in range(level, 4)]) - 1
            if last > awaited.get((unit, counter), (0, None))[0]:
                awaited[unit, counter] = last, instruction

    def passed(self, fence: Instruction, units: Container[str], tile: int, counts: Counts) -> None:
        """A fence has waited for ``units`` of a tile whose counters are ``counts``.

        Raises:
            SyncError: A transfer before it waits for more.
        """
        for unit, counter in list(self._awaited[tile]):
            if unit not in units and not fence["counters"] >> counter & 1:
                continue
            last, instruction = self._awaited[tile].pop((unit, counter))
            if last > counts.get(counter, last):
                raise SyncError(
                    f"waits on tile {tile} until counter {counter} is {last}, it ends at "
                    f"{counts[counter]}",
                    where=f"{instruction.where}, field s0_val",
                    why="the chip would wait for ever",
                    fix="compare with a program of Google's compiler for the same step",
                )
