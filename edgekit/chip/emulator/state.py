# SPDX-License-Identifier: Apache-2.0
"""The chip's memories while a plan runs, as numpy arrays.

A wide row never changes within a plan: each write creates a new row, and readers refer to row
numbers. So weights are sent over the ring without a copy. Rows 0 to `WIDE_ROWS` of tile 0,
then of tile 1, ..., are the content of wide memory between runs; new rows follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from edgekit.chip.isa.memories import NARROW_BYTES, NUM_TILES, ROW_BYTES, SCALAR_WORDS, WIDE_ROWS

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray


class ScalarState:
    """Memory, registers and predicates of the scalar core."""

    def __init__(self) -> None:
        self.scalar = np.zeros(SCALAR_WORDS, np.uint32)
        self.registers = [0] * 32
        self.predicates = [0] * 8
        # A step of the scalar core -> its bundles as functions over this state.
        self.compiled: dict[object, Any] = {}


class State(ScalarState):
    """Every memory of the chip; wide and narrow memory and the scalar core persist between runs."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = np.zeros((NUM_TILES * WIDE_ROWS, ROW_BYTES), np.uint8)
        self.narrow = np.zeros((NUM_TILES, NARROW_BYTES), np.uint8)
        self.narrow_words: NDArray[np.uint32] = self.narrow.view(np.uint32)
        self.mesh = np.zeros(0, np.uint32)
        self.input = np.zeros(0, np.uint8)
        self.output = np.zeros(0, np.uint8)
        self.coded: dict[object, NDArray[np.int64] | None] = {}  # the same for compiled code
        self.kernels: ModuleType | None = None  # compiled code for some steps; None: numpy alone
        # Called with each op's result before it is stored: (step, tiles, bytes of each tile).
        self.observer: Callable[[object, list[int], NDArray[np.uint8]], None] | None = None

    def clone(self) -> State:
        """Return a copy that shares no memory."""
        other = State()
        other.rows = self.rows.copy()
        other.narrow[:] = self.narrow
        other.scalar[:] = self.scalar
        other.kernels = self.kernels
        other.registers[:], other.predicates[:] = self.registers, self.predicates
        return other

    def prepare(self, num_rows: int, mesh_words: int, output_bytes: int) -> None:
        """Allocate a plan's rows, words in flight and output; keep the content of the memories."""
        if len(self.rows) < num_rows:
            rows = np.zeros((num_rows, ROW_BYTES), np.uint8)
            rows[: len(self.rows)] = self.rows
            self.rows = rows
        if self.mesh.size < mesh_words:
            self.mesh = np.zeros(mesh_words, np.uint32)
        self.output = np.zeros(output_bytes, np.uint8)
