# SPDX-License-Identifier: Apache-2.0
"""Functions of the non-linear unit, and the operators that are computed with them.

Proved bit-equal on programs of Google's compiler (`tests/chip/arithmetic`): LOGISTIC in MoveNet and
YAMNet, 41,993 values, and in the first 34 layers of a YOLOv8, 9,984,000 values with the emulator's
limits raised; SOFTMAX on the tiles for vectors of 6 to 16,384 values, and on the scalar core for
965 and 1,001. L2_NORMALIZATION is the arithmetic of tinycoral (docs/isa/codegen_eltops.md), which
was bit-exact on a device. Not proved: a SOFTMAX with another beta than 1, TANH (its table is that
of the corpus's LSTM, at another scale), RSQRT, and HARD_SWISH, which Google's compiler does not
map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, AbstractSet

import numpy as np

from edgekit.chip.arithmetic.formulas.elementwise import mapped
from edgekit.chip.arithmetic.scales import (
    Values,
    centred,
    inverse_of,
    requantize,
    scale_of,
    stored,
    tensors_of,
    zero_point_of,
)
from edgekit.chip.arithmetic.tables import (
    EXP,
    EXP_LIMIT,
    HARD_SWISH,
    LOGISTIC,
    LOGISTIC_LIMIT,
    RSQRT,
    TANH,
    TANH_LIMIT,
)
from edgekit.formats.tflite import Model, Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDE = 65535  # the largest 16-bit result
_LOG2_E = 1.4426950408889634


# -- functions of one value


def looked_up(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """LOGISTIC, TANH, HARD_SWISH or RSQRT: a spline of the real value, then the zero point."""
    source, output = tensors_of(model, operator)
    function = _FUNCTIONS[operator.opcode]

    def made(each: NDArray[np.uint8]) -> NDArray[np.uint8]:
        real = centred(each, source).astype(np.float32) * scale_of(source)
        return stored(function(real, inverse_of(output)), zero_point_of(output))

    return mapped(values[operator.inputs[0]], made)


def _logistic(real: NDArray[np.float32], factor: np.float32) -> NDArray[np.float32]:
    return LOGISTIC.times(factor)(np.clip(real, -LOGISTIC_LIMIT, LOGISTIC_LIMIT))


def _tanh(real: NDArray[np.float32], factor: np.float32) -> NDArray[np.float32]:
    return TANH.times(factor).odd(np.clip(real, -TANH_LIMIT, TANH_LIMIT))


def _hard_swish(real: NDArray[np.float32], factor: np.float32) -> NDArray[np.float32]:
    return HARD_SWISH.times(factor)(real)


def _rsqrt(real: NDArray[np.float32], factor: np.float32) -> NDArray[np.float32]:
    """1/sqrt. Below 2^-40 it is 2^20, which no output scale of a network can store."""
    return RSQRT.times(factor).reduced(np.maximum(real, np.float32(2.0**-40)))


_FUNCTIONS = {
    "LOGISTIC": _logistic,
    "TANH": _tanh,
    "HARD_SWISH": _hard_swish,
    "RSQRT": _rsqrt,
}


# -- softmax

# On the tiles: scales of the exponentials, of 1/sqrt of their sum, and of its square.
_EXP_SCALE = np.float32(1) / np.float32(_WIDE)
_ROOT_FACTOR = np.float32(46340)  # its square is the largest one below 2^31
_ROOT_SCALE = np.float32(1) / _ROOT_FACTOR
_SQUARE = _ROOT_SCALE * _ROOT_SCALE
_RECIPROCAL_SCALE = _SQUARE * np.float32(_WIDE)
_RECIPROCAL_LIMIT = 32768


def softmax(
    model: Model,
    operator: Operator,
    values: Values,
    *,
    multipliers: AbstractSet[np.float32] = frozenset(),
) -> NDArray[np.uint8]:
    """A softmax over the last axis.

    Google's compilers of 2019 compute it on the scalar core, later ones on the tiles. The
    ``multipliers`` of the program show which: that of the last step on the tiles does not depend
    on the input.
    """
    source, output = tensors_of(model, operator)
    given = values[operator.inputs[0]].reshape(-1, source.shape[-1])
    beta = float(operator.options.get("beta", 1.0))
    last = (_EXP_SCALE * _RECIPROCAL_SCALE) * inverse_of(output)
    if multipliers and last not in multipliers:
        made = _on_the_scalar_core(given, source, output, beta)
    else:
        made = _on_the_tiles(given, source, output, beta)
    return made.reshape(output.shape)


def _on_the_tiles(
    given: NDArray[np.uint8], source: Tensor, output: Tensor, beta: float
) -> NDArray[np.uint8]:
    """16-bit exponentials times a 16-bit reciprocal, which is the square of 1/sqrt."""
    below = given.max(1, keepdims=True) - given
    multiplier = scale_of(source) * np.float32(beta)
    real = np.maximum(-np.arange(256, dtype=np.float32) * multiplier, -EXP_LIMIT)
    exponentials = _wide(EXP.times(np.float32(_WIDE))(real))[below]
    total = exponentials.sum(1, dtype=np.int64, keepdims=True).astype(np.float32) * _EXP_SCALE
    roots = _wide(RSQRT.times(_ROOT_FACTOR).reduced(total))
    squares = (roots * roots).astype(np.float32) * (_SQUARE * (np.float32(1) / _RECIPROCAL_SCALE))
    reciprocals = _wide(np.minimum(squares, np.float32(_RECIPROCAL_LIMIT)))
    last = (_EXP_SCALE * _RECIPROCAL_SCALE) * inverse_of(output)
    return requantize(exponentials * reciprocals, last, output)


def _wide(real: NDArray[np.float32]) -> NDArray[np.int64]:
    """The 16-bit integers that are stored."""
    return np.clip(np.rint(real), 0, _WIDE).astype(np.int64)


def _on_the_scalar_core(
    given: NDArray[np.uint8], source: Tensor, output: Tensor, beta: float
) -> NDArray[np.uint8]:
    """Float32 all the way, summed value by value."""
    factor = np.float32(float(np.float32(beta)) * _LOG2_E)
    real = centred(given, source).astype(np.float32) * scale_of(source)
    powers = (real - real.max(1, keepdims=True)) * factor
    exponentials = np.exp2(powers.astype(np.float64)).astype(np.float32)
    sums = np.add.accumulate(exponentials, axis=1, dtype=np.float32)[:, -1:]
    return stored(exponentials * (np.float32(1) / sums) * inverse_of(output), zero_point_of(output))


# -- length 1


def l2_normalized(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8]:
    """Every vector along the last axis divided by its length."""
    source, output = tensors_of(model, operator)
    data = centred(values[operator.inputs[0]], source).astype(np.int64)
    square = scale_of(source) * scale_of(source)
    total = (data * data).sum(-1, keepdims=True).astype(np.float32) * square
    factor = np.float32(_WIDE) / (np.float32(1) / scale_of(source))
    roots = _wide(RSQRT.times(factor).reduced(np.maximum(total, square)))
    multiplier = (scale_of(source) * (np.float32(1) / factor)) * inverse_of(output)
    return requantize(data * roots, multiplier, output)
