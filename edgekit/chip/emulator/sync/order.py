# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: check that no word is read before an earlier instruction writes it.

Transfers run as early as their waits allow. If one reads a word that an instruction before it (or
its own inbound half) writes later, it reads what was there before: a wait is missing or too low.
The value need not show it, because the word may be one that nothing uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.isa.errors import SyncError
from edgekit.chip.isa.memories import NARROW_BYTES, NUM_TILES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.chip.emulator.plan import Task

_NOT_READ = -1


class OrderChecker:
    """Records for each word of narrow memory which instruction was the last to read it."""

    def __init__(self) -> None:
        self._reader = np.full((NUM_TILES, NARROW_BYTES // 4), _NOT_READ, np.int32)

    def read(self, task: Task, tile: int, words: NDArray[np.int64]) -> None:
        """``task`` reads ``words`` of ``tile``."""
        self._reader[tile, words] = task.order

    def written(self, task: Task, tile: int, words: NDArray[np.int64]) -> None:
        """``task`` writes ``words`` of ``tile``.

        Raises:
            SyncError: An instruction that comes after it has already read one of them.
        """
        late = self._reader[tile, words] >= task.order
        if late.any():
            word = int(words[late][0])
            raise SyncError(
                f"writes {int(late.sum())} words of tile {tile} that a later transfer has already "
                "sent",
                where=f"{task.instruction.where}, narrow memory byte {4 * word:#x}",
                why="on the chip this is a race: the transfer does not wait for them",
                fix="compare with a program of Google's compiler for the same step",
            )
