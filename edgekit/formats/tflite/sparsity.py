# SPDX-License-Identifier: Apache-2.0
"""Sparse constants (stored without zeros): the table with the place of each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.errors import ModelFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# schema.fbs, union SparseIndexVector: the width of the stored indices.
SPARSE_INDEX_VECTORS = {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"}
_FIX = "export or copy the file again"


@dataclass(frozen=True)
class SparseDimension:
    """One level of the storage: ``dense_size`` positions, or those of ``indices`` (CSR).

    ``segments`` has one entry more than the level above has positions: position p has the indices
    ``indices[segments[p]:segments[p + 1]]``.
    """

    is_sparse: bool
    dense_size: int = 0
    segments: tuple[int, ...] = ()
    indices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sparsity:
    """The storage of a sparse constant, as in schema.fbs (table SparsityParameters).

    The n dimensions of the shape, divided into blocks along those that ``block_map`` names, give
    n + len(block_map) levels; ``traversal_order`` is the order in which they are stored.
    """

    traversal_order: tuple[int, ...]
    block_map: tuple[int, ...] = ()
    dimensions: tuple[SparseDimension, ...] = ()

    def check(self, shape: Sequence[int], num_values: int, where: str) -> None:
        """Check that the table fits a constant of ``shape`` with ``num_values`` stored values.

        Raises:
            ModelFormatError: The table does not fit.
        """
        rank, blocks = len(shape), len(self.block_map)
        levels = list(range(rank + blocks))
        order = list(self.traversal_order)
        _require(sorted(order) == levels, f"its order is {order}", where)
        _require(order[rank:] == levels[rank:], "its blocks are not last", where)
        _require(
            len(self.dimensions) == rank + blocks, f"it has {len(self.dimensions)} levels", where
        )
        _require(
            len(set(self.block_map)) == blocks
            and all(0 <= dimension < rank for dimension in self.block_map),
            f"its block map is {list(self.block_map)}",
            where,
        )
        sizes = self._block_sizes(rank)
        _require(
            all(size > 0 and shape[d] % size == 0 for d, size in sizes.items()),
            f"its blocks {sizes} do not divide the shape {list(shape)}",
            where,
        )
        positions = 1
        for level, dimension in zip(order, self.dimensions):
            expected = sizes[self.block_map[level - rank]] if level >= rank else 0
            if level < rank:
                expected = shape[level] // sizes.get(level, 1)
            positions = _check_level(dimension, positions, expected, where)
        _require(
            positions == num_values,
            f"it places {positions} values, but {num_values} are stored",
            where,
        )

    def dense(self, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the dense constant in ``shape``, from values that `check` has passed.

        Source:
            tensorflow/lite/kernels/internal/utils/sparsity_format_converter.cc.
        """
        rank = len(shape)
        sizes = self._block_sizes(rank)
        strides = _strides(shape)
        place = np.zeros(
            1, np.int64
        )  # the index in the flat dense array of each position of this level
        for level, dimension in zip(self.traversal_order, self.dimensions):
            if level < rank:
                step = strides[level] * sizes.get(level, 1)
            else:
                step = strides[self.block_map[level - rank]]
            if dimension.is_sparse:
                segments = np.asarray(dimension.segments, np.int64)
                place = np.repeat(place, segments[1:] - segments[:-1])
                place = place + step * np.asarray(dimension.indices, np.int64)
            else:
                place = (place[:, None] + step * np.arange(dimension.dense_size)).ravel()
        whole = np.zeros(int(np.prod(shape, dtype=np.int64)), values.dtype)
        whole[place] = values
        return whole.reshape(shape)

    def _block_sizes(self, rank: int) -> dict[int, int]:
        """Return dimension -> the size of its blocks, which are stored densely after all others."""
        blocks = self.dimensions[rank:]
        return {dimension: each.dense_size for dimension, each in zip(self.block_map, blocks)}


def _check_level(dimension: SparseDimension, positions: int, size: int, where: str) -> int:
    """Return the number of positions below this level of ``size``."""
    if not dimension.is_sparse:
        _require(
            dimension.dense_size == size,
            f"a level has size {dimension.dense_size}, not {size}",
            where,
        )
        return positions * size
    segments, indices = np.asarray(dimension.segments), np.asarray(dimension.indices)
    _require(
        len(segments) == positions + 1
        and segments[0] == 0
        and segments[-1] == len(indices)
        and bool((np.diff(segments) >= 0).all()),
        f"a level does not divide its {len(indices)} indices among {positions} positions",
        where,
    )
    _require(
        not len(indices) or (indices.min() >= 0 and indices.max() < size),
        f"an index is outside its dimension of size {size}",
        where,
    )
    return len(indices)


def _strides(shape: Sequence[int]) -> list[int]:
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * shape[axis + 1]
    return strides


def _require(holds: bool, what: str, where: str) -> None:
    if not holds:
        raise ModelFormatError(
            f"the model is damaged: a table of a sparse constant is wrong: {what}",
            where=where,
            fix=_FIX,
        )
