# SPDX-License-Identifier: Apache-2.0
"""The steps of an op's loop nest as a grid, on whose axes its address walks are straight.

A walk has counts of its own; only the order of its steps connects it with the op's loops. Where
the counts divide each other, there are axes that all nests have in common, and a walk has one
stride along each of them. An array over the steps then needs only the axes along which it changes,
and addresses in any order of the axes are computed without a list of all steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.isa.limits import check_memory
from edgekit.chip.isa.walks import STEP_BYTES, Walk, product

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """The axes of the steps, outermost first; those of size 1 are left out."""

    sizes: tuple[int, ...]
    levels: tuple[int, ...]  # of the op's loops, one for each axis

    @property
    def num_steps(self) -> int:
        """The number of steps."""
        return product(self.sizes)

    def index(self, axes: Sequence[int]) -> NDArray[np.int64]:
        """Number the places along ``axes`` in order; all other axes have size 1."""
        sizes = [size if axis in axes else 1 for axis, size in enumerate(self.sizes)]
        return np.arange(product(sizes)).reshape(sizes)

    def full(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the value of every step, in order, of an array that may lack axes."""
        return np.asarray(np.broadcast_to(values, self.sizes).reshape(-1))


def common_grid(loops: Sequence[int], walks: Sequence[Walk]) -> Grid:
    """Return the grid of ``loops``, divided further where that makes ``walks`` straight."""
    own = _ends(loops)
    ends = sorted(set(own).union(*(_ends(walk.counts) for walk in walks)))
    if ends[-1] != own[-1] or any(end % start for start, end in zip(ends, ends[1:])):
        ends = sorted(set(own))
    sizes = [end // start for start, end in zip(ends, ends[1:])]
    levels = [max(k for k, before in enumerate(own[:-1]) if before <= start) for start in ends[:-1]]
    return Grid(tuple(sizes[::-1]), tuple(levels[::-1]))


def _ends(counts: Sequence[int]) -> list[int]:
    """The steps after which each level begins anew, innermost first, and all steps."""
    ends = [1]
    for count in counts:
        ends.append(ends[-1] * count)
    return ends


@dataclass(frozen=True)
class Addresses:
    """The address of each step of a grid: straight, or listed in an array over its axes."""

    grid: Grid
    base: int
    strides: tuple[int, ...]  # along each axis
    listed: NDArray[np.int64] | None = None

    def values(self) -> NDArray[np.int64]:
        """Return the addresses over the axes; an axis along which they are equal has size 1."""
        if self.listed is not None:
            return self.listed
        axes = [axis for axis, stride in enumerate(self.strides) if stride]
        sizes = [self.grid.sizes[axis] if axis in axes else 1 for axis in range(len(self.strides))]
        return self.along(axes).reshape(sizes)

    def along(self, axes: Sequence[int], unit: int = 1) -> NDArray[np.int64]:
        """Return the addresses of the steps along ``axes`` in this order, as one list.

        The place along all other axes is the first. Addresses are counted in ``unit`` bytes.
        """
        if self.listed is not None:
            rest = [axis for axis in range(len(self.grid.sizes)) if axis not in axes]
            whole = np.broadcast_to(self.listed, self.grid.sizes).transpose(*rest, *axes)
            return np.asarray(whole[(0,) * len(rest)].reshape(-1) // unit)
        address = np.array([self.base // unit], np.int64)
        for axis in reversed(axes):
            steps = np.arange(self.grid.sizes[axis], dtype=np.int64) * (self.strides[axis] // unit)
            address = (steps[:, None] + address).reshape(-1)
        return address

    def equal_along(self, axes: Sequence[int]) -> bool:
        """Whether no step along ``axes`` changes the address."""
        if self.listed is None:
            return not any(self.strides[axis] for axis in axes)
        return all(
            self.listed.shape[axis] == 1
            or bool((self.listed == self.listed.take([0], axis=axis)).all())
            for axis in axes
        )

    def multiples_of(self, unit: int) -> bool:
        """Whether every address is a multiple of ``unit``."""
        if self.listed is None:
            return not self.base % unit and not any(stride % unit for stride in self.strides)
        return not (self.listed % unit).any()


def straight(grid: Grid, walk: Walk) -> Addresses | None:
    """Return the addresses of a walk with as many steps as the grid; None if it bends on an axis.

    Raises:
        EmulationError: The machine has no memory for so many.
    """
    check_memory(walk.num_steps, STEP_BYTES, "steps in a walk", walk.where)
    strides: list[int] = []
    level = 0
    inside = 1  # steps of the level that the axes so far make up
    for size in reversed(grid.sizes):
        while inside == walk.counts[level]:
            level, inside = level + 1, 1
        if walk.counts[level] % (inside * size):
            return None
        strides.append(walk.strides[level] * inside)
        inside *= size
    return Addresses(grid, walk.base, tuple(strides[::-1]))
