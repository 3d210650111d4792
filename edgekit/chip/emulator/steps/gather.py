# SPDX-License-Identifier: Apache-2.0
"""Read an op's activations and write its results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.emulator.nest import Nest
from edgekit.chip.emulator.queues import Chunk
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.steps.shape import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray


_WORD = 4  # bytes


class Gather:
    """The source of a step's activations: narrow memory, or the rows of deliveries."""

    def __init__(
        self,
        index: Sequence[NDArray[np.int64]],
        *,
        words: bool,
        chunks: Sequence[Sequence[Chunk]] = (),
    ) -> None:
        self.index, self.words, self.chunks = index, words, chunks  # one index for each delivery

    @classmethod
    def of_memory(cls, nest: Nest, shape: Shape, *, inside: bool) -> Gather:
        """Gather from narrow memory; ``inside`` puts the weight sets innermost."""
        size, addresses = nest.access.activation_bytes, nest.activations
        words = size == _WORD and addresses.multiples_of(_WORD)
        if shape.listed is None:
            sets, positions, reduction = shape.axes
            axes = positions + reduction if shape.shares_input else sets + positions + reduction
            if inside:
                axes = reduction + positions + sets
            where = addresses.along(axes, _WORD if words else 1)
        else:
            where = nest.in_addresses[_order(nest, shape, inside=inside)].reshape(-1)
            where = where // _WORD if words else where
        return cls([where if words else _bytes(where, size)], words=words)

    @classmethod
    def of_chunks(
        cls, nest: Nest, shape: Shape, deliveries: Sequence[Sequence[Chunk]], *, inside: bool
    ) -> Gather:
        """Gather from the chunks of a delivery to each tile."""
        size, addresses = nest.access.activation_bytes, nest.in_addresses
        order = _order(nest, shape, inside=inside)
        offsets = []
        for chunks in deliveries:
            if any(not np.array_equal(chunk.rows, chunks[0].rows) for chunk in chunks):
                raise nest.stop("a streamed copy over two deliveries", "in_base")
            start = np.array([chunk.first_byte for chunk in chunks])
            limit = np.array([chunk.num_bytes for chunk in chunks])
            offset = addresses - chunks[0].address
            if (offset < 0).any() or (offset + size > limit[nest.chunk_of]).any():
                raise nest.stop("a streamed copy that leaves its chunk", "in_base")
            offsets.append((start[nest.chunk_of] + offset)[order].reshape(-1))
        words = size == _WORD and not any((each % _WORD).any() for each in offsets)
        index = [nest.shared(each // _WORD if words else _bytes(each, size)) for each in offsets]
        return cls(index, words=words, chunks=deliveries)

    def read(self, state: State, tiles: Sequence[int], first: int) -> NDArray[np.uint8]:
        """Return the bytes, one row for each tile; the step's ``tiles`` start at ``first``."""
        dtype = np.uint32 if self.words else np.uint8
        out = np.empty((len(tiles), self.index[0].size), dtype)
        for position, tile in enumerate(tiles):
            if self.chunks:
                rows = state.rows[self.chunks[first + position][0].rows].reshape(-1)
                source = rows.view(np.uint32) if self.words else rows
                index = self.index[first + position]
            else:
                source = state.narrow_words[tile] if self.words else state.narrow[tile]
                index = self.index[0]
            source.take(index, out=out[position], mode="clip")
        return out.view(np.uint8)


class Output:
    """The destination of the emissions."""

    def __init__(self, nest: Nest, emissions: NDArray[np.int64]) -> None:
        words = (nest.out_words // _WORD)[emissions].reshape(-1)
        self.kept: NDArray[np.bool_] | None = None
        if nest.keep is not None:
            self.kept = nest.keep[emissions].reshape(-1)
            words = words[self.kept]
        start = int(words[0]) if len(words) else 0
        self.where: NDArray[np.int64] | slice = words
        if np.array_equal(words, start + np.arange(len(words))):
            self.where = slice(start, start + len(words))

    def write(self, state: State, tiles: Sequence[int], stored: NDArray[np.uint8]) -> None:
        """Store bytes: one row for each tile."""
        words = stored.reshape(len(tiles), -1).view(np.uint32)
        for position, tile in enumerate(tiles):
            values = words[position] if self.kept is None else words[position][self.kept]
            state.narrow_words[tile][self.where] = values


def _order(nest: Nest, shape: Shape, *, inside: bool) -> NDArray[np.int64]:
    """The steps as (weight sets, positions, reduction), one set if all read the same."""
    order = shape.listed
    if order is None:
        order = nest.ordered(shape.axes[0] + shape.axes[1] + shape.axes[2]).reshape(shape.sizes)
    order = order[:1] if shape.shares_input else order
    return order.transpose(2, 1, 0) if inside else order


def _bytes(addresses: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return (addresses[:, None] + np.arange(size)).reshape(-1)
