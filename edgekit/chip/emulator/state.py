# SPDX-License-Identifier: Apache-2.0
"""The chip's memories while a plan runs, as numpy arrays.

A wide row never changes within a plan: what writes one makes a new row, and readers hold row
numbers. So weights travel over the ring without being copied. Rows 0 to `WIDE_ROWS` of tile 0,
then of tile 1, ..., are what is in wide memory between runs; new rows follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import numpy as np

from edgekit.chip.isa.memories import NARROW_BYTES, NUM_TILES, ROW_BYTES, SCALAR_WORDS, WIDE_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class State:
    """Every memory of the chip; wide and narrow memory and the scalar core outlive a run."""

    def __init__(self) -> None:
        self.rows = np.zeros((NUM_TILES * WIDE_ROWS, ROW_BYTES), np.uint8)
        self.narrow = np.zeros((NUM_TILES, NARROW_BYTES), np.uint8)
        self.narrow_words: NDArray[np.uint32] = self.narrow.view(np.uint32)
        self.mesh = np.zeros(0, np.uint32)
        self.scalar = np.zeros(SCALAR_WORDS, np.uint32)
        self.registers = [0] * 32
        self.predicates = [0] * 8
        self.input = np.zeros(0, np.uint8)
        self.output = np.zeros(0, np.uint8)
        # Sees each op's result before it is stored: (step, tiles, bytes of each tile).
        self.observer: Callable[[object, list[int], NDArray[np.uint8]], None] | None = None

    def prepare(self, num_rows: int, mesh_words: int, output_bytes: int) -> None:
        """Make room for a plan's rows, words in flight and output; what is in memory stays."""
        if len(self.rows) < num_rows:
            rows = np.zeros((num_rows, ROW_BYTES), np.uint8)
            rows[: len(self.rows)] = self.rows
            self.rows = rows
        if self.mesh.size < mesh_words:
            self.mesh = np.zeros(mesh_words, np.uint32)
        self.output = np.zeros(output_bytes, np.uint8)
