# SPDX-License-Identifier: Apache-2.0
"""Steps of a run as machine code, made by numba; the steps themselves compute the same in numpy.

Only `edgekit.chip.emulator.kernels` imports this module, where numba is installed. Every value is
exact or rounded by the same operations in the same order, so that all bytes are those of numpy.
Memory is (tiles, bytes) or (tiles, words); addresses were checked when the program was planned.
Loops run over slices, because an index that may be negative keeps a loop from being vectorized.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, TypeVar, cast

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(function: _F) -> _F:
    return cast("_F", numba.njit(nogil=True, cache=True, error_model="numpy")(function))


@_compiled
def send(
    mesh: NDArray[np.uint32],
    first: int,
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    where: NDArray[np.int64],
) -> None:
    """Put words of narrow memory in flight, tile after tile."""
    for tile in tiles:
        for at in where:
            mesh[first] = words[tile, at]
            first += 1


@_compiled
def receive(
    mesh: NDArray[np.uint32],
    first: int,
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    where: NDArray[np.int64],
) -> None:
    """Store words in flight, which are in order, in narrow memory."""
    for tile in tiles:
        for at in where:
            words[tile, at] = mesh[first]
            first += 1


@_compiled
def fill(
    words: NDArray[np.uint32], tiles: NDArray[np.int64], where: NDArray[np.int64], pattern: int
) -> None:
    """Fill words of narrow memory."""
    for tile in tiles:
        for at in where:
            words[tile, at] = pattern


@_compiled
def gather(
    memory: NDArray[np.uint8],
    tiles: NDArray[np.int64],
    starts: NDArray[np.int64],
    run: int,
    values: NDArray[np.float32],
) -> None:
    """Convert ``run`` bytes from each of ``starts`` to float32: (tiles, starts x run)."""
    for position in range(len(tiles)):
        source = memory[tiles[position]]
        target = values[position]
        at = 0
        for start in starts:
            taken, put = source[start : start + run], target[at : at + run]
            for k in range(run):
                put[k] = np.float32(taken[k])
            at += run


@_compiled
def requantize(
    total: NDArray[Any],
    bias: NDArray[Any],
    multiplier: NDArray[np.float32],
    limits: NDArray[np.float32],
    words: NDArray[np.uint32],
    tiles: NDArray[np.int64],
    where: NDArray[np.int64],
) -> None:
    """Add biases, scale, round and store bytes.

    ``total`` is (tiles, sets, rows, values), ``bias`` and ``multiplier`` (sets, values); ``limits``
    are least, largest and zero point. ``where`` is (sets x rows, words): the words of a row follow
    each other from one, or each lies elsewhere; negative ones are not stored.
    """
    sets, rows, width = total.shape[1], total.shape[2], total.shape[3]
    row = np.empty(width, np.uint8)
    low, high, zero_point = limits[0], limits[1], limits[2]
    for position in range(len(tiles)):
        target = words[tiles[position]]
        for group in range(sets):
            constants, factors = bias[group], multiplier[group]
            for place in range(rows):
                sums = total[position, group, place]
                for k in range(width):
                    real = np.float32(sums[k] + constants[k]) * factors[k]
                    real = np.rint(min(max(real, low), high)) + zero_point
                    real = min(max(real, np.float32(0)), np.float32(255))
                    row[k] = np.uint8(np.int32(real))
                _store(target, where[group * rows + place], row.view(np.uint32))


@_compiled
def _store(target: NDArray[np.uint32], where: NDArray[np.int64], row: NDArray[np.uint32]) -> None:
    if len(where) == 1:
        target[where[0] : where[0] + len(row)] = row
        return
    for word in range(len(row)):
        if where[word] >= 0:
            target[where[word]] = row[word]


@_compiled
def depthwise(
    memory: NDArray[np.uint8],
    tiles: NDArray[np.int64],
    starts: NDArray[np.int64],
    weights: NDArray[np.float32],
    scales: NDArray[np.float32],
    limits: NDArray[np.float32],
    where: NDArray[np.int64],
) -> None:
    """Sum each channel by itself, tap by tap, and requantize, as `requantize` does.

    ``starts`` is (taps, rows, runs of a row), whose bytes follow each other; ``weights`` is (taps,
    values of a row). ``scales`` are biases and multipliers of a row, and ``where`` is (rows,
    words), as in `requantize`.
    """
    taps, width = weights.shape
    rows, runs = starts.shape[1], starts.shape[2]
    run = width // runs
    bias, multiplier = scales[0], scales[1]
    total = np.empty(width, np.float32)
    made = np.empty((rows, width), np.uint8)  # an op may write where it reads
    low, high, zero_point = limits[0], limits[1], limits[2]
    for tile in tiles:
        source = memory[tile]
        for place in range(rows):
            total[:] = 0
            for tap in range(taps):
                for index in range(runs):
                    start, at = starts[tap, place, index], index * run
                    taken = source[start : start + run]
                    sums, factors = total[at : at + run], weights[tap, at : at + run]
                    for k in range(run):
                        sums[k] += np.float32(taken[k]) * factors[k]
            row = made[place]
            for k in range(width):
                real = np.float32(total[k] + bias[k]) * multiplier[k]
                real = np.rint(min(max(real, low), high)) + zero_point
                real = min(max(real, np.float32(0)), np.float32(255))
                row[k] = np.uint8(np.int32(real))
        for place in range(rows):
            _store(source.view(np.uint32), where[place], made[place].view(np.uint32))
