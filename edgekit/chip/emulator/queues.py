# SPDX-License-Identifier: Apache-2.0
"""The queues of a tile while a program is planned: streams, announcements, counters."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.arithmetic.spline import Spline
from edgekit.chip.isa.errors import EmulationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_COUNTERS = 19  # sync counters of a tile


class Fifo:
    """A queue of row numbers, or of sets of them; they come and go many at a time."""

    def __init__(self) -> None:
        self._parts: deque[NDArray[np.int64]] = deque()  # never changed: queues share them
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, numbers: NDArray[np.int64]) -> None:
        """Append ``numbers``, along its first axis."""
        if len(numbers):
            self._parts.append(numbers)
            self._length += len(numbers)

    def take(self, number: int) -> NDArray[np.int64]:
        """Remove and return the first ``number`` entries; there must be as many.

        Raises:
            EmulationError: Some of them are sets of other sizes.
        """
        if self._parts and len(self._parts[0]) == number:
            self._length -= number
            return self._parts.popleft()
        parts, missing = [], number
        while missing:
            part = self._parts.popleft()
            if len(part) > missing:
                self._parts.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= len(part)
        self._length -= number
        if len({part.shape[1:] for part in parts}) > 1:
            raise EmulationError("header sets of different numbers of rows in one queue")
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def clear(self) -> None:
        """Remove everything."""
        self._parts.clear()
        self._length = 0


@dataclass
class Chunk:
    """A piece of a stream that wideToNarrow leaves for a streamed copy to read."""

    address: int  # bytes in narrow memory
    num_bytes: int
    rows: NDArray[np.int64]  # of its delivery
    first_byte: int  # within those rows


@dataclass
class Scaling:
    """What wideToNarrow announces to the scaling store: sets of rows, arrived or expected."""

    rows: NDArray[np.int64]  # addresses in wide memory, in rows; empty: from the header queue
    header: int  # address of the header queue, in rows
    num_rows: int


@dataclass
class TileQueues:
    """The queues of a tile: streams by address, announcements, counters."""

    fifo: dict[int, Fifo] = field(default_factory=dict)
    headers: dict[int, Fifo] = field(default_factory=dict)  # of (sets, rows of a set)
    inbox: tuple[Fifo, Fifo] = field(default_factory=lambda: (Fifo(), Fifo()))
    chunks: deque[Chunk] = field(default_factory=deque)
    scaling: deque[Scaling] = field(default_factory=deque)
    mesh: dict[int, deque[tuple[int, int]]] = field(default_factory=dict)
    corners: dict[int, deque[tuple[int, int]]] = field(default_factory=dict)  # by byte address
    counters: list[int] = field(default_factory=lambda: [0] * NUM_COUNTERS)
    spline: Spline | None = None

    @property
    def is_busy(self) -> bool:
        """Whether rows are on their way to or through the tile."""
        return bool(any(self.inbox) or self.fifo or self.headers or self.chunks)

    def queue(self, row: int) -> Fifo:
        """Return the stream that arrives at ``row`` of wide memory."""
        queue = self.fifo.get(row)
        if queue is None:
            queue = self.fifo[row] = Fifo()
        return queue

    def header_queue(self, row: int) -> Fifo:
        """Return the sets of header rows that arrive at ``row`` of wide memory."""
        queue = self.headers.get(row)
        if queue is None:
            queue = self.headers[row] = Fifo()
        return queue
