# SPDX-License-Identifier: Apache-2.0
"""Limits of logits, and rules for ranges."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.improve.limits import limit_flat, limit_ranges, limit_values
from edgekit.host.convert.improve.range_rules import RangeRule, with_rule, with_rules
from edgekit.host.convert.improve.ranges import range_of, with_moved_ranges, with_ranges
from edgekit.host.convert.trained_ranges import with_trained_ranges
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


def test_the_entropy_leaves_an_outlier_out() -> None:
    low, high = _ranged("entropy", 1000)
    assert -4.5 <= low < -2
    assert 2 < high < 100  # the bins of the histogram are 0.25 wide


def test_the_entropy_keeps_values_that_are_all_as_frequent() -> None:
    g = FloatGraph((1, 20, 20, 40))
    y = g.simple("NEG", g.input)
    batches = [[g.random.uniform(-1, 1, (1, 20, 20, 40)).astype(np.float32)] for _ in range(4)]
    model = with_ranges(g.model(y), {y: (-1.0, 1.0)})
    found = _found(with_rule(model, RangeRule.parse("entropy"), batches), y)
    assert found == pytest.approx((-1, 1), abs=0.05)


def test_odd_samples_are_left_out_and_the_values_of_the_others_stay() -> None:
    g = FloatGraph((1, 20, 20, 40))
    y = g.simple("NEG", g.input)
    batches = [[g.random.normal(size=(1, 20, 20, 40)).astype(np.float32)] for _ in range(40)]
    batches[3][0] *= 1000
    model = with_ranges(g.model(y), {y: (-5000.0, 5000.0)})
    others = [-values for place, (values,) in enumerate(batches) if place != 3]
    found = _found(with_rule(model, RangeRule.parse("samples:95"), batches), y)
    assert found is not None
    assert 3.5 < found[1] <= max(float(each.max()) for each in others)
    assert found[1] > np.median([each.max() for each in others])


def test_tensors_have_rules_of_their_own() -> None:
    g = FloatGraph((1, 20, 20, 40))
    y, z = g.simple("NEG", g.input), g.simple("ABS", g.input)
    batches = [[g.random.normal(size=(1, 20, 20, 40)).astype(np.float32)] for _ in range(4)]
    ends = (-6.0, 6.0)
    model = with_ranges(g.model(y, z), {g.input: ends, y: ends, z: ends})
    rule = RangeRule.parse("percentile:99")
    made = with_rules(model, {g.input: rule, y: rule}, batches)
    for index in (g.input, y):
        assert _found(made, index) == pytest.approx((-2.3, 2.3), abs=0.1)
    assert _found(made, z) == ends


def test_a_range_moves_to_tensors_with_the_same_values_only() -> None:
    g = FloatGraph(SHAPE)
    left, right = g.conv(g.input, 2), g.conv(g.input, 2)
    joined = g.concat(left, right)
    flat = g.reshape(joined, (1, 64))
    after = g.simple("NEG", flat)
    every = {left: (-9.0, 9.0), right: (-1.0, 1.0), joined: (-9.0, 9.0), flat: (-9.0, 9.0)}
    model = with_ranges(g.model(after), {**every, after: (-9.0, 9.0)})
    made = with_moved_ranges(with_ranges(model, {joined: (-4.0, 4.0)}), [joined])
    assert [_found(made, i) for i in (left, joined, flat)] == [(-4.0, 4.0)] * 3
    assert _found(made, right) == (-1.0, 1.0)
    assert _found(made, after) == (-9.0, 9.0)
    narrow = with_moved_ranges(with_ranges(model, {right: (-0.5, 0.5)}), [right])
    assert _found(narrow, joined) == (-9.0, 9.0)


def test_a_range_moves_through_each_operator_that_keeps_the_scale() -> None:
    g = FloatGraph(SHAPE)
    parts = g.split(g.conv(g.input, 4), 2)
    whole = g.operators[0].outputs[0]
    highest = g.add("REDUCE_MAX", (parts[1], g.constant(np.array([1, 2]))), (1, 2))
    every = dict.fromkeys((whole, *parts, highest), (-9.0, 9.0))
    model = with_ranges(g.model(parts[0], highest), {**every, whole: (-4.0, 4.0)})
    made = with_moved_ranges(model, [whole])
    assert {_found(made, index) for index in every} == {(-4.0, 4.0)}


@pytest.mark.parametrize("opcode", ["MAXIMUM", "MINIMUM"])
def test_a_range_does_not_move_to_what_a_comparison_chooses_from(opcode: str) -> None:
    g = FloatGraph(SHAPE)
    left, right = g.conv(g.input, 2), g.conv(g.input, 2)
    chosen = g.add(opcode, (left, right), g.shape(left))
    every = dict.fromkeys((left, right), (-9.0, 9.0))
    model = with_ranges(g.model(chosen), {**every, chosen: (-4.0, 4.0)})
    made = with_moved_ranges(model, [chosen])
    assert {_found(made, index) for index in every} == {(-9.0, 9.0)}


def test_logits_are_limited_before_a_part_is_taken_but_not_before_a_mean() -> None:
    g = FloatGraph(SHAPE)
    first, second = g.conv(g.input, 2), g.conv(g.input, 2)
    begin, size = (g.constant(np.array(each)) for each in ((0, 0, 0, 0), (1, 4, 4, 1)))
    part = g.add("SLICE", (first, begin, size), (1, 4, 4, 1), {}, "SliceOptions")
    mean = g.pool("AVERAGE_POOL_2D", second)
    every = dict.fromkeys((first, second, part, mean), WIDE)
    model = limit_ranges(with_ranges(g.model(part, mean), every), [0, 1])
    assert [_found(model, i) for i in (first, part, mean)] == [(-16.0, 3.0)] * 3
    assert _found(model, second) == WIDE


@pytest.mark.parametrize("place", [0, 1])
def test_a_trained_range_is_that_of_both_sides_of_a_pooling(place: int) -> None:
    g = FloatGraph(SHAPE)
    conv = g.conv(g.input, 2)
    both = conv, g.pool("AVERAGE_POOL_2D", conv)
    model = with_ranges(g.model(both[1]), dict.fromkeys(both, WIDE))
    made = with_trained_ranges(model, {model.main.tensors[both[place]].name: (-2.0, 2.0)})
    assert [_found(made, index) for index in both] == [(-2.0, 2.0)] * 2


def test_a_trained_range_of_a_part_is_not_that_of_the_whole() -> None:
    g = FloatGraph(SHAPE)
    parts = g.split(g.conv(g.input, 4), 2)
    whole = g.operators[0].outputs[0]
    model = with_ranges(g.model(*parts), dict.fromkeys((whole, *parts), WIDE))
    part = with_trained_ranges(model, {model.main.tensors[parts[0]].name: (-2.0, 2.0)})
    assert _found(part, whole) == WIDE
    all_of_it = with_trained_ranges(model, {model.main.tensors[whole].name: (-2.0, 2.0)})
    assert [_found(all_of_it, index) for index in parts] == [(-2.0, 2.0)] * 2


def test_the_least_square_error_cuts_off_what_costs_less_than_it_gains() -> None:
    assert _ranged("mse", 12)[1] < 10
