# SPDX-License-Identifier: Apache-2.0
"""The non-linear unit: eight quartic polynomials, loaded by one instruction and used by ops.

Segment s covers the values from breakpoint s - 1 up to breakpoint s. Range reduction
scales the argument by powers of 4 into [1, 4), and the result by powers of 1/2. Only the table of
1/sqrt uses it.

Source: tinycoral, docs/isa/eltwise.md, for the table. The range reduction and 16-bit results were
found by comparing softmaxes of the corpus with TensorFlow Lite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.isa.decode import Instruction

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEGMENTS, COEFFICIENTS = 8, 5
MODE = 3  # the mode of every proven table
# Field ``nlu`` of an op.
APPLY, REDUCE_RANGE, WIDE = 1, 2, 4
ODD = 3  # field ``odd`` of an op with a table of tanh


class Spline:
    """A table: polynomials (``SEGMENTS``, ``COEFFICIENTS``), constant first, and breakpoints."""

    def __init__(self, coefficients: NDArray[np.float32], breaks: NDArray[np.float32]) -> None:
        self.coefficients, self.breaks = coefficients, breaks

    @classmethod
    def loaded_by(cls, instruction: Instruction) -> Spline:
        """The table of an ``nlu.load``."""
        count = SEGMENTS * COEFFICIENTS
        bits = np.array([instruction[f"c{k}"] for k in range(count)], np.uint32)
        breaks = np.array([instruction[f"b{k}"] for k in range(SEGMENTS - 1)], np.uint32)
        return cls(bits.view(np.float32).reshape(SEGMENTS, COEFFICIENTS), breaks.view(np.float32))

    def times(self, factor: np.float32) -> Spline:
        """The table whose values are ``factor`` times as large, as Google's compiler makes it."""
        return Spline(self.coefficients * factor, self.breaks)

    def __call__(self, real: NDArray[np.float32]) -> NDArray[np.float32]:
        """The value at each argument, by Horner's rule in float32."""
        segment = np.searchsorted(self.breaks, real, side="right")
        value = self.coefficients[segment, COEFFICIENTS - 1]
        for power in range(COEFFICIENTS - 2, -1, -1):
            value = value * real + self.coefficients[segment, power]
        return np.asarray(value, np.float32)

    def odd(self, real: NDArray[np.float32]) -> NDArray[np.float32]:
        """The value of an odd function whose table begins at 0."""
        return np.asarray(np.copysign(self(np.abs(real)), real), np.float32)

    def reduced(self, real: NDArray[np.float32]) -> NDArray[np.float32]:
        """Like `__call__`, with the argument scaled into [1, 4)."""
        _, exponent = np.frexp(np.maximum(real, np.finfo(np.float32).tiny))
        halves = (exponent - 1) >> 1
        inside = np.ldexp(real, -2 * halves).astype(np.float32)
        return np.asarray(np.ldexp(self(inside), -halves), np.float32)
