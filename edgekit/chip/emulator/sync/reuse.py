# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: check the fences between units that share words of a tile's memories.

No counter says when a unit has read the last word of an instruction, so another unit may only
write the same words behind a fence that waits for the reader. No counter says either when
wideToNarrow has written words that are read in place (not taken as chunks of a stream); who reads
them needs a fence. The values need not show a missing one: in the emulator an instruction ends
before the next begins.

Of 80 programs of Google's compiler none writes words before such a fence, but for three in which
wideToNarrow, or an op that waits for rows of narrowToWide, writes what narrowToWide reads; that is
left out here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.emulator.sync.counts import records_of_op
from edgekit.chip.emulator.units.op import Op
from edgekit.chip.emulator.units.tile_dma import NarrowToWide, WideToNarrow
from edgekit.chip.isa.disassemble import COUNTERS
from edgekit.chip.isa.errors import SyncError
from edgekit.chip.isa.memories import NARROW_BYTES, NUM_TILES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.chip.emulator.plan import Task

# A bit for each unit that reads words of narrow memory; the last one: wideToNarrow wrote the word.
_BITS = {
    "op": 1, "n2w": 2, "mesh_south": 4, "mesh_west": 8, "mesh_north": 16, "mesh_east": 32,
    "w2n": 64,
}  # fmt: skip
_READERS = 63
_OF_ROWS = tuple(COUNTERS.index(name) for name in ("PARAMETERS", "NARROW_TO_WIDE"))
_LATE = _READERS & ~_BITS["n2w"]  # readers that op and wideToNarrow wait for


class ReuseChecker:
    """Records for each word which units have used it since the last fence that waited for them."""

    def __init__(self) -> None:
        self._used = np.zeros((NUM_TILES, NARROW_BYTES // 4), np.uint8)
        self._bits = [0] * NUM_TILES  # those that are anywhere in ``_used``
        self._rows: list[set[int]] = [set() for _ in range(NUM_TILES)]  # of wide memory: ops read

    def op(self, task: Op, tiles: list[int], words: NDArray[np.int64] | None) -> None:
        """An op reads ``words`` of narrow memory, None for a stream, and rows of parameters.

        Raises:
            SyncError: Another unit may still use the words that it reads or writes.
        """
        for tile in tiles:
            if words is not None:
                self.reads(task, tile, words)
            readers = _LATE if _counts_rows(task) else _READERS
            if not task.nest.access.sums and self._bits[tile] & readers & ~_BITS["op"]:
                words_out = task.nest.out_words.reshape(-1) // 4
                self._check(task, tile, words_out, "out_base", readers)
            if task.nest.stream_row < 0:
                self._rows[tile].update(task.nest.read)

    def to_wide(self, task: NarrowToWide, tiles: list[int]) -> None:
        """``task`` reads words and writes rows.

        Raises:
            SyncError: An op may still read one of the rows.
        """
        for tile in tiles:
            self.reads(task, tile, task.words)
            rows = set() if task.streams else self._rows[tile].intersection(task.rows)
            if rows:
                raise _fault(
                    task,
                    f"writes wide memory row {min(rows)} of tile {tile}, which an op before it "
                    "may still read",
                    "w_addr",
                )

    def to_narrow(self, task: WideToNarrow, tiles: list[int]) -> None:
        """``task`` writes words, or announces scaling rows.

        Raises:
            SyncError: Another unit may still read the words.
        """
        if task.narrow_written is None:
            return
        first, end = (byte // 4 for byte in task.narrow_written)
        words = np.arange(first, min(end, NARROW_BYTES // 4))
        for tile in tiles:
            self._check(task, tile, words, "n_addr")
            self._mark(tile, words, _BITS["w2n"])

    def reads(self, task: Task, tile: int, words: NDArray[np.int64]) -> None:
        """``task`` reads ``words``.

        Raises:
            SyncError: wideToNarrow may not have written one of them yet.
        """
        if self._bits[tile] & _BITS["w2n"]:
            early = self._used[tile, words] & _BITS["w2n"] != 0
            if early.any():
                raise _fault(
                    task,
                    f"reads narrow memory byte {4 * int(words[early][0]):#x} of tile {tile}, which "
                    "wideToNarrow may not have written yet",
                    "tiles",
                )
        self._mark(tile, words, _BITS[task.instruction.layout.unit])

    def received(self, task: Task, tile: int, words: NDArray[np.int64]) -> None:
        """``task`` writes words from the mesh, or a constant, to ``words``.

        Raises:
            SyncError: Another unit may still read one of them.
        """
        self._check(task, tile, words, "i_addr", _READERS)

    def passed(self, units: tuple[str, ...], tiles: list[int]) -> None:
        """A fence that waits for ``units`` has passed."""
        done = sum(_BITS.get(unit, 0) for unit in units)
        for tile in tiles:
            if "op" in units:
                self._rows[tile].clear()
            if done & self._bits[tile]:
                self._used[tile] &= ~np.uint8(done)
                self._bits[tile] &= ~done

    def _mark(self, tile: int, words: NDArray[np.int64], bit: int) -> None:
        self._used[tile, words] |= np.uint8(bit)
        self._bits[tile] |= bit

    def _check(
        self, task: Task, tile: int, words: NDArray[np.int64], name: str, readers: int = _LATE
    ) -> None:
        """Raise if another unit among ``readers`` may still read ``words``, which are written."""
        readers &= ~_BITS[task.instruction.layout.unit]
        if not self._bits[tile] & readers:
            return
        read = self._used[tile, words] & readers != 0
        if read.any():
            word = int(words[read][0])
            units = [n for n, bit in _BITS.items() if self._used[tile, word] & readers & bit]
            raise _fault(
                task,
                f"writes narrow memory byte {4 * word:#x} of tile {tile}, which {units[0]} "
                "may still read",
                name,
            )


def _counts_rows(op: Op) -> bool:
    """Whether an op waits for a count of rows that narrowToWide has written."""
    return any(each.counter in _OF_ROWS for each in records_of_op(op.instruction))


def _fault(task: Task, what: str, name: str) -> SyncError:
    return SyncError(
        what,
        where=f"{task.instruction.where}, field {name}",
        why="no fence waits for the end of the other instruction: on the chip this is a race",
        fix="compare with a program of Google's compiler for the same step",
    )
