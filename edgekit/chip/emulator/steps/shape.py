# SPDX-License-Identifier: Apache-2.0
"""The shape of an op's loop nest: sets of weights, positions that share them, the reduction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.emulator.nest import Nest
from edgekit.chip.isa.walks import product

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Shape:
    """Emissions split into those that change the weight rows and those that share them.

    The steps of an op are (weight sets, positions, reduction), and `emissions` (weight sets,
    positions) are places of emissions in program order.
    """

    sizes: tuple[int, int, int]
    axes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # of the nest's grid
    emissions: NDArray[np.int64]
    group: NDArray[np.int64]  # header set of each weight set
    used: NDArray[np.int32]  # weight row and lane: (weight sets, reduction)
    shares_input: bool  # every weight set reads the same activations
    # The steps as a list, if a partial last round leaves some out; None: all, in the order of axes.
    listed: NDArray[np.int64] | None = None
    # (weight sets, reduction): which steps are executed; None for all. Steps are left out only
    # if a partial last round shortens some sums and not others.
    there: NDArray[np.bool_] | None = None


def shape_of(nest: Nest, index: NDArray[np.int64]) -> Shape:
    """Split ``nest``; ``index`` is the weight row and lane of each step, over the nest's grid.

    Raises:
        EmulationError: A summed level lies above the level of the channel groups.
    """
    grid, level = nest.grid, nest.instruction["group_level"]
    emitting = [axis for axis, of in enumerate(grid.levels) if of not in nest.reduced]
    reduced = tuple(axis for axis, of in enumerate(grid.levels) if of in nest.reduced)
    grouped = nest.groups > 1
    if grouped and any(k >= level for k in nest.reduced):
        raise nest.stop("a reduced level above the group level", "group_level")
    cut = nest.valid is not None
    varies = [
        cut or _changes(index, axis) or (grouped and grid.levels[axis] >= level)
        for axis in emitting
    ]
    first = tuple(axis for axis, flag in zip(emitting, varies) if flag)
    rest = tuple(axis for axis, flag in zip(emitting, varies) if not flag)
    sets, positions, taps = (
        product([grid.sizes[axis] for axis in axes]) for axes in (first, rest, reduced)
    )
    numbers = np.arange(sets * positions).reshape([grid.sizes[axis] for axis in emitting])
    places = [emitting.index(axis) for axis in (*first, *rest)]
    emissions = numbers.transpose(places).reshape(sets, positions)
    group = _groups(nest, first, level)
    sizes, listed, there = (sets, positions, taps), None, None
    if nest.valid is not None:
        order = np.arange(grid.num_steps).reshape(grid.sizes).transpose(*first, *rest, *reduced)
        listed, emissions, group, there = _cut(nest.valid, order.reshape(sizes), emissions, group)
        used = grid.full(index)[listed[:, 0]]
        sizes = listed.shape
    else:
        used = _over(index, grid.sizes, first, reduced).reshape(sets, taps)
    shares = sizes[0] > 1 and _shares_input(nest, first, listed)
    return Shape(
        sizes,
        (first, rest, reduced),
        emissions,
        group,
        used.astype(np.int32),
        shares,
        listed,
        there,
    )


def _changes(index: NDArray[np.int64], axis: int) -> bool:
    return index.shape[axis] > 1 and bool((index != index.take([0], axis=axis)).any())


def _over(
    index: NDArray[np.int64],
    sizes: tuple[int, ...],
    outer: tuple[int, ...],
    inner: tuple[int, ...],
) -> NDArray[np.int64]:
    """The values along the axes ``outer`` and ``inner``, at the first place of all others."""
    kept = outer + inner
    there = [size if axis in kept else 1 for axis, size in enumerate(sizes)]
    first = tuple(slice(None) if axis in kept else slice(0, 1) for axis in range(len(sizes)))
    others = [axis for axis in range(len(sizes)) if axis not in kept]
    whole: NDArray[np.int64] = np.broadcast_to(index[first], there)
    return whole.transpose(*others, *outer, *inner)


def _shares_input(nest: Nest, first: tuple[int, ...], listed: NDArray[np.int64] | None) -> bool:
    if listed is None and not nest.chunked:
        return nest.activations.equal_along(first)
    steps = nest.ordered(first) if listed is None else listed
    activations = nest.in_addresses[steps] * (nest.num_chunks + 1)
    if nest.chunked:
        activations += nest.chunk_of[steps]
    return bool((activations == activations[:1]).all())


def _groups(nest: Nest, axes: tuple[int, ...], level: int) -> NDArray[np.int64]:
    """The header set of each weight set: its levels from ``level`` on, flattened."""
    sizes = [nest.grid.sizes[axis] for axis in axes]
    if nest.groups <= 1:
        return np.broadcast_to(np.int64(0), (product(sizes),))
    group = np.zeros(sizes or [1], np.int64)
    weight = 1
    for position in reversed(range(len(axes))):
        if nest.grid.levels[axes[position]] >= level:
            along = np.arange(sizes[position]) * weight
            group += along.reshape([-1 if i == position else 1 for i in range(len(sizes))])
            weight *= sizes[position]
    return group.reshape(-1)


def _cut(
    valid: NDArray[np.bool_],
    order: NDArray[np.int64],
    emissions: NDArray[np.int64],
    group: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_] | None]:
    """Leave out steps of a partial last round: the same of each sum, whole sums, or of some."""
    there = np.asarray(valid[order])[:, 0]  # (sets, reduction)
    if (there == there[:1]).all():
        return order[..., there[0]], emissions, group, None
    whole = np.asarray(there.all(axis=1))
    if not np.array_equal(whole, there.any(axis=1)):
        return order, emissions, group, there
    order, group = order[whole], group[whole]
    rank = np.argsort(np.argsort(emissions[whole].reshape(-1)))
    return order, rank.reshape(-1, 1), group, None
