# SPDX-License-Identifier: Apache-2.0
"""The queues of a tile while a program is planned: streams, announcements, counters."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Sequence

from edgekit.chip.arithmetic.spline import Spline

NUM_COUNTERS = 19  # sync counters of a tile


def take(queue: deque[int], number: int) -> list[int]:
    """Remove and return the first ``number`` entries."""
    if number == len(queue):
        taken = list(queue)
        queue.clear()
        return taken
    return [queue.popleft() for _ in range(number)]


@dataclass
class Chunk:
    """A piece of a stream that wideToNarrow leaves for a streamed copy to read."""

    address: int  # bytes in narrow memory
    num_bytes: int
    rows: tuple[int, ...]  # the rows of its delivery
    first_byte: int  # within those rows


@dataclass
class Scaling:
    """What wideToNarrow announces to the scaling store: sets of rows, arrived or expected."""

    rows: tuple[int, ...]  # addresses in wide memory, in rows; empty: from the header queue
    header: int  # address of the header queue, in rows
    num_rows: int


@dataclass
class TileQueues:
    """The queues of a tile: streams by address, announcements, counters."""

    rows: dict[int, int] = field(default_factory=dict)  # wide row -> row number, if written
    version: dict[int, int] = field(default_factory=dict)  # wide row -> last arrival over the ring
    num_arrivals: int = 0
    fifo: dict[int, deque[int]] = field(default_factory=dict)
    headers: dict[int, deque[tuple[int, ...]]] = field(default_factory=dict)
    inbox: tuple[deque[int], deque[int]] = field(default_factory=lambda: (deque(), deque()))
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

    def queue(self, row: int) -> deque[int]:
        """Return the stream that arrives at ``row`` of wide memory."""
        queue = self.fifo.get(row)
        if queue is None:
            queue = self.fifo[row] = deque()
        return queue

    def arrived(self, rows: Sequence[int]) -> None:
        """Record that ``rows`` have arrived over the ring."""
        self.num_arrivals += 1
        self.version.update(dict.fromkeys(rows, self.num_arrivals))
