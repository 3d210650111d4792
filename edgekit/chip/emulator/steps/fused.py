# SPDX-License-Identifier: Apache-2.0
"""Multiply-accumulate steps by compiled code: gather, sum, requantize and store in few passes.

Not covered are 16-bit activations of a stream, and rows that are copied; numpy computes these.
Matrices are multiplied by numpy's BLAS in both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.chip.arithmetic.requantize import Requantization
from edgekit.chip.arithmetic.spline import APPLY, REDUCE_RANGE
from edgekit.chip.emulator.kernels import IS_ODD, PLAIN, REDUCES, runs_of
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.steps.base import Layout
from edgekit.chip.emulator.steps.gather import Gather
from edgekit.chip.emulator.steps.products import Prepared, positions_of_run, sum_products
from edgekit.chip.isa.memories import ROW_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = 4  # bytes, and channels
_HALF = 2  # bytes of a 16-bit value
_FIRST = np.zeros(1, np.int64)


class Fused:
    """A step whose sums are made and stored by compiled code."""

    def __init__(self, requantization: Requantization) -> None:
        clamps = requantization.clamp_min, requantization.clamp_max, requantization.zero_point
        self.value_bytes = requantization.value_bytes
        limits = np.array([*clamps, (1 << 8 * self.value_bytes) - 1], np.float32)
        self.limits = np.concatenate([limits, _curve(requantization)])

    def run(self, state: State, tiles: NDArray[np.int64], batch: int) -> None:
        """Compute all ``tiles``, up to ``batch`` at a time."""
        raise NotImplementedError


class FusedProduct(Fused):
    """Sums over all channels of the input."""

    def __init__(
        self, layout: Layout, gather: Gather, requantization: Requantization, prepared: Prepared
    ) -> None:
        super().__init__(requantization)
        self.prepared, self.is_wide = prepared, layout.is_wide
        self.is_streamed = bool(gather.chunks)
        bias = prepared.bias
        multiplier = np.broadcast_to(prepared.multiplier, bias.shape)
        if layout.shape.shares_input:  # a position's values of all sets follow each other
            bias, multiplier = bias.reshape(1, -1), multiplier.reshape(1, -1)
        positions = layout.shape.sizes[1]
        times = positions_of_run(positions, bias.shape[1]) if len(bias) == 1 else 1
        self.bias = np.tile(bias, times)
        self.multiplier = np.tile(multiplier, times).astype(np.float32)
        if self.is_streamed:  # rows of this step alone
            self.starts, self.length, self.shape = _read(layout, gather)
        else:
            made = layout.once("product", lambda: _read(layout, gather))
            self.starts, self.length, self.shape = made
        self.where = layout.once(("product", times), lambda: _written(layout, times))

    def run(self, state: State, tiles: NDArray[np.int64], batch: int) -> None:
        """See `Fused`."""
        kernels: Any = state.kernels
        for first in range(0, len(tiles), batch):
            some = tiles[first : first + batch]
            values = np.empty((len(some), self.starts.size * self.length), np.float32)
            if self.is_streamed:  # to one tile
                kernels.gather(state.rows.reshape(1, -1), _FIRST, self.starts, self.length, values)
            else:
                memory = state.narrow.view(np.uint16) if self.is_wide else state.narrow
                kernels.gather(memory, some, self.starts, self.length, values)
            total = sum_products(values.reshape(len(some), *self.shape), self.prepared)
            total = total.reshape(len(some), len(self.bias), -1, self.bias.shape[1])
            kernels.requantize(
                total,
                self.bias,
                self.multiplier,
                self.limits,
                state.narrow_words,
                some,
                self.where,
            )


class FusedCopy(Fused):
    """Words that are copied."""

    def __init__(self, layout: Layout, requantization: Requantization) -> None:
        super().__init__(requantization)
        self.sources, self.targets = layout.once("copy", lambda: _copied(layout))

    def run(self, state: State, tiles: NDArray[np.int64], batch: int) -> None:
        """See `Fused`."""
        del batch  # needs little memory
        kernels: Any = state.kernels
        kernels.copy(state.narrow_words, tiles, self.sources, self.targets)


class FusedDepthwise(Fused):
    """Sums of each channel by itself."""

    def __init__(
        self,
        layout: Layout,
        requantization: Requantization,
        prepared: Prepared,
        weights: NDArray[np.float32],
    ) -> None:
        """Lay out a step whose ``weights`` are (taps, values of a row)."""
        super().__init__(requantization)
        positions = layout.shape.sizes[1]
        bias = prepared.bias.reshape(-1)
        multiplier = np.broadcast_to(prepared.multiplier, prepared.bias.shape).reshape(-1)
        if len(bias) == _WORD:  # the same weights for all positions
            times = positions_of_run(positions, _WORD)
            weights, bias = np.tile(weights, times), np.tile(bias, times)
            multiplier = np.tile(multiplier, times)
        self.weights = np.ascontiguousarray(weights)
        self.bias, self.multiplier = bias, multiplier.astype(np.float32)
        width = weights.shape[1]
        made = layout.once(("depthwise", width), lambda: _channels(layout, width, self.value_bytes))
        self.starts, self.where = made

    def run(self, state: State, tiles: NDArray[np.int64], batch: int) -> None:
        """See `Fused`."""
        del batch  # needs no memory for what it has gathered
        kernels: Any = state.kernels
        kernels.depthwise(
            state.narrow,
            tiles,
            self.starts,
            self.weights,
            self.bias,
            self.multiplier,
            self.limits,
            self.where,
        )


def fused(
    layout: Layout, gather: Gather, requantization: Requantization, prepared: Prepared
) -> Fused | None:
    """Return the step for compiled code; None if only numpy computes it."""
    is_product = prepared.kind == "product"
    if layout.is_wide:
        is_even = not gather.chunks and not (_sources(layout, gather)[..., ::_HALF] % _HALF).any()
        covers = is_product and is_even
        return FusedProduct(layout, gather, requantization, prepared) if covers else None
    if gather.chunks:
        is_one = len(gather.chunks) == 1 and is_product
        return FusedProduct(layout, gather, requantization, prepared) if is_one else None
    is_one_set = layout.shape.sizes[0] == 1
    is_exact = all(each.dtype == np.float32 for each in prepared.matrices)
    if is_exact and prepared.kind == "diagonal" and (layout.sets_inside or is_one_set):
        (matrix,) = prepared.matrices
        weights = matrix if layout.sets_inside else matrix.reshape(len(matrix), -1)
        return FusedDepthwise(layout, requantization, prepared, weights)
    if prepared.kind == "copy" and layout.gather.words:
        return FusedCopy(layout, requantization)
    if not is_product:
        return None
    if is_exact and is_one_set and len(prepared.matrices) == 1:
        taps = _diagonals(prepared.matrices[0][0], _sources(layout, gather))
        if taps is not None:
            return FusedDepthwise(layout, requantization, prepared, taps)
    return FusedProduct(layout, gather, requantization, prepared)


def _curve(requantization: Requantization) -> NDArray[np.float32]:
    """The table of a function as compiled code takes it; empty if there is none."""
    spline = requantization.spline
    if spline is None or not requantization.nlu & APPLY:
        return np.zeros(0, np.float32)
    use = PLAIN
    if requantization.is_odd:
        use = IS_ODD
    elif requantization.nlu & REDUCE_RANGE:
        use = REDUCES
    parts = [use], spline.coefficients.reshape(-1), spline.breaks
    return np.concatenate(parts).astype(np.float32)


def _read(layout: Layout, gather: Gather) -> tuple[NDArray[np.int64], int, tuple[int, ...]]:
    """The activations of a product: starts of runs, their length, the shape of all of them."""
    sources = _sources(layout, gather)
    if gather.chunks:
        ((chunk, *_),) = gather.chunks
        row, at = np.divmod(sources, ROW_BYTES)
        sources = chunk.rows[row] * ROW_BYTES + at
    if layout.is_wide:
        sources = sources[..., ::_HALF] // _HALF
    starts, length = runs_of(sources.reshape(-1), 1, sources.size)
    return starts, length, sources.shape


def _written(layout: Layout, times: int) -> NDArray[np.int64]:
    """The words of a product's results, ``times`` positions in a row."""
    targets = _targets(layout)
    if layout.shape.shares_input:
        targets = targets.transpose(1, 0, 2).reshape(1, targets.shape[1], -1)
    return _rows(targets.reshape(-1, times * targets.shape[-1]))


def _copied(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words that are copied, and where to."""
    sources = _sources(layout, layout.gather)[..., ::_WORD] // _WORD
    targets = _targets(layout)
    whole = np.broadcast_to(sources, (len(targets), *sources.shape[1:]))
    return np.ascontiguousarray(whole).reshape(-1), np.ascontiguousarray(targets).reshape(-1)


def _channels(
    layout: Layout, width: int, value_bytes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts of the bytes of each channel by itself, and words of the results; see `depthwise`."""
    sizes = layout.shape.sizes
    sources = _sources(layout, layout.gather).reshape(*sizes[:2], -1, _WORD)[..., 0]
    sources, targets = sources.transpose(2, 1, 0), _targets(layout).transpose(1, 0, 2)
    starts, length = runs_of(sources.reshape(-1), _WORD, width)
    starts = starts.reshape(sources.shape[0], -1, width // length)
    return starts, _rows(targets.reshape(-1, value_bytes * width // _WORD))


def _sources(layout: Layout, gather: Gather) -> NDArray[np.int64]:
    """The address of each activation: (sets, positions, reduction)."""
    sets, positions, _ = layout.shape.sizes
    index = gather.index[0]
    if gather.words:
        index = (_WORD * index[:, None] + np.arange(_WORD)).reshape(-1)
    if layout.sets_inside:
        order = index.reshape(-1, positions, sets, layout.access_bytes).transpose(2, 1, 0, 3)
        return order.reshape(sets, positions, -1)
    return index.reshape(1 if layout.shape.shares_input else sets, positions, -1)


def _targets(layout: Layout) -> NDArray[np.int64]:
    """The word of narrow memory for each result, negative if not stored: (sets, positions, words).

    A word has four channels.
    """
    output, (sets, positions, _) = layout.output, layout.shape.sizes
    where = output.where
    words = np.arange(where.start, where.stop) if isinstance(where, slice) else where
    if output.kept is not None:
        every = np.full(output.kept.size, -1)
        every[output.kept] = words
        words = every
    if layout.sets_inside:
        return words.reshape(positions, sets, -1).transpose(1, 0, 2)
    return words.reshape(sets, positions, -1)


def _diagonals(
    matrix: NDArray[np.float32], sources: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Return (taps, four channels) if a matrix sums each channel of whole words by itself."""
    taps, rest = divmod(len(matrix), _WORD)
    if rest or matrix.shape[1] != _WORD:
        return None
    blocks = matrix.reshape(taps, _WORD, _WORD)
    starts = sources.reshape(-1, _WORD)
    if (blocks * (1 - np.eye(_WORD))).any() or (starts - starts[:, :1] != np.arange(_WORD)).any():
        return None
    return np.ascontiguousarray(blocks.diagonal(axis1=1, axis2=2))


def _rows(words: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first word of each row if the others follow it in every row, else all words."""
    follow = (np.diff(words, axis=1) == 1).all() and words.min() >= 0
    return np.ascontiguousarray(words[:, :1] if follow else words)
