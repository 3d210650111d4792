# SPDX-License-Identifier: Apache-2.0
"""Pixels with a table that maps each of the 256 values to a real number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pixels:
    """uint8 values of any shape, samples first, and the real number for each value.

    ``np.asarray`` converts it to real numbers. Code that needs integers again, for a quantized
    input, converts the 256 numbers once instead of all the pixels.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, values: NDArray[np.uint8], table: NDArray[np.float32]) -> None:
        """``table`` has shape (256,); neither array is copied."""
        self.values, self.table = values, table

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.values.shape

    @property
    def size(self) -> int:
        """The number of values."""
        return self.values.size

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Pixels:
        return Pixels(self.values[rows], self.table)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401
        del copy  # a new array in any case
        real = self.table.take(self.values)
        return real if dtype is None else real.astype(dtype, copy=False)
