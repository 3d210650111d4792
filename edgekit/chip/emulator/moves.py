# SPDX-License-Identifier: Apache-2.0
"""Small copies between the memories, joined into one step of compiled code.

A program has hundreds of copies of a few words, one after another; to call compiled code takes
longer than such a copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.chip.emulator.plan import Move, Step
from edgekit.chip.emulator.state import State
from edgekit.chip.isa.memories import NARROW_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_WORDS = 64  # of a copy that is joined with others: each word needs 16 bytes of the plan
_TILE_WORDS = NARROW_BYTES // 4


class Moves(Step):
    """Several copies, one after another."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self.kinds = np.array([move.kind for move in moves])
        self.ends = np.cumsum([len(move.targets) for move in moves])
        self.sources = np.concatenate([move.sources for move in moves])
        self.targets = np.concatenate([move.targets for move in moves])

    def run(self, state: State) -> None:
        """Copy."""
        kernels: Any = state.kernels
        narrow, wide = (each.view(np.uint32).reshape(-1) for each in (state.narrow, state.rows))
        kernels.move(self.kinds, self.ends, self.sources, self.targets, narrow, wide, state.mesh)


def words_on(tiles: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return words of narrow memory, counted from tile 0: one row for each tile."""
    return tiles[:, None] * _TILE_WORDS + words


def joined(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps with neighbouring small copies joined."""
    found: list[Step] = []
    small: list[Step] = []
    for step in steps:
        if 0 < step.num_moved <= _MOST_WORDS:
            small.append(step)
            continue
        found += _together(small)
        found.append(step)
        small = []
    return (*found, *_together(small))


def _together(small: Sequence[Step]) -> Sequence[Step]:
    if len(small) < 2:
        return small
    return [Moves([step.move() for step in small])]
