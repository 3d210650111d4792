# SPDX-License-Identifier: Apache-2.0
"""torchvision's bilinear and bicubic of tensors, which average pixels when they shrink an image.

For PIL images torchvision uses Pillow's filters. ``Resize`` of real tensors, and version 1's of
bytes, does not round or cut between its two passes, as Pillow does; version 2's ``Resize`` of bytes
does, with weights of fewer bits.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

Kernel = Callable[[NDArray[Any]], NDArray[Any]]

_SLOPE = -0.5  # of the cubic at distance 1; -0.75 without antialias
# Pixels on either side; output pixels if the image becomes smaller.
_LINEAR_REACH, _CUBIC_REACH = 1, 2
_MOST_BITS, _INT16 = 22, 1 << 15


def linear_weights(
    num_in: int, num_out: int, start: float, length: float
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return places and weights, both (num_out, taps), for ``num_out`` pixels from ``length``."""
    return _weights(num_in, num_out, start, length, _linear, _LINEAR_REACH)


def cubic_weights(
    num_in: int, num_out: int, start: float, length: float
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return places and weights, both (num_out, taps), for ``num_out`` pixels from ``length``."""
    return _weights(num_in, num_out, start, length, _cubic, _CUBIC_REACH)


def _weights(
    num_in: int, num_out: int, start: float, length: float, kernel: Kernel, reach: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the same as its two callers, for a ``kernel`` that is 0 beyond ``reach``.

    Source:
        pytorch/aten/src/ATen/native/cpu/UpSampleKernel.cpp, _compute_indices_min_size_weights_aa.
    """
    scale = length / num_out
    width = max(scale, 1.0)
    centre = (start + (np.arange(num_out) + 0.5) * scale)[:, None]
    low = np.maximum(0, np.floor(centre - reach * width + 0.5))
    high = np.minimum(num_in, np.floor(centre + reach * width + 0.5))
    index = low + np.arange(int((high - low).max()))
    weight = np.where(index < high, kernel((index - centre + 0.5) / width), 0)
    weight /= weight.sum(1, keepdims=True)
    return np.minimum(index, num_in - 1).astype(np.intp), weight.astype(np.float32)


def _linear(distance: NDArray[Any]) -> NDArray[Any]:
    weight: NDArray[Any] = np.maximum(0, 1 - np.abs(distance))
    return weight


def _cubic(distance: NDArray[Any]) -> NDArray[Any]:
    x = np.abs(distance)
    near = ((_SLOPE + 2) * x - (_SLOPE + 3)) * x * x + 1
    far = ((_SLOPE * x - 5 * _SLOPE) * x + 8 * _SLOPE) * x - 4 * _SLOPE
    return np.where(x < 1, near, np.where(x < _CUBIC_REACH, far, 0))


def weighted_bytes(
    pixels: NDArray[np.uint8], place: NDArray[np.intp], weight: NDArray[np.float32], axis: int
) -> NDArray[np.uint8]:
    """Do one pass over ``axis`` (0 or 1) in integers: 16-bit weights, the sum rounded and clipped.

    Source:
        the same file, basic_loop_aa_horizontal and _vertical of uint8.
    """
    bits = _weight_bits(float(weight.max()))
    integers = np.floor(weight.astype(np.float64) * (1 << bits) + 0.5).astype(np.int32)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total: Any = np.int32(1 << (bits - 1))
    for index, each in zip(place.T, integers.T):
        total = total + pixels.take(index, axis) * each.reshape(shape)
    return np.asarray(np.clip(total >> bits, 0, 255), np.uint8)


def _weight_bits(largest: float) -> int:
    """Return the most fraction bits with which the largest weight fits into 16 bits."""
    bits = 0
    while bits < _MOST_BITS and int(0.5 + largest * (1 << (bits + 1))) < _INT16:
        bits += 1
    return bits
