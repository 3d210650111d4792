# SPDX-License-Identifier: Apache-2.0
"""The prepared weights of a multiply-accumulate step, and their products with activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RUN = 1024  # values that are computed at a time, about


@dataclass(frozen=True)
class Prepared:
    """Weights of a multiply-accumulate step."""

    kind: str  # "copy", "diagonal", "product"
    matrices: tuple[NDArray[Any], ...]  # splits along the reduction
    bounds: tuple[int, ...]  # where the splits end
    # (weight sets, channels), all added constants; float32 if that holds all sums with them
    bias: NDArray[Any]
    multiplier: NDArray[np.float32] | np.float32


def positions_of_run(positions: int, width: int) -> int:
    """How many positions of ``width`` values are computed together; it divides ``positions``.

    Loops over few values are slow, in numpy and in compiled code.
    """
    return max(k for k in range(1, max(_RUN // width, 1) + 1) if positions % k == 0)


def sum_products(values: NDArray[Any], prepared: Prepared) -> NDArray[Any]:
    """Return exact sums of products: (tiles, sets, positions, channels) without bias.

    ``values`` is (tiles, sets, positions, reduction), of any type.
    """
    start = 0
    total: NDArray[Any] | None = None
    for matrix, end in zip(prepared.matrices, prepared.bounds):
        factors = values[..., start:end].astype(matrix.dtype, copy=False)
        if len(matrix) == 1:  # one product of all tiles is faster than one for each
            part = factors.reshape(-1, end - start) @ matrix[0]
            part = part.reshape(*factors.shape[:-1], -1)
        else:
            part = np.matmul(factors, matrix)
        total = part if total is None else total.astype(np.float64) + part
        start = end
    return total if total is not None else np.zeros(0)
