# SPDX-License-Identifier: Apache-2.0
"""Many pixels that are not real values yet: each of 256 will become one of 256 numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Pixels:
    """uint8 values of any shape, samples first, and the real number that each value stands for.

    numpy makes real numbers of it when asked (``np.asarray``). Who wants integers again, as a
    quantized input does, maps the 256 numbers once instead of all the pixels.
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
        """How many values there are."""
        return self.values.size

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Pixels:
        return Pixels(self.values[rows], self.table)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401
        del copy  # a new array in any case
        real = self.table.take(self.values)
        return real if dtype is None else real.astype(dtype, copy=False)
