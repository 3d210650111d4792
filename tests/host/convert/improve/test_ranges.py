# SPDX-License-Identifier: Apache-2.0
"""Limits of logits, and rules for ranges."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.limits import limit_flat, limit_ranges, limit_values
from edgekit.host.convert.improve.range_rules import RangeRule, with_rule
from edgekit.host.convert.improve.ranges import range_of, with_ranges
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

SHAPE = (1, 4, 4, 3)
WIDE = (-700.0, 3.0)


def _found(model: Model, index: int) -> tuple[float, float] | None:
    return range_of(model.main.tensors[index])


def test_the_tensors_that_a_score_output_joins_are_limited_too() -> None:
    g = FloatGraph(SHAPE)
    heads = [g.reshape(g.conv(g.input, 2), (1, 4, 4, 2)) for _ in range(2)]
    conv = g.operators[0].outputs[0]
    scores, boxes = g.concat(*heads), g.conv(g.input, 4)
    every = dict.fromkeys((conv, *heads, scores, boxes), WIDE)
    model = limit_ranges(with_ranges(g.model(boxes, scores), every), [1])
    assert {_found(model, index) for index in (conv, *heads, scores)} == {(-16.0, 3.0)}
    assert _found(model, boxes) == WIDE


def test_a_tensor_that_is_also_read_elsewhere_keeps_its_range() -> None:
    g = FloatGraph(SHAPE)
    conv = g.conv(g.input, 2)
    scores, other = g.reshape(conv, (1, 16, 1, 2)), g.simple("RELU", conv)
    every = dict.fromkeys((conv, scores, other), WIDE)
    model = limit_ranges(with_ranges(g.model(scores, other), every), [0])
    assert _found(model, conv) == WIDE
    assert _found(model, scores) == (-16.0, 3.0)


def test_the_reference_for_limited_scores_has_limited_values() -> None:
    g = FloatGraph(SHAPE)
    model = g.model(g.simple("RELU", g.input), g.simple("NEG", g.input))
    x = np.linspace(-40, 40, 48, dtype=np.float32).reshape(SHAPE)
    with Runner(ModelFile.of(limit_values(model, [1]))) as runner:
        same, limited = runner.predict(x)
    np.testing.assert_array_equal(same, np.maximum(x, 0))
    np.testing.assert_array_equal(limited, np.clip(-x, -16, 16))


def test_inputs_of_a_sigmoid_are_limited_if_nothing_else_reads_them() -> None:
    g = FloatGraph(SHAPE)
    gate, shared = g.conv(g.input, 2), g.conv(g.input, 2)
    swish = g.arithmetic("MUL", shared, g.simple("LOGISTIC", shared))
    model = g.model(g.simple("LOGISTIC", gate), swish)
    limited = limit_flat(with_ranges(model, dict.fromkeys((gate, shared), WIDE)))
    assert limited is not None
    assert limited[1] == 1
    assert _found(limited[0], gate) == (-8.0, 3.0)
    assert _found(limited[0], shared) == WIDE
    assert limit_flat(with_ranges(model, {gate: (-7.0, 3.0)})) is None


@pytest.mark.parametrize("text", ["minmax", "mse", "percentile:99.99", "percentile:100"])
def test_a_rule_is_written_as_it_is_read(text: str) -> None:
    assert str(RangeRule.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "max", "percentile", "percentile:x", "percentile:80", "mse:3"]
)
def test_an_unknown_rule_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="unknown"):
        RangeRule.parse(text)


def _ranged(text: str, outlier: float) -> tuple[float, float]:
    """The range of 160,000 normal values and an outlier."""
    g = FloatGraph((1, 20, 20, 40))
    y = g.simple("NEG", g.input)
    batches = [[g.random.normal(size=(1, 20, 20, 40)).astype(np.float32)] for _ in range(10)]
    batches[3][0][0, 0, 0, 0] = -outlier
    model = with_ranges(g.model(y), {y: (-4.5, outlier)})
    found = _found(with_rule(model, RangeRule.parse(text), batches), y)
    assert found is not None
    return found


def test_percentiles_leave_outliers_out() -> None:
    low, high = _ranged("percentile:99.9", 1000)
    assert -3.7 < low < -2.5
    assert 2.5 < high < 3.7


def test_all_values_are_within_100_percent() -> None:
    low, high = _ranged("percentile:100", 1000)
    assert high == pytest.approx(1000)
    assert low < -3.9


def test_the_least_square_error_keeps_an_outlier_that_matters() -> None:
    """Cutting it off at 800 costs more than the rounding of all other values."""
    assert _ranged("mse", 1000)[1] > 900


def test_the_least_square_error_cuts_off_what_costs_less_than_it_gains() -> None:
    assert _ranged("mse", 12)[1] < 10
