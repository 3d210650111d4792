# SPDX-License-Identifier: Apache-2.0
"""Pools over windows, and reductions over whole axes.

Proved bit-equal on programs of Google's compiler (docs/emulator.md): AVERAGE_POOL_2D without
padding, 10 layers; MEAN over height and width, one layer; MAX_POOL_2D with padding in a YOLOv8,
three layers, 153,600 values. tinycoral has byte-equal programs of MAX_POOL_2D without padding, and
of SUM and MEAN over channels. Not proved: AVERAGE_POOL_2D with padding (each window has the
multiplier of the number of its pixels), SUM and MEAN over other axes, REDUCE_MAX, REDUCE_MIN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, AbstractSet, Any

import numpy as np

from edgekit.chip.arithmetic.formulas.elementwise import rescaled
from edgekit.chip.arithmetic.formulas.windows import Axis, axes_of, windows
from edgekit.chip.arithmetic.scales import (
    Values,
    activation_of,
    centred,
    constant,
    inverse_of,
    requantize,
    scale_of,
    tensors_of,
    zero_point_of,
)
from edgekit.formats.tflite import Model, Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray


def average(
    model: Model,
    operator: Operator,
    values: Values,
    *,
    multipliers: AbstractSet[np.float32] = frozenset(),
) -> NDArray[np.uint8]:
    """The mean over the pixels of each window that lie in the image.

    Google's compilers divide by the window size in one of two places. The last bit of the
    multiplier shows which: if the program's ``multipliers`` contain one of the two, it is used.
    """
    source, output = tensors_of(model, operator)
    axes = _axes(operator, source.shape)
    counts = np.outer(axes[0].counts(), axes[1].counts())
    total = _window_sums(model, operator, values)
    number, inverse = counts.astype(np.float32), inverse_of(output)
    last = scale_of(source) * inverse / number
    first = scale_of(source) * (np.float32(1) / number) * inverse
    is_first = first.flat[0] in multipliers and last.flat[0] not in multipliers
    multiplier = (first if is_first else last)[:, :, None]
    return requantize(total, multiplier, output, activation_of(operator))


def window_sums(model: Model, operator: Operator, values: Values) -> NDArray[np.int64]:
    """The sums over windows; what lies outside of the image counts as zero."""
    return _window_sums(model, operator, values).astype(np.int64)


def _window_sums(model: Model, operator: Operator, values: Values) -> NDArray[np.float32]:
    source, output = tensors_of(model, operator)
    axes, zero = _axes(operator, source.shape), zero_point_of(source)
    exact = axes[0].size * axes[1].size * 255 < 1 << 24
    total = np.empty(output.shape, np.float32 if exact else np.float64)
    for batch, image in enumerate(values[operator.inputs[0]]):
        for row, part in windows(image, *axes, zero_point=zero):
            total[batch, row : row + len(part)] = _folded(part, np.add, total.dtype)
    return total


def largest(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """The largest value of each window."""
    source, output = tensors_of(model, operator)
    axes = _axes(operator, source.shape)
    result = np.empty(output.shape, np.uint8)
    for batch, image in enumerate(values[operator.inputs[0]]):
        for row, part in windows(image, *axes, zero_point=0):
            result[batch, row : row + len(part)] = _folded(part, np.maximum, np.float32)
    return rescaled(result, source, output)


def _folded(part: NDArray[np.float32], fold: np.ufunc, dtype: Any) -> NDArray[Any]:  # noqa: ANN401
    """One value for each window and channel: pixel after pixel, which is fast on a view."""
    total = part[:, :, 0, 0].astype(dtype)
    for place in range(1, part.shape[2] * part.shape[3]):
        y, x = divmod(place, part.shape[3])
        fold(total, part[:, :, y, x], out=total)
    return total


def _axes(operator: Operator, shape: tuple[int, ...]) -> tuple[Axis, Axis]:
    options = operator.options
    return axes_of(operator, shape, (options["filter_height"], options["filter_width"]))


def reduced(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """A sum or mean over whole axes."""
    source, axes, output = tensors_of(model, operator)
    over = tuple(int(axis) for axis in constant(model, axes).reshape(-1))
    data = centred(values[operator.inputs[0]], source)
    multiplier = scale_of(source) * inverse_of(output)
    if operator.opcode == "MEAN":
        number = int(np.prod([data.shape[axis] for axis in over]))
        multiplier = np.float32(multiplier / np.float32(number))
    total = data.sum(axis=over, dtype=np.int64)
    return requantize(total, multiplier, output).reshape(output.shape)


def reduced_extreme(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """The largest or smallest value over whole axes."""
    source, axes, output = tensors_of(model, operator)
    over = tuple(int(axis) for axis in constant(model, axes).reshape(-1))
    choose: Any = np.max if operator.opcode == "REDUCE_MAX" else np.min
    made = choose(values[operator.inputs[0]], axis=over).reshape(output.shape)
    return rescaled(made, source, output)
