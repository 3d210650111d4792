# SPDX-License-Identifier: Apache-2.0
"""UNIDIRECTIONAL_SEQUENCE_LSTM, as the one program of Google's compiler computes it.

Proved bit-equal on keras_lstm_mnist_ptq: 16,800 outputs of all 28 steps of 30 images, also from
random states (`tests/chip/arithmetic`). Both parts of a gate are kept in 8 bits at the scale of the
output, and the tanh of the cell is taken before the cell is rounded. Only the 16 bits limit the
cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.arithmetic.formulas.elementwise import add_weights
from edgekit.chip.arithmetic.scales import (
    Values,
    centred,
    constant,
    inverse_of,
    multiplier_of,
    requantize,
    scale_of,
    stored,
    weights_of,
)
from edgekit.chip.arithmetic.tables import LOGISTIC, LOGISTIC_LIMIT, TANH, TANH_LIMIT
from edgekit.formats.tflite import Model, Operator, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INPUT, _FORGET, _CELL, _OUTPUT = range(4)  # gates
_WEIGHTS, _RECURRENT, _BIASES, _HIDDEN_STATE, _CELL_STATE = 1, 5, 12, 18, 19  # first inputs
_PLAIN = (*range(9), *range(12, 16), _HIDDEN_STATE, _CELL_STATE)
# Of the gates (0 to 1), of the new values and of tanh (-1 to 1, the latter in 16 bits).
_GATE, _NEW, _WIDE = (np.float32(each) for each in (1 / 255, 1 / 127.5, 2 / 32767))
_NEW_ZERO, _WIDE_ZERO, _CELL_ZERO = 128, 16384, 32768
_HIGHEST = 65535


def lstm(model: Model, operator: Operator, values: Values) -> NDArray[np.uint8] | None:
    """The outputs of all steps; None with peepholes, projection or layer normalization."""
    tensors = model.main.tensors
    used = {position for position, index in enumerate(operator.inputs) if index >= 0}
    if not used <= set(_PLAIN):
        return None
    output = tensors[operator.outputs[0]]
    data = values[operator.inputs[0]]
    steps = data if operator.options.get("time_major") else data.swapaxes(0, 1)
    hidden = values[operator.inputs[_HIDDEN_STATE]]
    cell = values[operator.inputs[_CELL_STATE]].astype(np.int64)
    state = tensors[operator.inputs[_CELL_STATE]]
    made = []
    for step in steps:
        parts = [_gate_sum(model, operator, step, hidden, gate) for gate in range(4)]
        gates = [_activated(parts[gate], gate, output) for gate in range(4)]
        cell, wide = _next_cell(gates, cell, state)
        multiplier = (_GATE * _WIDE) * inverse_of(output)
        hidden = requantize(gates[_OUTPUT] * (wide - _WIDE_ZERO), multiplier, output)
        made.append(hidden)
    joined = np.stack(made)
    return joined if operator.options.get("time_major") else joined.swapaxes(0, 1)


def _gate_sum(
    model: Model,
    operator: Operator,
    step: NDArray[np.uint8],
    hidden: NDArray[np.uint8],
    gate: int,
) -> NDArray[np.int64]:
    """The sum of a gate's two parts, each rounded to 8 bits at the scale of the output."""
    tensors = model.main.tensors
    output = tensors[operator.outputs[0]]
    total: NDArray[np.int64] = np.zeros(1, np.int64)
    for data, first, source in (
        (step, _WEIGHTS, tensors[operator.inputs[0]]),
        (hidden, _RECURRENT, tensors[operator.inputs[_HIDDEN_STATE]]),
    ):
        weights = tensors[operator.inputs[first + gate]]
        sums = centred(data, source).astype(np.int64) @ weights_of(model, weights).T
        if first == _WEIGHTS:
            sums = sums + constant(model, tensors[operator.inputs[_BIASES + gate]])
        part = requantize(sums, multiplier_of(source, weights, output), output)
        total = total + centred(part, output).astype(np.int64)
    return total


def _activated(total: NDArray[np.int64], gate: int, output: Tensor) -> NDArray[np.int64]:
    """The 8-bit value of a gate; for the new values (gate ``_CELL``) minus their zero point."""
    real = total.astype(np.float32) * scale_of(output)
    one = np.float32(1)
    if gate == _CELL:
        made = TANH.times(one / _NEW).odd(np.clip(real, -TANH_LIMIT, TANH_LIMIT))
        return stored(made, _NEW_ZERO).astype(np.int64) - _NEW_ZERO
    made = LOGISTIC.times(one / _GATE)(np.clip(real, -LOGISTIC_LIMIT, LOGISTIC_LIMIT))
    return stored(made, 0).astype(np.int64)


def _next_cell(
    gates: list[NDArray[np.int64]], cell: NDArray[np.int64], state: Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The next cell state, and the tanh of what it was rounded from; both 16 bits, unsigned."""
    one, scale = np.float32(1), scale_of(state)
    inverse = inverse_of(state)
    new = _wide(gates[_INPUT] * gates[_CELL], (_GATE * _NEW) * (one / _WIDE), _WIDE_ZERO)
    kept = _wide(gates[_FORGET] * (cell - _CELL_ZERO), (_GATE * scale) * inverse, _CELL_ZERO)
    weight_new, weight_kept = add_weights(_WIDE, scale)
    total = weight_new * (new - _WIDE_ZERO) + weight_kept * (kept - _CELL_ZERO)
    multiplier = np.float32(_WIDE / np.float32(weight_new))
    real = np.clip(total.astype(np.float32) * multiplier, -TANH_LIMIT, TANH_LIMIT)
    tanh = np.rint(TANH.times(one / _WIDE).odd(real)).astype(np.int64) + _WIDE_ZERO
    return _wide(total, multiplier * inverse, _CELL_ZERO), np.clip(tanh, 0, _HIGHEST)


def _wide(total: NDArray[np.int64], multiplier: np.float32, zero_point: int) -> NDArray[np.int64]:
    """Requantize to 16 bits."""
    real = np.clip(total.astype(np.float32) * multiplier, -zero_point, _HIGHEST - zero_point)
    return np.asarray(np.rint(real).astype(np.int64) + zero_point)
