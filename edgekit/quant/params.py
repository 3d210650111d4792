# SPDX-License-Identifier: Apache-2.0
"""Per-tensor quantization parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgekit.errors import QuantizationError


@dataclass(frozen=True)
class QuantParams:
    """``real = scale * (q - zero_point)``, with ``q`` of the integer type ``dtype`` ("uint8")."""

    scale: float
    zero_point: int
    dtype: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise QuantizationError(f"scale is {self.scale}, expected a finite number above 0")
        if np.dtype(self.dtype).kind not in "iu":
            raise QuantizationError(f"dtype is {self.dtype}, expected an integer type")
        if not self.q_min <= self.zero_point <= self.q_max:
            raise QuantizationError(
                f"zero point is {self.zero_point}, expected {self.q_min} to {self.q_max}"
            )

    @property
    def q_min(self) -> int:
        """The lowest value of ``dtype``."""
        return int(np.iinfo(self.dtype).min)

    @property
    def q_max(self) -> int:
        """The highest value of ``dtype``."""
        return int(np.iinfo(self.dtype).max)

    @property
    def real_min(self) -> float:
        """The lowest real value that does not saturate."""
        return self.scale * (self.q_min - self.zero_point)

    @property
    def real_max(self) -> float:
        """The highest real value that does not saturate."""
        return self.scale * (self.q_max - self.zero_point)
