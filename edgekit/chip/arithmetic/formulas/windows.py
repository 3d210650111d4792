# SPDX-License-Identifier: Apache-2.0
"""Sliding windows over an image: where they lie, and their values, some rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from edgekit.formats.tflite import Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1 << 21  # values of windows at a time: 8 MiB of float32


@dataclass(frozen=True)
class Axis:
    """The windows along the height or the width of an image."""

    size: int
    length: int  # of the image
    stride: int = 1
    dilation: int = 1
    before: int = 0  # padding
    after: int = 0

    @property
    def reach(self) -> int:
        """Pixels from a window's first to its last one, both included."""
        return (self.size - 1) * self.dilation + 1

    @property
    def number(self) -> int:
        """How many windows there are."""
        return (self.before + self.length + self.after - self.reach) // self.stride + 1

    def counts(self) -> NDArray[np.int64]:
        """How many pixels of each window lie inside of the image."""
        first = np.arange(self.number)[:, None] * self.stride - self.before
        place = first + np.arange(self.size) * self.dilation
        return np.asarray(((place >= 0) & (place < self.length)).sum(1))


def axes_of(operator: Operator, shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[Axis, Axis]:
    """The windows of a convolution or pool over an image of ``shape``, NHWC."""
    options = operator.options
    axes = []
    for k, name in enumerate(("h", "w")):
        stride = options[f"stride_{name}"]
        dilation = options.get(f"dilation_{name}_factor", 1)
        axis = Axis(size[k], shape[1 + k], stride, dilation)
        if options["padding"] == "SAME":
            number = -(-axis.length // stride)
            missing = max((number - 1) * stride + axis.reach - axis.length, 0)
            before, after = missing // 2, missing - missing // 2
            axis = Axis(axis.size, axis.length, stride, dilation, before, after)
        axes.append(axis)
    return axes[0], axes[1]


def windows(
    image: NDArray[Any], rows: Axis, columns: Axis, *, zero_point: int, outside: int = 0
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the windows of an image, values minus ``zero_point``: (first row, windows).

    ``image`` is (height, width, channels); windows are (rows, columns, window height, window width,
    channels), a read-only view. ``outside`` is the value around the image.
    """
    height, width, channels = image.shape
    padded_width = columns.before + width + columns.after
    per_row = columns.number * rows.size * columns.size * channels
    step = min(max(1, _CHUNK // max(per_row, 1)), max(rows.number, 1))
    for first in range(0, rows.number, step):
        last = min(first + step, rows.number)
        top = first * rows.stride - rows.before
        part = np.full(
            ((last - first - 1) * rows.stride + rows.reach, padded_width, channels),
            outside,
            np.float32,
        )
        start, end = max(top, 0), min(top + len(part), height)
        if end > start:
            inside = part[start - top : end - top, columns.before : columns.before + width]
            np.subtract(image[start:end], np.float32(zero_point), out=inside, dtype=np.float32)
        y, x, channel = part.strides
        yield (
            first,
            np.lib.stride_tricks.as_strided(
                part,
                (last - first, columns.number, rows.size, columns.size, channels),
                (rows.stride * y, columns.stride * x, rows.dilation * y, columns.dilation * x,
                 channel),
                writeable=False,
            ),
        )  # fmt: skip
