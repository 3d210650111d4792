# SPDX-License-Identifier: Apache-2.0
"""Resize in numpy like TensorFlow, OpenCV and torch, where Pillow's filters differ.

Pillow averages all pixels that become one (antialias), as torchvision does. TensorFlow's
``tf.image.resize``, used by Keras's layers and data sets, interpolates between the two or four
nearest pixels at any reduction; OpenCV does too. A network that was trained on one kind of pixels
is less accurate on the other.

Every filter is separable: an output row or column is a weighted sum of a few input rows or
columns, its *taps*. Tables of taps are kept, because data sets have few sizes.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any, Callable, NamedTuple, Tuple

import numpy as np
from numpy.typing import NDArray

from edgekit.data.antialias import cubic_weights, linear_weights, weighted_bytes

_CUBIC_STEPS = 1024  # TensorFlow uses a table of its cubic with this many steps
_KEYS, _OPENCV = -0.5, -0.75  # the cubic's slope at distance 1
_FIXED_POINT = "cv2-linear"
_OF_BYTES = frozenset(("torch-v2-bilinear", "torch-v2-bicubic"))
_CV2_AREA, _ENLARGING = "cv2-area", "cv2-area enlarging"
_KEPT_TABLES = 512  # of some KiB each


class Axis(NamedTuple):
    """``num_out`` pixels from ``length`` ones, whole or not, starting at ``start``."""

    num_in: int
    num_out: int
    start: float
    length: float

    @property
    def scale(self) -> np.float32:
        """Input pixels per output pixel; float32, as the kernels compute it."""
        return np.float32(np.float32(self.length) / np.float32(self.num_out))


class Taps(NamedTuple):
    """The input pixels of each output pixel: (num_out, taps) places and float32 weights."""

    place: NDArray[np.intp]
    weight: NDArray[np.float32]


Box = Tuple[float, float, float, float]  # left, top, width, height


def resample(
    pixels: NDArray[np.uint8],
    size: tuple[int, int],
    name: str,
    box: Box | None = None,
    kept: int | None = None,
) -> NDArray[np.uint8]:
    """Resize by one of `RESAMPLERS`.

    Args:
        pixels: (height, width, channels).
        size: Width and height of the result.
        name: A key of `RESAMPLERS`.
        box: The part to use, by default the whole.
        kept: The number of channels to keep, the first ones; None keeps all.

    Returns:
        (height, width, kept): the original's result, rounded to whole steps, with an error of at
        most one step; ``pixels`` itself if there is nothing to do.
    """
    height, width = pixels.shape[:2]
    left, top, box_width, box_height = box or (0.0, 0.0, float(width), float(height))
    across = Axis(width, size[0], left, box_width)
    down = Axis(height, size[1], top, box_height)
    if (width, height) == size == (box_width, box_height):
        return pixels[..., :kept]
    if name == _CV2_AREA and (box_width < size[0] or box_height < size[1]):
        name = _ENLARGING
    rows, columns = _taps(name, down), _taps(name, across)
    num_taps = {rows.place.shape[1], columns.place.shape[1]}
    if num_taps == {1}:
        return pixels.take(rows.place[:, 0], 0).take(columns.place[:, 0], 1)[..., :kept]
    if name == _FIXED_POINT:
        return _as_opencv(pixels, rows, columns)[..., :kept]
    if name in _OF_BYTES:
        return weighted_bytes(weighted_bytes(pixels, *columns, 1), *rows, 0)[..., :kept]
    if num_taps == {2}:
        return _interpolated(pixels, rows, columns, kept or pixels.shape[2])
    real = _weighted(_weighted(pixels, rows, 0), columns, 1)
    real += np.float32(0.5)
    return np.clip(real, 0, 255, out=real).astype(np.uint8)[..., :kept]


def _weighted(values: NDArray[Any], taps: Taps, axis: int) -> NDArray[np.float32]:
    shape = [1, 1, 1]
    shape[axis] = -1
    total = np.float32(0)
    for index, weight in zip(taps.place.T, taps.weight.T):
        total = total + values.take(index, axis) * weight.reshape(shape)
    return np.asarray(total, np.float32)


# Fraction bits: of the weights along a row, of the sums that are kept, and of the weights along a
# column. No intermediate number has more than 22 bits, so float32 stores each exactly.
_ACROSS, _KEPT, _DOWN = 13, 3, 10
# Half of a sum's last bit: sums between two kept values are rounded up.
_UP = np.float32(0.5 ** (_ACROSS + 1))
# float32 numbers of this size have _KEPT fraction bits: adding one rounds to so many.
_ROUNDS = np.float32(1.5 * 2 ** (23 - _KEPT))
_HALF = np.float32(0.5)
_BLOCK_VALUES = 256 << 10  # values of a block: 1 MiB


def _interpolated(
    pixels: NDArray[np.uint8], rows: Taps, columns: Taps, kept: int
) -> NDArray[np.uint8]:
    """Resize with two taps per row and column, as fast as Pillow; fastest with 1 or 4 channels.

    numpy releases Python's lock in each step. Where it is taken again another thread may have it,
    and this one sleeps: few large steps are faster than many small ones, which fit into the cache.
    """
    is_paired = pixels.shape[0] > rows.place.size  # most rows of a photo are not used
    if is_paired:
        pixels, rows = pixels.take(rows.place.ravel(), 0), _in_order(rows)
    channels = pixels.shape[2]
    width, num_out = len(columns.place), len(rows.place)
    whole = pixels.view(np.uint32) if channels == 4 and pixels.flags.c_contiguous else pixels
    across = _upper(columns, _ACROSS).repeat(channels)
    down = _upper(rows, _DOWN)
    weights = np.stack([np.float32(1) - down, down], 1)[:, None]
    result = np.empty((num_out, width, kept), np.uint8)
    block = max(1, _BLOCK_VALUES // max(2 * width * channels, 1))
    for start in range(0, num_out, block):
        part = slice(start, start + block)
        places = rows.place[part]
        first, last = int(places.min()), int(places.max())
        pairs = _blend_across(whole[first : last + 1], columns, across)
        if not is_paired:
            # mode "clip" writes straight into ``out``; the indices are in range.
            wanted = _WORK.array("pairs", (places.size, pairs.shape[1]))
            pairs = pairs.take(places.ravel() - first, 0, out=wanted, mode="clip")
        values = _WORK.array("values", (len(places), pairs.shape[1]))
        np.matmul(weights[part], pairs.reshape(len(places), 2, -1), out=values[:, None])
        values = values.reshape(-1, width, channels)
        for channel in range(kept):  # numpy is slow at taking three of four channels at once
            result[part, :, channel] = values[..., channel]
    return result


def _blend_across(
    pixels: NDArray[Any], columns: Taps, upper: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (rows, width * channels): each row of ``pixels`` at its new width, plus a half."""
    shape = (len(pixels), len(upper))
    left, right = (_WORK.array(name, shape) for name in ("left", "right"))
    taken = pixels.take(columns.place.T.ravel(), 1).view(np.uint8).reshape(len(pixels), 2, -1)
    left[...], right[...] = taken[:, 0], taken[:, 1]
    right -= left
    right *= upper
    left += _UP
    right += left
    right += _ROUNDS
    right -= _ROUNDS - _HALF  # the final cast to bytes truncates
    return right


def _upper(taps: Taps, bits: int) -> NDArray[np.float32]:
    """Return the second tap's weights, rounded to ``bits`` bits."""
    one = np.float32(1 << bits)
    weights: NDArray[np.float32] = np.rint(taps.weight[:, 1] * one) / one
    return weights


def _as_opencv(pixels: NDArray[np.uint8], rows: Taps, columns: Taps) -> NDArray[np.uint8]:
    """OpenCV's INTER_LINEAR of bytes: weights of 11 bits, parts of the sum truncated, not rounded.

    Source:
        opencv/modules/imgproc/src/resize.cpp, HResizeLinear and VResizeLinear for uchar.
    """
    (left, right), (upper, lower) = (
        np.rint(each.weight * np.float32(1 << 11)).astype(np.int32).T for each in (columns, rows)
    )
    if pixels.shape[0] > rows.place.size:
        pixels, rows = pixels.take(rows.place.ravel(), 0), _in_order(rows)
    across = pixels.take(columns.place[:, 0], 1) * left[:, None]
    across += pixels.take(columns.place[:, 1], 1) * right[:, None]
    across >>= 4
    above = across.take(rows.place[:, 0], 0) * upper[:, None, None]
    below = across.take(rows.place[:, 1], 0) * lower[:, None, None]
    result: NDArray[np.uint8] = (((above >> 16) + (below >> 16) + 2) >> 2).astype(np.uint8)
    return result


def _in_order(taps: Taps) -> Taps:
    """Return the same weights, for pixels that were extracted one after the other."""
    return Taps(np.arange(taps.place.size).reshape(taps.place.shape), taps.weight)


class _Workspace(threading.local):
    """Memory of a thread that is reused: to allocate it takes as long as the arithmetic."""

    def __init__(self) -> None:
        self._parts: dict[str, NDArray[np.float32]] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an array of ``shape`` with undefined values, in the memory of ``name``."""
        size = shape[0] * shape[1]
        if size > _MOST_KEPT:
            return np.empty(shape, np.float32)
        if self._parts.get(name, _NONE).size < size:
            self._parts[name] = np.empty(size, np.float32)
        return self._parts[name][:size].reshape(shape)


_MOST_KEPT = 1 << 19  # values; four arrays of 2 MiB a thread at most
_NONE = np.empty(0, np.float32)
_WORK = _Workspace()


@lru_cache(_KEPT_TABLES)
def _taps(name: str, axis: Axis) -> Taps:
    return _METHODS[name](axis)


def _centres(axis: Axis) -> NDArray[np.float32]:
    """Return the centres of output pixels, where centres of input pixels are whole numbers."""
    middle = np.arange(axis.num_out, dtype=np.float32) + np.float32(0.5)
    centres: NDArray[np.float32] = np.float32(axis.start) + middle * axis.scale - np.float32(0.5)
    return centres


def _clipped(index: NDArray[Any], num_in: int) -> NDArray[np.intp]:
    clipped: NDArray[np.intp] = np.clip(index, 0, num_in - 1).astype(np.intp)
    return clipped


def _linear(axis: Axis) -> Taps:
    """As in tensorflow/core/kernels/image/resize_bilinear_op.cc, and OpenCV's INTER_LINEAR."""
    centre = _centres(axis)
    below = np.floor(centre)
    index = np.stack([below, np.ceil(centre)], 1)
    return Taps(_clipped(index, axis.num_in), _pair(centre - below))


def _pair(upper: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([np.float32(1) - upper, upper], 1)


def _nearest(axis: Axis) -> Taps:
    """As in tensorflow/core/kernels/image/resize_nearest_neighbor_op.cc, half-pixel centres."""
    middle = np.arange(axis.num_out, dtype=np.float32) + np.float32(0.5)
    return _one_tap(np.floor(np.float32(axis.start) + middle * axis.scale), axis)


def _corner(axis: Axis) -> Taps:
    """OpenCV's INTER_NEAREST: the upper left of the pixels that become one."""
    scale = 1 / (axis.num_out / axis.length)  # float64 there, in this order
    return _one_tap(np.floor(axis.start + np.arange(axis.num_out) * scale), axis)


def _one_tap(index: NDArray[Any], axis: Axis) -> Taps:
    return Taps(_clipped(index, axis.num_in)[:, None], np.ones((axis.num_out, 1), np.float32))


def _cubic(slope: float, distance: NDArray[Any]) -> NDArray[Any]:
    x = np.abs(distance)
    near = ((slope + 2) * x - (slope + 3)) * x * x + 1
    far = ((slope * x - 5 * slope) * x + 8 * slope) * x - 4 * slope
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _tf_cubic(axis: Axis) -> Taps:
    """As in tensorflow/core/kernels/image/resize_bicubic_op.cc, called by tf.image.resize.

    Pixels beyond the edge have weight 0; the other weights are increased.
    """
    centre = _centres(axis)
    below = np.floor(centre)
    part = np.rint((centre - below) * np.float32(_CUBIC_STEPS)) / _CUBIC_STEPS
    offsets = np.arange(-1, 3)
    index = below[:, None] + offsets
    weight = _cubic(_KEYS, part[:, None] - offsets).astype(np.float32)
    weight[(index < 0) | (index >= axis.num_in)] = 0
    return Taps(_clipped(index, axis.num_in), weight / weight.sum(1, keepdims=True))


def _cv2_cubic(axis: Axis) -> Taps:
    """OpenCV's INTER_CUBIC: pixels beyond the edge are copies of the edge."""
    centre = _centres(axis)
    below = np.floor(centre)
    offsets = np.arange(-1, 3)
    weight = _cubic(_OPENCV, (centre - below)[:, None] - offsets)
    return Taps(_clipped(below[:, None] + offsets, axis.num_in), weight.astype(np.float32))


def _area(axis: Axis) -> Taps:
    """Weight each pixel by its share of the output pixel: tensorflow/.../resize_area_op.cc."""
    edges = axis.start + np.arange(axis.num_out + 1) * (axis.length / axis.num_out)
    low, high = edges[:-1, None], edges[1:, None]
    num_taps = int(np.max(np.ceil(high) - np.floor(low)))
    index = np.floor(low) + np.arange(num_taps)
    overlap = np.clip(np.minimum(index + 1, high) - np.maximum(index, low), 0, None)
    weight = (overlap / overlap.sum(1, keepdims=True)).astype(np.float32)
    return Taps(_clipped(index, axis.num_in), weight)


def _cv2_enlarging(axis: Axis) -> Taps:
    """OpenCV's INTER_AREA if either side grows: both sides interpolate between two pixels.

    The float64 operations have OpenCV's order: in another order, the edge of a pixel that is
    exactly on an edge of the input would be slightly below it, and the pixel before would be used.

    Source:
        opencv/modules/imgproc/src/resize.cpp, ``area_mode`` of resize.
    """
    inverse = axis.num_out / axis.length
    place = np.arange(axis.num_out)
    below = np.floor(place * (1 / inverse))
    part = ((place + 1) - (below + 1) * inverse).astype(np.float32)
    part = np.where(part <= 0, np.float32(0), part - np.floor(part))
    index = _clipped(axis.start + below[:, None] + np.arange(2), axis.num_in)
    return Taps(index, _pair(part))


def _antialiased_linear(axis: Axis) -> Taps:
    return Taps(*linear_weights(*axis))


def _antialiased_cubic(axis: Axis) -> Taps:
    return Taps(*cubic_weights(*axis))


RESAMPLERS: dict[str, Callable[[Axis], Taps]] = {
    "tf-bilinear": _linear,
    "tf-nearest": _nearest,
    "tf-bicubic": _tf_cubic,
    "tf-area": _area,
    "cv2-linear": _linear,
    "cv2-nearest": _corner,
    "cv2-cubic": _cv2_cubic,
    _CV2_AREA: _area,
    "torch-tensor-bilinear": _antialiased_linear,
    "torch-tensor-bicubic": _antialiased_cubic,
    "torch-v2-bilinear": _antialiased_linear,
    "torch-v2-bicubic": _antialiased_cubic,
}
_METHODS = {**RESAMPLERS, _ENLARGING: _cv2_enlarging}
