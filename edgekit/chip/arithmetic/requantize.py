# SPDX-License-Identifier: Apache-2.0
"""The output stage of the multiply-accumulate array: from accumulators to stored bytes.

``y = round_half_even(clamp(float32(acc) * mult)) + zero point``, every step in float32, with the
non-linear unit between clamp and rounding if an op uses it.

Source: tinycoral, docs/isa/op.md and eltwise.md; checked value for value, see the table of models
in docs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.chip.arithmetic.spline import APPLY, REDUCE_RANGE, WIDE, Spline

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT_FLOAT32 = 1 << 24  # integers up to here are exact in float32


@dataclass(frozen=True)
class Requantization:
    """The output stage of an op."""

    clamp_min: np.float32
    clamp_max: np.float32
    zero_point: int
    nlu: int = 0
    spline: Spline | None = None
    is_odd: bool = False

    @property
    def value_bytes(self) -> int:
        """Bytes of one stored value."""
        return 2 if self.nlu & WIDE else 1

    def apply(
        self, accumulator: NDArray[Any], multiplier: NDArray[np.float32] | np.float32
    ) -> NDArray[np.uint8]:
        """Convert exact sums (float32 or float64, bias included) to the bytes that are stored."""
        real = accumulator.astype(np.float32, copy=False)
        real = np.multiply(real, multiplier, out=real if real is accumulator else None)
        if self.clamp_min > -np.inf or self.clamp_max < np.inf:
            np.clip(real, self.clamp_min, self.clamp_max, out=real)
        if self.spline is not None and self.nlu & APPLY:
            real = self._looked_up(self.spline, real)
        np.rint(real, out=real)
        if self.zero_point:
            real += np.float32(self.zero_point)
        highest = 65535 if self.nlu & WIDE else 255
        bounded = self.spline is None and (
            self.clamp_min + self.zero_point >= 0 and self.clamp_max + self.zero_point <= highest
        )
        if not bounded:
            np.clip(real, 0, highest, out=real)
        return real.astype(np.uint16).view(np.uint8) if self.nlu & WIDE else real.astype(np.uint8)

    def _looked_up(self, spline: Spline, real: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.is_odd:
            return spline.odd(real)
        return spline.reduced(real) if self.nlu & REDUCE_RANGE else spline(real)
