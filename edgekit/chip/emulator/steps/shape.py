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

    ``order`` maps (weight sets, positions, reduction) to steps, ``emissions`` (weight sets,
    positions) to emissions in program order.
    """

    order: NDArray[np.int64]
    emissions: NDArray[np.int64]
    group: NDArray[np.int64]  # header set of each weight set
    shares_input: bool  # every weight set reads the same activations
    # (weight sets, reduction): which steps are executed; None for all. Steps are left out only
    # if a partial last round shortens some sums and not others.
    there: NDArray[np.bool_] | None = None


def shape_of(nest: Nest, index: NDArray[np.int64]) -> Shape:
    """Split ``nest``; ``index`` is the weight row and lane of each step.

    Raises:
        EmulationError: A summed level lies above the level of the channel groups.
    """
    axes = [7 - k for k in reversed(nest.emitting)]
    reduced = [7 - k for k in reversed(nest.reduced)]
    single = [axis for axis in range(8) if axis not in axes and axis not in reduced]
    sizes = [nest.loops[7 - axis] for axis in axes]
    steps = np.arange(nest.steps).reshape(nest.loops[::-1]).transpose(*axes, *reduced, *single)
    steps = steps.reshape(*sizes, -1)
    level = nest.instruction["group_level"]
    grouped = nest.groups > 1
    if grouped and any(k >= level for k in nest.reduced):
        raise nest.stop("a reduced level above the group level", "group_level")
    used = index[steps]
    cut = nest.valid is not None
    varies = [
        cut or bool((used != used.take([0], axis=i)).any()) or (grouped and 7 - axis >= level)
        for i, axis in enumerate(axes)
    ]
    first = [i for i, flag in enumerate(varies) if flag]
    rest = [i for i, flag in enumerate(varies) if not flag]
    sets = int(np.prod([sizes[i] for i in first], dtype=np.int64))
    order = steps.transpose(*first, *rest, len(axes)).reshape(sets, -1, steps.shape[-1])
    emissions = np.arange(int(np.prod(sizes, dtype=np.int64))).reshape(sizes)
    emissions = emissions.transpose(*first, *rest).reshape(sets, -1)
    group = _groups(nest, [axes[i] for i in first], [sizes[i] for i in first], level)
    there = None
    if nest.valid is not None:
        order, emissions, group, there = _cut(nest.valid, order, emissions, group)
    activations = nest.in_addresses[order] * (nest.num_chunks + 1) + nest.chunk_of[order]
    shares = bool(len(order) > 1 and (activations == activations[:1]).all())
    return Shape(order, emissions, group, shares, there)


def _groups(nest: Nest, axes: list[int], sizes: list[int], level: int) -> NDArray[np.int64]:
    """The header set of each weight set: its levels from ``level`` on, flattened."""
    if nest.groups <= 1:
        return np.broadcast_to(np.int64(0), (product(sizes),))
    group = np.zeros(sizes or [1], np.int64)
    weight = 1
    for position in reversed(range(len(axes))):
        if 7 - axes[position] >= level:
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
