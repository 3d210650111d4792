# SPDX-License-Identifier: Apache-2.0
"""Exact sums of products by floating-point matrix products.

An integer below 2^24 is exact in float32, so a product of matrices is exact in any order of
summation, fused or not, if no sum of magnitudes reaches 2^24. A matrix whose sums are larger is cut
in parts along the summed dimension, and the parts are added in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT_FLOAT32 = 1 << 24


class Matrix:
    """Weights (length, channels) and a bias: sums for values of at most ``largest``."""

    def __init__(self, weights: NDArray[np.float32], bias: NDArray[np.int64], largest: int) -> None:
        magnitudes = np.abs(weights).sum(0, dtype=np.float64) * largest
        self.bias = bias.astype(np.float64)
        number = int(magnitudes.max(initial=0)) // EXACT_FLOAT32 + 1
        self.parts = np.array_split(weights, number)
        while number > 1 and max(_bound(part, largest) for part in self.parts) >= EXACT_FLOAT32:
            number += 1  # one row is always exact: 255 * 255 < 2^24
            self.parts = np.array_split(weights, number)
        total = float((magnitudes + np.abs(self.bias)).max(initial=0))
        self.is_float32 = number == 1 and total < EXACT_FLOAT32
        if self.is_float32:
            self.bias = self.bias.astype(np.float32)

    def sums(self, values: NDArray[np.float32]) -> NDArray[np.float32] | NDArray[np.float64]:
        """Return ``values @ weights + bias``, exact."""
        if self.is_float32:
            single = values @ self.parts[0]
            single += self.bias
            return single
        total = np.zeros((len(values), self.parts[0].shape[1]))
        start = 0
        for part in self.parts:
            total += values[:, start : start + len(part)] @ part
            start += len(part)
        total += self.bias
        return total


def _bound(weights: NDArray[np.float32], largest: int) -> float:
    return float(np.abs(weights).sum(0, dtype=np.float64).max(initial=0)) * largest
