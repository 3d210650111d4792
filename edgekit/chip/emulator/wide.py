# SPDX-License-Identifier: Apache-2.0
"""Which row of the plan is at each place of the tiles' wide memories, while a program is planned.

A wide row never changes within a plan: each write makes a new row, and a place refers to its
number. The rows of tile 0 at the start have the numbers from 0, then come those of tile 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.isa.errors import EmulationError
from edgekit.chip.isa.memories import NUM_TILES, WIDE_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_UNWRITTEN = -1


class WideMemories:
    """The wide memories of all tiles; ``known`` has the rows of each that a caching program fills.

    Without ``known`` all rows may be read.
    """

    def __init__(self, known: Sequence[set[int]] | None = None) -> None:
        shape = NUM_TILES, WIDE_ROWS
        self._numbers = np.full(shape, _UNWRITTEN, np.int64)
        self._arrival = np.zeros(shape, np.int64)  # the last one over the ring
        self._num_arrivals = 0
        self._known = np.full(shape, known is None)
        for tile, rows in enumerate(known or ()):
            self._known[tile, list(rows)] = True
        self._read = np.zeros(shape, bool)  # as they are at the start

    def at(
        self, tile: int, rows: NDArray[np.int64], where: str, *, overwriting: bool = False
    ) -> NDArray[np.int64]:
        """Return the numbers of the rows at places ``rows`` of a tile.

        With ``overwriting`` they are read only to keep the parts that shorter new rows do not
        replace.

        Raises:
            EmulationError: A place is outside the memory, or nothing was written there.
        """
        _check_inside(rows, where)
        numbers: NDArray[np.int64] = self._numbers[tile, rows]
        if rows.size and numbers.min() >= 0:
            return numbers
        old = numbers < 0
        missing = old & ~self._known[tile, rows]
        if not overwriting and missing.any():
            raise EmulationError(
                f"wide memory row {rows[missing][0]} of tile {tile} is read but was never written",
                where=where,
                why="it contains what another program left there",
            )
        self._read[tile, rows[old]] = True
        return np.where(old, tile * WIDE_ROWS + rows, numbers)

    def put(
        self,
        tiles: Sequence[int],
        rows: NDArray[np.int64],
        numbers: NDArray[np.int64],
        where: str,
    ) -> None:
        """Store rows at places ``rows`` of each tile; ``numbers`` has a line for each.

        Raises:
            EmulationError: A place is outside the memory.
        """
        _check_inside(rows, where)
        self._numbers[np.array(tiles)[:, None], rows] = numbers

    def arrive(self, tiles: Sequence[int], rows: NDArray[np.int64]) -> None:
        """Record that the rows at places ``rows`` have arrived over the ring."""
        self._num_arrivals += 1
        self._arrival[np.array(tiles)[:, None], rows] = self._num_arrivals

    def arrivals(self, tile: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the last arrival of each row over the ring; it grows from one to the next."""
        return np.asarray(self._arrival[tile, rows])

    def new_numbers(self) -> NDArray[np.int64]:
        """Return the numbers of all rows that were written, in ascending order."""
        return np.unique(self._numbers[self._numbers >= 0])

    def written(self) -> tuple[frozenset[int], ...]:
        """Return the places that were written, for each tile."""
        return tuple(frozenset(np.flatnonzero(each >= 0).tolist()) for each in self._numbers)

    def replaced(self, *, unread: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places that were read before they were written, and the rows there now.

        Places count through all tiles. With ``unread`` those that were never read belong to them.
        """
        kept = self._numbers >= 0
        if not unread:
            kept &= self._read
        return np.flatnonzero(kept), self._numbers[kept]


def _check_inside(rows: NDArray[np.int64], where: str) -> None:
    if rows.size and (rows.min() < 0 or rows.max() >= WIDE_ROWS):
        outside = rows[(rows < 0) | (rows >= WIDE_ROWS)]
        raise EmulationError(
            f"wide memory row {outside.flat[0]} of {WIDE_ROWS}",
            where=where,
            why="the address lies outside the tile's memory",
        )
