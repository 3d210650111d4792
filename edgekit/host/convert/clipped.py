# SPDX-License-Identifier: Apache-2.0
"""Whether calibration samples were clipped: many values are exactly the lowest or the highest one.

If the samples of real use are not clipped, the int8 model cuts off all that is outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of the values, at each end. Values clipped at 2 deviations have 2.3 % there. A floor alone, as of
# decibels or of what a ReLU returns, is not clipping, and neither are flags: see `_LEAST_OTHERS`.
_LEAST_SHARE = 0.025
_LEAST_OTHERS = 64  # different values between the ends, of real numbers
_MOST_KEPT = 4096
_MOST_SCALED = 1.5  # values at an end, on average, of samples that were scaled one by one


@dataclass
class _End:
    """How many values are equal to the highest one so far, and in how many samples."""

    value: float = -np.inf
    count: int = 0
    samples: int = 0

    def add(self, value: float, count: int) -> None:
        if value > self.value:
            self.value, self.count, self.samples = value, 0, 0
        if value == self.value:
            self.count += count
            self.samples += 1


@dataclass
class ClippedValues:
    """Counts the values of one input at the ends of its range, sample by sample."""

    _low: _End = field(default_factory=_End)  # of the negative values
    _high: _End = field(default_factory=_End)
    _total: int = 0
    _samples: int = 0
    _others: set[float] = field(default_factory=set)

    def add(self, values: NDArray[Any]) -> None:
        """Add the values of a sample, none of them NaN."""
        low, high = float(values.min()), float(values.max())
        self._low.add(-low, int((values == low).sum()))
        self._high.add(high, int((values == high).sum()))
        self._total += values.size
        self._samples += 1
        if len(self._others) < _MOST_KEPT:
            self._others.update(values.reshape(-1)[:_MOST_KEPT].tolist())

    @property
    def limits(self) -> tuple[float, float] | None:
        """The values at which the samples were clipped; None if they were not.

        Samples that all reach both ends, mostly with one value, were scaled one by one.
        """
        ends = (self._low, self._high)
        least = _LEAST_SHARE * self._total
        is_scaled = all(
            each.samples == self._samples and each.count < _MOST_SCALED * each.samples
            for each in ends
        )
        if (
            is_scaled
            or len(self._others) < _LEAST_OTHERS
            or any(each.count < least for each in ends)
        ):
            return None
        return -self._low.value, self._high.value
