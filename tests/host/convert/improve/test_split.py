# SPDX-License-Identifier: Apache-2.0
"""Channels that are computed twice change no answer, and make the steps smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.observe import Observer
from edgekit.host.convert.improve.ranges import range_of, with_ranges
from edgekit.host.convert.improve.split import split_outliers, watched_tensors
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 8, 8, 4)
Step = Callable[[FloatGraph, int], int]

HALVING: dict[str, Step] = {
    "nothing": lambda _, x: x,
    "relu": lambda g, x: g.simple("RELU", x),
    "prelu": lambda g, x: g.prelu(x),
    "depthwise": lambda g, x: g.depthwise(x, activation="RELU"),
    "max pool": lambda g, x: g.pool("MAX_POOL_2D", x),
    "average pool": lambda g, x: g.pool("AVERAGE_POOL_2D", x),
    "pad": lambda g, x: g.pad(x, [(0, 0), (1, 0), (0, 1), (0, 0)]),
    "rows": lambda g, x: g.reshape(x, (1, g.shape(x)[1] * g.shape(x)[2], 1, g.shape(x)[3])),
}
BOUNDED: dict[str, Step] = {
    "relu6": lambda g, x: g.simple("RELU6", x),
    "tanh": lambda g, x: g.simple("TANH", x),
    "gate": lambda g, x: g.simple("LOGISTIC", g.depthwise(x)),
    "depthwise with relu6": lambda g, x: g.depthwise(x, activation="RELU6"),
}
ENDS: dict[str, Step] = {
    "convolution": lambda g, x: g.conv(x, 6, 3),
    "dense": lambda g, x: g.dense(x, 6),
    "mean": lambda g, x: g.dense(g.mean(x), 6),
    "flat": lambda g, x: g.dense(g.reshape(x, (1, int(np.prod(g.shape(x))))), 6),
}


def _network(step: Step, end: Step, seed: int = 3) -> FloatGraph:
    g = FloatGraph(SHAPE, seed)
    end(g, step(g, g.conv(g.input, 12)))
    return g


def _samples(g: FloatGraph) -> list[list[NDArray[Any]]]:
    return [[g.random.normal(size=SHAPE).astype(np.float32)] for _ in range(8)]


def _outputs(model: Model, samples: list[list[NDArray[Any]]]) -> NDArray[Any]:
    with Runner(ModelFile.of(model)) as runner:
        return np.stack([runner.invoke(*each)[0] for each in samples])


def _calibrated(model: Model, samples: list[list[NDArray[Any]]]) -> tuple[Model, Observer]:
    observer = Observer(model, watched_tensors(model))
    for _ in observer.watch(iter(samples)):
        pass
    ends = {
        i: (float(each.low.min()), float(each.high.max())) for i, each in observer.ranges.items()
    }
    return with_ranges(model, ends), observer


def _assert_equal(before: Model, after: Model, samples: list[list[NDArray[Any]]]) -> None:
    expected, actual = _outputs(before, samples), _outputs(after, samples)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def _largest(model: Model, index: int) -> float:
    return float(np.abs(np.asarray(model.data(model.main.tensors[index]))).max())


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("step", HALVING)
def test_a_channel_that_sets_the_range_is_halved(step: str, end: str) -> None:
    g = _network(HALVING[step], ENDS[end])
    factors = np.ones(12)
    factors[5] = 30
    maker = g.operators[0]
    for index in maker.inputs[1:]:
        shape = (-1, *[1] * (len(g.shape(index)) - 1))
        values = g.buffers[g.tensors[index].buffer].view(np.float32).reshape(g.shape(index))
        g.set(index, values * factors.reshape(shape))
    samples = _samples(g)
    model, observer = _calibrated(g.model(g.operators[-1].outputs[0]), samples)
    found = split_outliers(model, observer.ranges)
    assert found is not None
    split = found[0]
    _assert_equal(model, split, samples)
    tensor = next(
        each for each in split.main.tensors if each.name == g.tensors[maker.outputs[0]].name
    )
    assert tensor.shape[-1] > 12
    before, after = range_of(model.main.tensors[maker.outputs[0]]), range_of(tensor)
    assert before is not None
    assert after is not None
    assert after[1] - after[0] < 0.6 * (before[1] - before[0])


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("step", [*HALVING, *BOUNDED])
def test_weights_that_set_the_step_are_halved(step: str, end: str) -> None:
    g = _network({**HALVING, **BOUNDED}[step], ENDS[end])
    weights = g.operators[-1].inputs[1]
    factors = np.ones(12)
    factors[2] = 20
    g.scale(weights, np.tile(factors, g.shape(weights)[-1] // 12))
    samples = _samples(g)
    model, observer = _calibrated(g.model(g.operators[-1].outputs[0]), samples)
    found = split_outliers(model, observer.ranges)
    assert found is not None
    split = found[0]
    _assert_equal(model, split, samples)
    reader = split.main.operators[-1]
    largest = _largest(split, reader.inputs[1])
    assert largest < 0.6 * _largest(model, weights)


def test_a_network_without_outliers_stays() -> None:
    g = _network(HALVING["relu"], ENDS["convolution"])
    for op in g.operators:
        for index in op.inputs[1:]:
            g.set(index, np.full(g.shape(index), 0.5))
    model, observer = _calibrated(g.model(g.operators[-1].outputs[0]), _samples(g))
    assert split_outliers(model, observer.ranges) is None


def test_what_the_model_returns_is_not_split() -> None:
    g = FloatGraph(SHAPE)
    first = g.conv(g.input, 12)
    second = g.conv(first, 6)
    assert watched_tensors(g.model(second)) == [first]
    assert watched_tensors(g.model(first, second)) == []


def test_a_channel_that_meets_others_is_not_split() -> None:
    g = FloatGraph(SHAPE)
    first, second = g.split(g.conv(g.input, 12), 2)
    assert watched_tensors(g.model(g.conv(g.arithmetic("ADD", first, second), 4))) == []
