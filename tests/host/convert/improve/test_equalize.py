# SPDX-License-Identifier: Apache-2.0
"""Channels that belong together, and factors that change no answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.channels import FIXED, find_channels
from edgekit.host.convert.improve.equalize import equalize, find_factors
from edgekit.host.convert.improve.observe import Observer
from edgekit.host.convert.improve.ranges import range_of, with_ranges
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 8, 8, 4)
Step = Callable[[FloatGraph, int], int]


def _inception(g: FloatGraph, x: int) -> int:
    first, second = g.split(g.conv(x, 8), 2)
    return g.concat(g.depthwise(first), g.prelu(second))


def _gated(g: FloatGraph, x: int) -> int:
    gate = g.simple("LOGISTIC", g.conv(g.mean(x), g.shape(x)[-1]))
    return g.arithmetic("MUL", x, gate)


STEPS: dict[str, Step] = {
    "conv": lambda g, x: g.conv(x, 8, 3),
    "conv with relu": lambda g, x: g.conv(x, 8, 1, "RELU"),
    "conv with relu6": lambda g, x: g.conv(x, 8, 1, "RELU6"),
    "depthwise": lambda g, x: g.depthwise(x),
    "depthwise with multiplier": lambda g, x: g.depthwise(x, 2),
    "relu": lambda g, x: g.simple("RELU", x),
    "tanh": lambda g, x: g.simple("TANH", x),
    "prelu": lambda g, x: g.prelu(x),
    "pad": lambda g, x: g.pad(x, [(0, 0), (1, 0), (0, 1), (0, 0)]),
    "pad of channels": lambda g, x: g.pad(x, [(0, 0), (0, 0), (0, 0), (2, 2)]),
    "max pool": lambda g, x: g.pool("MAX_POOL_2D", x),
    "average pool": lambda g, x: g.pool("AVERAGE_POOL_2D", x),
    "trunk": lambda g, x: g.arithmetic("ADD", x, g.conv(g.depthwise(x), g.shape(x)[-1])),
    "constant addend": lambda g, x: g.arithmetic("ADD", x, g.weights(g.shape(x)[-1])),
    "constant difference": lambda g, x: g.arithmetic("SUB", x, g.weights(1)),
    "constant factor": lambda g, x: g.arithmetic("MUL", x, g.weights(g.shape(x)[-1])),
    "gate": _gated,
    "inception": _inception,
    "depth to space": lambda g, x: g.depth_to_space(g.conv(x, 16)),
    "rows": lambda g, x: g.reshape(x, (1, g.shape(x)[1] * g.shape(x)[2], 1, g.shape(x)[3])),
}


def _outputs(model: Model, x: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    with Runner(ModelFile.of(model)) as runner:
        return runner.predict(x)


def _snr_db(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    noise = float(((expected - actual) ** 2).sum()) or 1e-30
    return float(10 * np.log10((expected**2).sum() / noise))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("seed", range(3))
def test_factors_of_any_size_change_no_answer(name: str, seed: int) -> None:
    """The step stands between convolutions; other steps at random follow."""
    g = FloatGraph(SHAPE, seed)
    x = STEPS[name](g, g.conv(g.input, 4))
    for other in g.random.choice(list(STEPS), 3):
        if min(g.shape(x)[1:3]) >= 4:
            x = STEPS[str(other)](g, g.conv(x, 4))
    y = g.dense(g.dense(g.conv(x, 4, 1, "RELU"), 6, "RELU"), 3)
    model = g.model(y, x)
    channels = find_channels(model)
    factors = np.exp(g.random.uniform(-5, 0, channels.count))
    factors[FIXED] = 1
    changed = equalize(model, channels, factors, {})
    image = g.random.normal(size=SHAPE).astype(np.float32)
    for expected, actual in zip(_outputs(model, image), _outputs(changed, image), strict=True):
        assert _snr_db(expected, actual) > 100


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"tanh", "conv with relu6"}))
def test_channels_before_and_behind_a_step_can_be_scaled(name: str) -> None:
    g = FloatGraph(SHAPE)
    before = g.conv(g.input, 4)
    behind = STEPS[name](g, before)
    channels = find_channels(g.model(g.conv(behind, 2)))
    assert {before, behind} <= set(channels.free())


def test_inputs_and_outputs_keep_their_values() -> None:
    g = FloatGraph(SHAPE)
    middle = g.conv(g.input, 4)
    last = g.conv(middle, 4)
    channels = find_channels(g.model(g.simple("RELU", middle), last))
    assert channels.free() == []


def _uneven() -> tuple[FloatGraph, Model]:
    """A depthwise layer whose channels differ 1,000 times, before a 1x1 convolution."""
    g = FloatGraph(SHAPE, 1)
    x = g.depthwise(g.input)
    for index in g.operators[-1].inputs[1:]:
        g.scale(index, np.array([100, 1, 0.3, 0.1]))
    return g, g.model(g.conv(x, 3))


def test_a_depthwise_layer_gets_channels_of_equal_range() -> None:
    g, model = _uneven()
    samples = [[g.random.normal(size=SHAPE).astype(np.float32)] for _ in range(8)]
    channels = find_channels(model)
    observer = Observer(model, channels.free())
    assert list(observer.watch(iter(samples))) == samples
    uneven = model.main.operators[0].outputs[0]
    ranges = observer.ranges
    calibrated = with_ranges(
        model, {i: (float(each.low.min()), float(each.high.max())) for i, each in ranges.items()}
    )
    factors = find_factors(calibrated, channels, ranges)
    assert factors is not None
    changed = equalize(calibrated, channels, factors, ranges)
    moved = changed.main.operators[0].outputs[0]
    other = Observer(changed, [moved])
    list(other.watch(iter(samples)))
    before, after = ranges[uneven].reach, other.ranges[moved].reach
    assert before.max() > 1_000 * before.min()
    assert after.max() < 40 * after.min()
    assert after.max() <= before.max() * (1 + 1e-6)
    stated = range_of(changed.main.tensors[moved])
    found = other.ranges[moved]
    assert stated == pytest.approx((found.low.min(), found.high.max()), rel=1e-5)


def test_even_channels_stay_as_they_are() -> None:
    g = FloatGraph(SHAPE, 2)
    model = g.model(g.conv(g.conv(g.input, 4), 4))
    channels = find_channels(model)
    observer = Observer(model, channels.free())
    list(observer.watch(iter([[g.random.normal(size=SHAPE).astype(np.float32)]])))
    ranges = {
        index: replace(each, low=-np.ones(4), high=np.ones(4))
        for index, each in observer.ranges.items()
    }
    assert find_factors(model, channels, ranges) is None


def test_channels_that_nothing_reads_become_zero() -> None:
    g = FloatGraph(SHAPE, 3)
    x = g.conv(g.input, 4, 1, "RELU")
    for index in g.operators[-1].inputs[1:]:
        wide = np.array([1, 500, 1, 1])
        g.scale(index, wide.reshape(4, *[1] * (len(g.shape(index)) - 1)))
    y = g.conv(x, 3)
    g.scale(g.operators[-1].inputs[1], np.array([1, 0, 1, 1]))
    model = g.model(y)
    samples = [[g.random.normal(size=SHAPE).astype(np.float32)] for _ in range(4)]
    channels = find_channels(model)
    observer = Observer(model, channels.free())
    list(observer.watch(iter(samples)))
    ranges = observer.ranges
    factors = find_factors(model, channels, ranges)
    assert factors is not None
    assert np.isinf(factors[channels.classes[x][1]])
    changed = equalize(model, channels, factors, ranges)
    first = changed.main.operators[0]
    other = Observer(changed, [first.outputs[0]])
    list(other.watch(iter(samples)))
    (after,) = other.ranges.values()
    assert after.reach[1] == 0
    assert after.reach.max() < ranges[x].reach.max() / 50
    for expected, actual in zip(
        _outputs(model, samples[0][0]), _outputs(changed, samples[0][0]), strict=True
    ):
        assert _snr_db(expected, actual) > 100
