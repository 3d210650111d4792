# SPDX-License-Identifier: Apache-2.0
"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR.

Proved bit-equal on programs of Google's compiler: bilinear by 2 with half-pixel centres (MoveNet,
82,944 values), the nearest pixel by 2 (three lane detectors and a YOLOv8, 1,622,016 values), and
the same size (DeepLab). Not proved: all others. They have the same form: integer weights of two
neighbours along each axis, one product with float32, halves to even.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.arithmetic.formulas.elementwise import rescaled
from edgekit.chip.arithmetic.scales import Values, tensors_of
from edgekit.formats.tflite import Model, Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST_WEIGHT = 255  # of an integer weight that fits in 8 bits


@dataclass(frozen=True)
class Taps:
    """Along one axis: the two neighbours of each output pixel, and the weight of the second.

    Weights are integers; those of both neighbours add up to ``full``.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.int64]
    full: int


def bilinear(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """Weighted sums of four neighbours; None if a weight is not a small integer."""
    source, *_, output = tensors_of(model, operator)
    rows, columns = (taps_of(operator, source.shape[k], output.shape[k]) for k in (1, 2))
    if rows is None or columns is None:
        return None
    data = values[operator.inputs[0]].astype(np.float32)
    total = _interpolated(_interpolated(data, rows, 1), columns, 2)
    total *= np.float32(1) / np.float32(rows.full * columns.full)
    return rescaled(np.rint(total, out=total).astype(np.uint8), source, output)


def taps_of(operator: Operator, size: int, number: int) -> Taps | None:
    """The taps of ``number`` pixels out of ``size``; None if a weight does not fit in 8 bits."""
    align, half = operator.options["align_corners"], operator.options["half_pixel_centers"]
    step = Fraction(size - 1, number - 1) if align and number > 1 else Fraction(size, number)
    offset = (step - 1) / 2 if half else Fraction(0)
    places = [max(k * step + offset, Fraction(0)) for k in range(number)]
    full = int(np.lcm.reduce([place.denominator for place in places]))
    if full > _LARGEST_WEIGHT:
        return None
    first = np.array([min(int(place), size - 1) for place in places])
    weight = np.array([int((place - int(place)) * full) for place in places])
    return Taps(first, np.minimum(first + 1, size - 1), weight, full)


def _interpolated(data: NDArray[np.float32], taps: Taps, axis: int) -> NDArray[np.float32]:
    """Exact: at most 255 * 255 * 255 for both axes, below 2^24."""
    shape = [-1 if k == axis else 1 for k in range(data.ndim)]
    weight = taps.weight.astype(np.float32).reshape(shape)
    before = data.take(taps.first, axis=axis) * (np.float32(taps.full) - weight)
    before += data.take(taps.second, axis=axis) * weight
    return before


def nearest(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """The pixels that TensorFlow Lite takes: a float32 position, rounded down or to the nearest."""
    source, *_, output = tensors_of(model, operator)
    data = values[operator.inputs[0]]
    for axis in (1, 2):
        where = nearest_places(operator, source.shape[axis], output.shape[axis])
        data = data.take(where, axis=axis)
    return rescaled(data, source, output)


def nearest_places(operator: Operator, size: int, number: int) -> NDArray[np.int64]:
    """The input pixel of each of ``number`` output pixels along an axis of ``size``."""
    align, half = operator.options["align_corners"], operator.options["half_pixel_centers"]
    if align and number > 1:
        step = np.float32(size - 1) / np.float32(number - 1)
    else:
        step = np.float32(size) / np.float32(number)
    place = (np.arange(number, dtype=np.float32) + np.float32(0.5 if half else 0)) * step
    # Halves away from zero; positions are not negative.
    whole = np.floor(place + np.float32(0.5 if align else 0)).astype(np.int64)
    return np.asarray(np.clip(whole, 0, size - 1))
