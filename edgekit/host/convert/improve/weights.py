# SPDX-License-Identifier: Apache-2.0
"""Choose how weights are rounded, and biases, so that the layers' outputs change least.

The weights of the float network are put on the steps that the quantizer will use, so that it
rounds nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.layer_inputs import (
    DENSE,
    Layer,
    Moments,
    layers_of,
    measure_inputs,
)

_MOST_CODE = 127  # symmetric 8-bit weights
_LARGEST = 0.25  # steps below the last code
_DAMPING = 0.01  # of the mean square of the inputs: keeps the inverse finite
# Ends of a range, relative to the largest weight, and how much less error a narrower range must
# leave: weights without outliers keep their largest one.
_ENDS = tuple(2.0 ** (-each / 2) for each in range(1, 21))
_LESS_ERROR = 0.5

Batches = Iterable[Sequence[NDArray[Any]]]
Values = NDArray[np.float64]


def adjust_weights(
    model: Model, batches: Batches, *, rounds: bool, corrects: bool
) -> tuple[Model, int]:
    """Return ``model`` with other weights or biases, and the number of changed layers.

    Args:
        model: A float network.
        batches: The calibration samples.
        rounds: Round each layer's weights for the least error of its output. One weight after the
            other is rounded; those that follow take up its error, as far as the inputs on the
            samples are correlated. The largest weight of a scale keeps its value; but if few
            weights are so large that the others suffer, and their inputs are small on the samples,
            they are limited.
        corrects: Subtract the mean error of rounded weights from the biases.

    Source:
        E. Frantar et al., GPTQ (2022), algorithm 1, without blocks and groups; the aim is that of
        M. Nagel et al., Up or down? Adaptive rounding (2020). Biases: M. Nagel et al., Data-free
        quantization (2019), section 4.2, with the mean of the samples.
    """
    layers = [each for each in layers_of(model) if not _is_shared(model, each.weights)]
    if not layers:
        return model, 0
    buffers, count = list(model.buffers), 0
    for layer, moments in zip(layers, measure_inputs(model, layers, batches), strict=True):
        rows = _rows(model, layer)
        steps = _narrower(layer, rows, moments) if rounds else _steps(layer, rows)
        codes = _rounded(layer, rows / steps, moments) if rounds else np.rint(rows / steps)
        changed = []
        if rounds:
            shape = model.main.tensors[layer.weights].shape
            changed.append((layer.weights, _stored(layer, codes * steps, shape)))
        if corrects and layer.bias >= 0 and not _is_shared(model, layer.bias):
            bias = np.asarray(model.data(model.main.tensors[layer.bias]), np.float64)
            shift = _mean_output(layer, codes * steps - rows, moments)
            changed.append((layer.bias, bias.ravel() - shift))
        for index, values in changed:
            tensor = model.main.tensors[index]
            stored = np.ascontiguousarray(values.reshape(tensor.shape), np.float32)
            buffers[tensor.buffer] = np.frombuffer(stored.tobytes(), np.uint8)
        count += bool(changed)
    return replace(model, buffers=tuple(buffers)), count


def _rows(model: Model, layer: Layer) -> Values:
    """Return the weights as (outputs, weights of an output)."""
    values = np.asarray(model.data(model.main.tensors[layer.weights]), np.float64)
    if layer.is_depthwise:
        values = values[0].transpose(2, 0, 1)
    return values.reshape(len(values), -1)


def _stored(layer: Layer, rows: Values, shape: Sequence[int]) -> Values:
    """Return ``rows`` in the order of the weights' tensor; the inverse of `_rows`."""
    if layer.is_depthwise:
        return rows.reshape(shape[3], *shape[1:3]).transpose(1, 2, 0)[None]
    return rows.reshape(shape)


def _steps(layer: Layer, rows: Values) -> Values:
    """Return (outputs, 1) the scale of each output's weights; 1 where all are zero."""
    reach = np.abs(rows).max(axis=1, keepdims=True)
    if layer.op.opcode == DENSE:
        reach = np.full_like(reach, reach.max())
    steps: Values = np.where(reach > 0, reach / _MOST_CODE, 1.0)
    return steps


def _narrower(layer: Layer, rows: Values, moments: Moments) -> Values:
    """Return (outputs, 1) scales that end before the outliers, where that is better.

    The error of an output is that of its weights, each times the mean square of its input.
    """
    squares = np.diagonal(moments.second, axis1=-2, axis2=-1) / max(1, moments.count)
    if layer.is_depthwise:
        squares = np.repeat(squares, len(rows) // len(squares), axis=0)
    widest = _steps(layer, rows)
    best, least = widest, _error(layer, rows, widest, squares) * _LESS_ERROR
    for end in _ENDS:
        steps = widest * end
        error = _error(layer, rows, steps, squares)
        is_better = error < least
        best, least = np.where(is_better, steps, best), np.where(is_better, error, least)
    return best


def _error(layer: Layer, rows: Values, steps: Values, squares: Values) -> Values:
    """Return (outputs, 1) mean square errors of the outputs; of a dense layer their sum in each."""
    rounded = np.clip(np.rint(rows / steps), -_MOST_CODE, _MOST_CODE) * steps
    errors = ((rounded - rows) ** 2 * squares).sum(axis=1, keepdims=True)
    return np.full_like(errors, errors.sum()) if layer.op.opcode == DENSE else errors


def _rounded(layer: Layer, rows: Values, moments: Moments) -> Values:
    """Return integers for ``rows``, which are in steps."""
    if not layer.is_depthwise:
        return _codes(rows, moments.second)
    multiplier = len(rows) // len(moments.second)
    parts = [
        _codes(rows[c * multiplier : (c + 1) * multiplier], second)
        for c, second in enumerate(moments.second)
    ]
    return np.concatenate(parts)


def _codes(rows: Values, second: Values) -> Values:
    """Return integers for ``rows``: each column is rounded, and the later ones take up its error.

    Args:
        rows: (outputs, weights) in steps.
        second: (weights, weights), the second moments of the inputs.
    """
    left, codes = rows.copy(), np.zeros_like(rows)
    factor = _inverse_factor(second)
    for column in range(left.shape[1]):
        code = np.clip(np.rint(left[:, column]), -_MOST_CODE, _MOST_CODE)
        # A largest weight that moved would change the scale.
        is_largest = np.abs(rows[:, column]) > _MOST_CODE - _LARGEST
        nearest = np.clip(np.rint(rows[:, column]), -_MOST_CODE, _MOST_CODE)
        code = np.where(is_largest, nearest, code)
        codes[:, column] = code
        error = (left[:, column] - code) / factor[column, column]
        left[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :]
    return codes


def _inverse_factor(second: Values) -> Values:
    """Return the upper Cholesky factor of the inverse of the damped moments."""
    size = len(second)
    mean = float(np.trace(second)) / size
    damped = second + np.eye(size) * (_DAMPING * mean or 1.0)
    return np.asarray(np.linalg.cholesky(np.linalg.inv(damped)).T, np.float64)


def _mean_output(layer: Layer, errors: Values, moments: Moments) -> Values:
    """Return the mean over the samples of each output of a layer with the weights ``errors``."""
    if not layer.is_depthwise:
        return errors @ moments.mean
    mean = np.repeat(moments.mean, len(errors) // len(moments.mean), axis=0)
    return np.asarray((errors * mean).sum(axis=1))


def _is_shared(model: Model, index: int) -> bool:
    """Whether another tensor or operator has the same constant."""
    buffer = model.main.tensors[index].buffer
    return sum(each.buffer == buffer for each in model.main.tensors) > 1 or (
        sum(index in op.inputs for op in model.main.operators) > 1
    )
