# SPDX-License-Identifier: Apache-2.0
"""Functions of one value that the non-linear unit computes: a clamp, then a spline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.chip.arithmetic.spline import APPLY, ODD, REDUCE_RANGE, Spline
from edgekit.chip.arithmetic.tables import (
    HARD_SWISH,
    LOGISTIC,
    LOGISTIC_LIMIT,
    RSQRT,
    TANH,
    TANH_LIMIT,
)
from edgekit.chip.codegen.nests import Fields


@dataclass(frozen=True)
class Function:
    """A table for an output scale of 1, the clamp before it, and how an op uses it."""

    spline: Spline
    low: float
    high: float
    fields: Fields

    def table(self, output_scale: float) -> Spline:
        """The table for an output scale."""
        return self.spline.times(np.float32(1) / np.float32(output_scale))


_PLAIN: Fields = {"nlu": APPLY}
_SMALLEST = 2.0**-40  # whose 1/sqrt no output scale of a network can store

FUNCTIONS = {
    "LOGISTIC": Function(LOGISTIC, -float(LOGISTIC_LIMIT), float(LOGISTIC_LIMIT), _PLAIN),
    "TANH": Function(TANH, -float(TANH_LIMIT), float(TANH_LIMIT), {"nlu": APPLY, "odd": ODD}),
    "HARD_SWISH": Function(HARD_SWISH, -np.inf, np.inf, _PLAIN),
    "RSQRT": Function(RSQRT, _SMALLEST, np.inf, {"nlu": APPLY | REDUCE_RANGE}),
}
