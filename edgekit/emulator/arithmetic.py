# SPDX-License-Identifier: Apache-2.0
"""What happens to an accumulator on its way out of the multiply-accumulate array.

``y = round_half_even(clamp(float32(acc) * mult)) + zero point``, every step in float32. An exact
sum is computed in float32 matrix products where its bound proves that they are exact (every
partial sum below 2^24), else in float64.

Source: tinycoral, docs/isa/op.md and eltwise.md; checked value for value, see the table of models
in docs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT_FLOAT32 = 1 << 24  # integers up to here are exact in float32


@dataclass(frozen=True)
class Requantization:
    """The output stage of an op: scalar where the instruction gives it, else one a channel."""

    clamp_min: np.float32
    clamp_max: np.float32
    zero_point: int

    def apply(
        self, accumulator: NDArray[Any], multiplier: NDArray[np.float32] | np.float32
    ) -> NDArray[np.uint8]:
        """Exact sums (float32 or float64, bias included) to the bytes that are stored."""
        real = self.real(accumulator, multiplier)
        np.rint(real, out=real)
        if self.zero_point:
            real += np.float32(self.zero_point)
        if self.clamp_min + self.zero_point < 0 or self.clamp_max + self.zero_point > 255:
            np.clip(real, 0, 255, out=real)
        return real.astype(np.uint8)

    def real(
        self, accumulator: NDArray[Any], multiplier: NDArray[np.float32] | np.float32
    ) -> NDArray[np.float32]:
        """The clamped float32 values before they are rounded."""
        real = accumulator.astype(np.float32, copy=False)
        real = np.multiply(real, multiplier, out=real if real is accumulator else None)
        if self.clamp_min > -np.inf or self.clamp_max < np.inf:
            np.clip(real, self.clamp_min, self.clamp_max, out=real)
        return real


def split_sums(bound: float) -> type:
    """The type whose matrix product is exact for sums up to ``bound``."""
    return np.float32 if bound < EXACT_FLOAT32 else np.float64
