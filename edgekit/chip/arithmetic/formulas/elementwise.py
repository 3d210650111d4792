# SPDX-License-Identifier: Apache-2.0
"""Additions, products, extremes and requantizations.

Proved bit-equal on programs of Google's compiler (docs/emulator.md, and the first 140 operators of
a YOLOv8 at 640x640, with the emulator's limits raised):

- ADD of two activations: 58 layers, 4,934,052 values.
- MUL of two activations: 37 layers, 10,022,912 values, also of one with itself, and over channels;
  by a map of 48x48 constants (MoveNet, 2,304 values).
- SUB and MUL of one constant number, with and without RELU (MoveNet, a lane detector).
- QUANTIZE: 31 layers, 6,286,231 values.

RELU, RELU6 and RELU_N1_TO_1 have the fields of tinycoral's byte-equal programs. Not proved: ADD of
one constant number (as SUB), sums with several constants (as activations), SUB of two activations
(as ADD with a negative weight), MAXIMUM, MINIMUM, PRELU, SQUARED_DIFFERENCE.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from edgekit.chip.arithmetic.scales import (
    ACTIVATIONS,
    HIGHEST,
    Values,
    activation_of,
    centred,
    constant,
    inverse_of,
    operand,
    requantize,
    same_scale,
    scale_of,
    tensors_of,
    zero_point_of,
)
from edgekit.formats.tflite import Model, Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ADD_WEIGHT_LIMIT = 32767  # int16 maximum; every pair seen fits limits from 25,319 on
_ALL = np.arange(HIGHEST + 1, dtype=np.uint8)


def mapped(
    values: NDArray[Any], function: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Return ``function`` of every value, computed once for each of the 256 that there are."""
    return np.take(function(_ALL), values)


def rescaled(values: NDArray[Any], source: Tensor, output: Tensor) -> NDArray[np.uint8]:
    """Return values of ``source`` at the scale of ``output``."""
    if same_scale(source, output):
        return values.astype(np.uint8, copy=False)
    multiplier = scale_of(source) * inverse_of(output)
    return mapped(values, lambda each: requantize(centred(each, source), multiplier, output))


# -- additions


def add_weights(first: np.float32, second: np.float32) -> tuple[int, int]:
    """The integer weights of an addition: the best rational of the two scales."""
    ratio = Fraction(float(second)) / Fraction(float(first))
    if ratio <= 1:
        fraction = ratio.limit_denominator(_ADD_WEIGHT_LIMIT)
        return fraction.denominator, fraction.numerator
    fraction = (1 / ratio).limit_denominator(_ADD_WEIGHT_LIMIT)
    return fraction.numerator, fraction.denominator


def add(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """An addition or subtraction."""
    first, second, output = tensors_of(model, operator)
    signs = (1, -1 if operator.opcode == "SUB" else 1)
    for position in (0, 1):
        real = real_constant(model, operator, values, position)
        if real is not None:
            return _shifted(model, operator, values, (1 - position, real), signs)
    left, right = (operand(model, operator, values, position) for position in (0, 1))
    if left is None or right is None:
        return None
    scale_1, scale_2 = scale_of(first), scale_of(second)
    weight_1, weight_2 = add_weights(scale_1, scale_2)
    # Both magnitudes stay below 32767 * 255, so float32 is exact.
    total = np.float32(weight_1) * _float_centred(left, first)
    total = total + np.float32(signs[1] * weight_2) * _float_centred(right, second)
    multiplier = np.float32(scale_1 / np.float32(weight_1)) * inverse_of(output)
    return requantize(total, multiplier, output, activation_of(operator))


def _float_centred(values: NDArray[Any], tensor: Tensor) -> NDArray[np.float32]:
    return np.asarray(values.astype(np.float32) - np.float32(zero_point_of(tensor)))


def real_constant(model: Model, operator: Operator, values: Values, position: int) -> float | None:
    """Return the number that an input is; None if it has several, or is computed."""
    if operator.inputs[position] in values:
        return None
    tensor = model.main.tensors[operator.inputs[position]]
    data = model.data(tensor)
    if data is None or not data.size or (data != data.reshape(-1)[:1]).any():
        return None
    zero = tensor.quantization.zero_point[0] if tensor.quantization else 0
    return (int(data.reshape(-1)[0]) - zero) * float(scale_of(tensor))


def _shifted(
    model: Model,
    operator: Operator,
    values: Values,
    operands: tuple[int, float],
    signs: tuple[int, int],
) -> NDArray[np.uint8] | None:
    """Add a number to the input at a position: a bias in whole steps of that input."""
    position, real = operands
    source = model.main.tensors[operator.inputs[position]]
    output = model.main.tensors[operator.outputs[0]]
    given = operand(model, operator, values, position)
    if given is None:
        return None
    bias = signs[1 - position] * int(np.rint(real / float(scale_of(source))))
    multiplier = scale_of(source) * inverse_of(output)

    def moved(each: NDArray[np.uint8]) -> NDArray[np.uint8]:
        total = signs[position] * centred(each, source) + bias
        return requantize(total, multiplier, output, activation_of(operator))

    return mapped(given, moved)


def squared_difference(
    model: Model, operator: Operator, values: Values
) -> NDArray[np.uint8] | None:
    """The square of a difference: of the integers that `add` weighs, rounded to float32."""
    first, second, output = tensors_of(model, operator)
    left, right = (operand(model, operator, values, position) for position in (0, 1))
    if left is None or right is None:
        return None
    scale_1, scale_2 = scale_of(first), scale_of(second)
    weight_1, weight_2 = add_weights(scale_1, scale_2)
    total = np.float32(weight_1) * _float_centred(left, first)
    total = total - np.float32(weight_2) * _float_centred(right, second)
    real = total * np.float32(scale_1 / np.float32(weight_1))
    return requantize(real * real, inverse_of(output), output, activation_of(operator))


# -- products


def mul(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """A product of two activations, or of an activation and a constant."""
    first, second, output = tensors_of(model, operator)
    for position in (0, 1):
        real = real_constant(model, operator, values, position)
        if real is not None:
            return _scaled(model, operator, values, (1 - position, real))
    left, right = (operand(model, operator, values, position) for position in (0, 1))
    if left is None or right is None:
        return None
    total = _float_centred(left, first) * _float_centred(right, second)
    multiplier = (scale_of(first) * scale_of(second)) * inverse_of(output)
    return requantize(total, multiplier, output, activation_of(operator))


def _scaled(
    model: Model, operator: Operator, values: Values, operands: tuple[int, float]
) -> NDArray[np.uint8] | None:
    """Multiply the input at a position by a number, which becomes part of the multiplier."""
    position, real = operands
    source = model.main.tensors[operator.inputs[position]]
    output = model.main.tensors[operator.outputs[0]]
    given = operand(model, operator, values, position)
    if given is None:
        return None
    multiplier = (scale_of(source) * np.float32(real)) * inverse_of(output)

    def product(each: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return requantize(centred(each, source), multiplier, output, activation_of(operator))

    return mapped(given, product)


# -- extremes and requantizations


def extreme(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """The larger or smaller of two values, each at the scale of the output."""
    first, second, output = tensors_of(model, operator)
    left, right = (operand(model, operator, values, position) for position in (0, 1))
    if left is None or right is None:
        return None
    choose: Any = np.maximum if operator.opcode == "MAXIMUM" else np.minimum
    return np.asarray(choose(rescaled(left, first, output), rescaled(right, second, output)))


def requantized(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """The same values at the scale of the output; a RELU limits them too."""
    source, output = tensors_of(model, operator)
    activation = operator.opcode if operator.opcode in ACTIVATIONS else "NONE"
    multiplier = scale_of(source) * inverse_of(output)

    def limited(each: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return requantize(centred(each, source), multiplier, output, activation)

    return mapped(values[operator.inputs[0]], limited)


def prelu(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """A slope below zero: the product with it has the multiplier of a product of two tensors."""
    source, slopes, output = tensors_of(model, operator)
    alpha = constant(model, slopes)
    if not alpha.size:
        return None
    given = _float_centred(values[operator.inputs[0]], source)
    weights = alpha.astype(np.float32) - np.float32(slopes.zero_point or 0)
    inverse = inverse_of(output)
    above = requantize(given, scale_of(source) * inverse, output)
    below = requantize(given * weights, (scale_of(source) * scale_of(slopes)) * inverse, output)
    return np.where(given >= 0, above, below)
