# SPDX-License-Identifier: Apache-2.0
"""Rounding of weights for the least error of the outputs, and corrected biases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.layer_inputs import layers_of, measure_inputs
from edgekit.host.convert.improve.weights import adjust_weights
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 7, 6, 4)
Batches = list[list[NDArray[np.float32]]]


def conv(g: FloatGraph) -> int:
    return g.conv(g.input, 8, 3)


def depthwise(g: FloatGraph) -> int:
    return g.depthwise(g.input, 2)


def dense(g: FloatGraph) -> int:
    return g.dense(g.input, 5)


LAYERS = pytest.mark.parametrize("layer", [conv, depthwise, dense])


def _network(layer: Callable[[FloatGraph], int]) -> tuple[Model, Batches]:
    """A layer, and positive samples whose neighbouring values are similar."""
    g = FloatGraph(SHAPE, 5)
    y = layer(g)
    samples = g.random.normal(size=(40, *SHAPE)) * 0.3 + g.random.normal(size=(40, 1, 1, 1, 4)) + 2
    return g.model(y), [[each.astype(np.float32)] for each in samples]


def _answers(model: Model, batches: Batches) -> NDArray[np.float64]:
    with Runner(ModelFile.of(model)) as runner:
        return np.array([runner.invoke(*each)[0] for each in batches], np.float64)


def _weights(model: Model) -> NDArray[np.float64]:
    op = model.main.operators[0]
    return np.asarray(model.data(model.main.tensors[op.inputs[1]]), np.float64)


def _rounded(model: Model) -> NDArray[np.float64]:
    """Return weights that are rounded to the nearest step, by numpy."""
    values = _weights(model)
    axes: tuple[int, ...] = {"CONV_2D": (1, 2, 3), "DEPTHWISE_CONV_2D": (0, 1, 2)}.get(
        model.main.operators[0].opcode, (0, 1)
    )
    steps = np.abs(values).max(axis=axes, keepdims=True) / 127
    return np.asarray(np.rint(values / steps) * steps)


def _with_weights(model: Model, values: NDArray[np.float64]) -> Model:
    index = model.main.operators[0].inputs[1]
    buffers = list(model.buffers)
    stored = np.ascontiguousarray(values, np.float32).tobytes()
    buffers[model.main.tensors[index].buffer] = np.frombuffer(stored, np.uint8)
    return Model(**{**model.__dict__, "buffers": tuple(buffers)})


@LAYERS
def test_the_moments_are_those_of_the_windows(layer: Callable[[FloatGraph], int]) -> None:
    """The layer's mean output is its weights times the mean window, plus the bias."""
    model, batches = _network(layer)
    found = layers_of(model)[0]
    moments = measure_inputs(model, [found], batches)[0]
    weights, bias = _weights(model), model.data(model.main.tensors[found.bias])
    if found.is_depthwise:
        kernels = weights[0].transpose(2, 0, 1).reshape(8, -1)
        expected = (kernels * np.repeat(moments.mean, 2, axis=0)).sum(axis=1)
    else:
        expected = weights.reshape(len(weights), -1) @ moments.mean
    answers = _answers(model, batches)
    mean = answers.reshape(-1, answers.shape[-1]).mean(axis=0)
    np.testing.assert_allclose(expected + bias, mean, rtol=1e-4, atol=1e-4)


@LAYERS
def test_rounding_is_closer_to_the_float_layer_than_the_nearest_step(
    layer: Callable[[FloatGraph], int],
) -> None:
    model, batches = _network(layer)
    made, count = adjust_weights(model, batches, rounds=True, corrects=False)
    assert count == 1
    expected = _answers(model, batches)
    nearest = _answers(_with_weights(model, _rounded(model)), batches)
    error = float(((_answers(made, batches) - expected) ** 2).mean())
    assert error < 0.7 * float(((nearest - expected) ** 2).mean())


@LAYERS
def test_rounded_weights_are_on_the_steps_of_the_quantizer(
    layer: Callable[[FloatGraph], int],
) -> None:
    model, batches = _network(layer)
    made, _ = adjust_weights(model, batches, rounds=True, corrects=False)
    np.testing.assert_allclose(_weights(made), _rounded(made), atol=1e-6)
    assert np.abs(_weights(made) - _weights(model)).max() > 0


@pytest.mark.parametrize("layer", [conv, dense])
def test_outliers_on_inputs_that_are_zero_do_not_coarsen_the_other_weights(
    layer: Callable[[FloatGraph], int],
) -> None:
    model, batches = _network(layer)
    for (sample,) in batches:
        sample[..., 0] = 0
    weights = _weights(model)
    weights.reshape(-1, SHAPE[-1])[:, 0] *= 500
    outliers = _with_weights(model, weights)
    expected = _answers(outliers, batches)
    made, _ = adjust_weights(outliers, batches, rounds=True, corrects=False)
    errors = [
        float(((_answers(each, batches) - expected) ** 2).mean())
        for each in (made, _with_weights(outliers, _rounded(outliers)))
    ]
    assert errors[0] < 0.01 * errors[1]
    np.testing.assert_allclose(_weights(made), _rounded(made), atol=1e-6)


@LAYERS
def test_corrected_biases_cancel_the_mean_error(layer: Callable[[FloatGraph], int]) -> None:
    model, batches = _network(layer)
    made, _ = adjust_weights(model, batches, rounds=False, corrects=True)
    expected = _answers(model, batches)
    nearest = _rounded(model)

    def shift(other: Model) -> float:
        errors = _answers(_with_weights(other, nearest), batches) - expected
        return float(np.abs(errors.reshape(-1, errors.shape[-1]).mean(axis=0)).max())

    assert shift(made) < 0.01 * shift(model)


def test_shared_weights_stay() -> None:
    g = FloatGraph(SHAPE, 5)
    first = g.conv(g.input, 4)
    g.place(
        "CONV_2D",
        (first, *g.operators[0].inputs[1:]),
        [g.tensor(SHAPE)],
        dict(g.operators[0].options),
        "Conv2DOptions",
    )
    model = g.model(g.operators[-1].outputs[0])
    batches = [[np.ones(SHAPE, np.float32)]]
    assert adjust_weights(model, batches, rounds=True, corrects=True) == (model, 0)
