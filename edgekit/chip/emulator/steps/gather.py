# SPDX-License-Identifier: Apache-2.0
"""Read an op's activations and write its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.emulator.nest import Nest
from edgekit.chip.emulator.queues import Chunk
from edgekit.chip.emulator.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Gather:
    """The source of a step's activations: narrow memory, or the rows of a delivery."""

    def __init__(
        self,
        addresses: NDArray[np.int64],
        chunk_of: NDArray[np.int64],
        chunks: Sequence[Sequence[Chunk]],
        base: int,
    ) -> None:
        self.addresses, self.chunk_of, self.chunks, self.base = addresses, chunk_of, chunks, base
        self.index: list[NDArray[np.int64]] = []
        self.size = 0

    def prepare(self, nest: Nest, order: NDArray[np.int64]) -> None:
        """Fix the order and the width of each access, and release the walk."""
        self.size = nest.access.activation_bytes
        if self.chunks:
            self._prepare_chunks(nest, order)
        else:
            self.index = [nest.shared(self._units(self.addresses[order].reshape(-1)))]
        self.addresses = self.chunk_of = np.zeros(0, np.int64)

    def _prepare_chunks(self, nest: Nest, order: NDArray[np.int64]) -> None:
        for chunks in self.chunks:
            if any(chunk.rows != chunks[0].rows for chunk in chunks):
                raise nest.stop("a streamed copy over two deliveries", "in_base")
            start = np.array([chunk.first_byte for chunk in chunks])
            limit = np.array([chunk.num_bytes for chunk in chunks])
            offset = self.addresses - chunks[0].address
            if (offset < 0).any() or (offset + self.size > limit[self.chunk_of]).any():
                raise nest.stop("a streamed copy that leaves its chunk", "in_base")
            where = (start[self.chunk_of] + offset)[order].reshape(-1)
            self.index.append(nest.shared(self._units(where)))

    def _units(self, addresses: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return word addresses if all are whole words, else byte addresses."""
        self.words = self.size == 4 and not (addresses % 4).any()
        if self.words:
            return addresses // 4
        return (addresses[:, None] + np.arange(self.size)).reshape(-1)

    def read(self, state: State, tiles: Sequence[int], first: int) -> NDArray[np.uint8]:
        """Return the bytes, one row for each tile; the step's ``tiles`` start at ``first``."""
        dtype = np.uint32 if self.words else np.uint8
        out = np.empty((len(tiles), self.index[0].size), dtype)
        for position, tile in enumerate(tiles):
            if self.chunks:
                rows = state.rows[list(self.chunks[first + position][0].rows)].reshape(-1)
                source = rows.view(np.uint32) if self.words else rows
                index = self.index[first + position]
            else:
                source = state.narrow_words[tile] if self.words else state.narrow[tile]
                index = self.index[0]
            source.take(index, out=out[position], mode="clip")
        return out.view(np.uint8)


class Output:
    """The destination of the emissions."""

    def __init__(self, words: NDArray[np.int64], keep: NDArray[np.bool_] | None) -> None:
        self.addresses, self.keep = words, keep
        self.where: NDArray[np.int64] | slice = words.reshape(-1)
        self.kept: NDArray[np.bool_] | None = None

    def prepare(self, nest: Nest, emissions: NDArray[np.int64]) -> None:
        """Fix the order of the emissions."""
        words = (self.addresses // 4)[emissions].reshape(-1)
        if self.keep is not None:
            self.kept = self.keep[emissions].reshape(-1)
            words = words[self.kept]
        start = int(words[0]) if len(words) else 0
        if np.array_equal(words, start + np.arange(len(words))):
            self.where = slice(start, start + len(words))
        else:
            self.where = nest.shared(words)
        self.addresses, self.keep = np.zeros(0, np.int64), None

    def write(self, state: State, tiles: Sequence[int], stored: NDArray[np.uint8]) -> None:
        """Store bytes: one row for each tile."""
        words = stored.reshape(len(tiles), -1).view(np.uint32)
        for position, tile in enumerate(tiles):
            values = words[position] if self.kept is None else words[position][self.kept]
            state.narrow_words[tile][self.where] = values
