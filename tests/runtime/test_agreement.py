# SPDX-License-Identifier: Apache-2.0
"""Two models' outputs on the same samples: numbers equal numpy's, and verdicts follow them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.runtime import TensorInfo
from edgekit.runtime.agreement import DifferenceSums, InputRanges, OutputRecord, OutputSums
from edgekit.runtime.quality import (
    BAD,
    DOUBTFUL,
    EXACT_TARGET,
    GOOD,
    NOT_SHOWN,
    UNKNOWN,
    judge_output,
)

_RNG = np.random.default_rng(5)


def _info(shape: tuple[int, ...], scale: float | None = None, zero: int = 0) -> TensorInfo:
    quantized = None if scale is None else zero
    return TensorInfo("out", shape, "uint8" if scale else "float32", scale, quantized, 0)


def _record(expected: Any, actual: Any, info: TensorInfo | None = None) -> OutputRecord:  # noqa: ANN401
    sums = OutputSums(info or _info((1, *expected.shape[1:])))
    for one, other in zip(expected, actual):
        sums.add(one[None], other[None])
    return sums.record()


def _verdict(expected: Any, actual: Any, info: TensorInfo | None = None) -> str:  # noqa: ANN401
    return judge_output(_record(expected, actual, info))[0]


def _as_uint8(real: NDArray[Any], scale: float, zero: int) -> NDArray[Any]:
    return (np.clip(np.round(real / scale) + zero, 0, 255) - zero) * scale


def test_a_constant_part_of_the_outputs_is_not_signal() -> None:
    expected = 100 + _RNG.normal(size=(50, 30))
    actual = expected + _RNG.normal(scale=0.5, size=expected.shape)
    record = _record(expected, actual)
    noise = ((actual - expected) ** 2).sum()
    variance = expected.var(axis=0, ddof=1).sum() * len(expected)
    assert record.snr_db is not None
    assert record.snr_db == pytest.approx(10 * np.log10((expected**2).sum() / noise), abs=0.01)
    assert record.centred_snr_db == pytest.approx(10 * np.log10(variance / noise), abs=0.01)
    assert record.snr_db > 40
    assert judge_output(record)[0] == BAD


def test_chunks_of_any_size_give_the_numbers_of_the_whole() -> None:
    expected = _RNG.normal(3, 2, (37, 4, 5))
    actual = expected + _RNG.normal(scale=0.1, size=expected.shape)
    whole, parts = OutputSums(_info((1, 4, 5))), OutputSums(_info((1, 4, 5)))
    whole.add(expected, actual)
    for start, stop in ((0, 1), (1, 20), (20, 37)):
        parts.add(expected[start:stop], actual[start:stop])
    one, other = whole.record(), parts.record()
    assert one.num_samples == other.num_samples == 37
    assert one.centred_snr_db == other.centred_snr_db
    assert one.spread == pytest.approx(other.spread, rel=1e-9)


def test_equal_outputs_are_good_and_one_sample_has_no_verdict() -> None:
    values = _RNG.normal(size=(10, 6))
    assert _record(values, values).identical
    assert _verdict(values, values) == GOOD
    assert _verdict(values[:1], values[:1] + 1) == UNKNOWN


def test_a_sample_with_nan_is_counted_and_left_out() -> None:
    expected = _RNG.normal(size=(12, 6))
    actual = expected + 0.01
    actual[3, 2] = np.nan
    record = _record(expected, actual)
    assert (record.num_samples, record.num_not_finite) == (11, 1)
    assert record.centred_snr_db is not None
    assert record.centred_snr_db > 30


def test_outputs_without_one_finite_sample_are_not_identical() -> None:
    record = _record(np.full((12, 6), np.inf), np.ones((12, 6)))
    assert (record.num_samples, record.num_not_finite, record.identical) == (0, 12, False)
    assert _verdict(np.full((12, 6), np.inf), np.ones((12, 6))) == UNKNOWN


def test_a_difference_counts_steps_and_positions() -> None:
    sums = DifferenceSums(_info((1, 2), 0.5))
    sums.add(np.array([[1.0, 2.0]], np.float32), np.array([[1.0, 3.0]], np.float32))
    sums.add(np.array([[4.0, 2.0]], np.float32), np.array([[1.0, 3.0]], np.float32))
    record = sums.record()
    assert (record.largest_difference, record.largest_step) == (3.0, 6.0)
    assert record.argmax == 0.5
    assert not record.identical


def test_samples_with_nan_count_as_identical_only_where_both_are_nan() -> None:
    whole, nan = np.ones((1, 3)), np.array([[1.0, np.nan, 2.0]])
    for other, identical in ((nan, True), (np.array([[5.0, np.nan, 2.0]]), False), (whole, False)):
        sums = DifferenceSums(_info((1, 3)))
        sums.add(whole, whole)
        sums.add(nan, other)
        record = sums.record()
        assert (record.identical, record.num_samples, record.num_not_finite) == (identical, 1, 1)
        assert record.largest_difference == 0


def test_saturated_values_are_those_beyond_the_models_range() -> None:
    expected = np.linspace(0, 20, 100).reshape(10, 10)
    actual = _as_uint8(expected, 10 / 255, 0)
    record = _record(expected, actual, _info((1, 10), 10 / 255))
    assert record.saturated == pytest.approx((expected > 10 + 10 / 255).mean())
    assert record.model_range[1] == pytest.approx(10)


@pytest.mark.parametrize(("reach", "verdict"), [(8, GOOD), (700, BAD)])
def test_detector_logits_are_judged_by_the_values_above_zero(reach: float, verdict: str) -> None:
    """A step of 2.7 leaves no score between 0 and the next code, and the largest code is 0."""
    logits = -_RNG.uniform(1, reach, (20, 900, 1))
    logits[:, :5] = _RNG.uniform(0.3, 2.5, (20, 5, 1))
    scale = (reach + 2.5) / 255
    top = int(np.floor(reach / scale))
    actual = _as_uint8(logits, scale, top)
    if reach > 100:
        actual = np.minimum(actual, 0)
    record = _record(logits, actual, _info((1, 900, 1), scale, top))
    assert record.hits is not None
    assert record.hits.reference == 100
    assert record.hits.found == (actual[:, :5] > 0).sum()
    assert judge_output(record)[0] == verdict


def test_without_a_hit_the_verdict_depends_on_the_step_and_the_largest_code() -> None:
    logits = -_RNG.uniform(1, 600, (20, 900, 1))
    logits[0, 0] = 1.5  # one hit is not enough for a verdict
    scale = 601.5 / 255
    findings = judge_output(
        _record(logits, np.minimum(_as_uint8(logits, scale, 254), 0), _info((1, 900, 1), scale))
    )[1]
    assert [each.code for each in findings] == ["quality.never_above"]
    logits[0, 0] = -1.5
    findings = judge_output(
        _record(logits, _as_uint8(logits, scale, 254), _info((1, 900, 1), scale, 254))
    )[1]
    assert [(each.code, each.level) for each in findings] == [("quality.coarse_logits", DOUBTFUL)]


def test_half_of_the_hits_is_reported_in_words() -> None:
    logits = np.full((20, 900, 1), -6.0)
    logits += _RNG.normal(scale=0.5, size=logits.shape)
    logits[:, :10] = 2.0
    actual = logits.copy()
    actual[::2, :10] = -0.5
    _, (finding,) = judge_output(_record(logits, actual))
    assert "about half of what the float model finds: 100 of 200" in finding.text


def test_a_background_class_does_not_hide_lost_objects() -> None:
    logits = np.full((10, 200, 5), -6.0) + _RNG.normal(scale=0.3, size=(10, 200, 5))
    logits[..., 0] = 5
    logits[:, :6, 2] = 3
    actual = logits.copy()
    actual[:, :6, 2] = -1
    record = _record(logits, actual)
    assert record.hits is not None
    assert (record.hits.reference, record.hits.found) == (60, 0)
    assert judge_output(record)[0] == BAD


def test_boxes_and_scores_in_one_output_are_judged_separately() -> None:
    """The large values of the boxes hide the scores' loss: 40 dB in all, but no object is found."""
    boxes = _RNG.uniform(0, 600, (20, 300, 4))
    scores = np.where(_RNG.random((20, 300, 3)) < 0.01, 0.9, 0.02)
    expected = np.concatenate([boxes, scores], axis=2)
    scale = 600 / 255
    record = _record(expected, _as_uint8(expected, scale, 0), _info((1, 300, 7), scale))
    assert record.snr_db is not None
    assert record.snr_db > 40
    wide, narrow = record.parts
    assert (wide.channels, narrow.channels) == ((0, 1, 2, 3), (4, 5, 6))
    assert narrow.hits is not None
    assert (narrow.hits.reference, narrow.hits.found) == (int((scores > 0.5).sum()), 0)
    assert judge_output(record)[0] == BAD


def test_channels_first_are_found_too() -> None:
    boxes = _RNG.uniform(0, 600, (20, 4, 300))
    scores = np.where(_RNG.random((20, 3, 300)) < 0.01, 0.9, 0.02)
    expected = np.concatenate([boxes, scores], axis=1)
    record = _record(expected, np.round(expected * 255) / 255, _info((1, 7, 300), 1 / 255))
    assert [part.channels for part in record.parts] == [(0, 1, 2, 3), (4, 5, 6)]
    assert judge_output(record)[0] == GOOD


def test_coordinates_between_0_and_1_are_not_scores() -> None:
    expected = _RNG.uniform(0.2, 0.8, (40, 10))
    actual = expected + _RNG.normal(scale=0.01, size=expected.shape)
    record = _record(expected, actual)
    assert record.hits is None
    assert judge_output(record)[0] == GOOD


def test_a_flag_that_hardly_ever_changes_is_good_when_its_decisions_agree() -> None:
    """The signal about the mean is small; only the side of 0.5 decides."""
    expected = np.where(_RNG.random((100, 1)) < 0.03, 0.05, 0.97)
    actual = np.clip(expected + _RNG.normal(scale=0.08, size=expected.shape), 0, 1)
    record = _record(expected, actual)
    assert record.centred_snr_db is not None
    assert record.centred_snr_db < 12
    assert judge_output(record)[0] == GOOD


def test_the_range_of_each_feature_is_collected() -> None:
    ranges = InputRanges(_info((1, 3)))
    ranges.add(np.array([[0.0, -5.0, 2.0]]))
    ranges.add(np.array([[1.0, 5.0, 2.0], [0.5, 0.0, 2.0]]))
    np.testing.assert_allclose(ranges.widths, [1, 10, 0])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_single_numbers_are_compared_too(shape: tuple[int, ...]) -> None:
    sums = OutputSums(_info(shape))
    values = _RNG.normal(size=30)
    for value in values:
        sums.add(np.full(shape, value), np.full(shape, value + 0.5))
    record = sums.record()
    assert record.num_samples == 30
    assert record.spread == pytest.approx(values.std(ddof=1), rel=1e-5)
    assert record.noise == pytest.approx(0.5)


def test_a_small_target_beside_a_large_one_is_judged_by_itself() -> None:
    """One scale for targets up to 1000 and up to 1: the second is a constant in int8."""
    expected = _RNG.uniform(0, 1, (60, 2)) * (1000, 1)
    record = _record(expected, _as_uint8(expected, 4, 0), _info((1, 2), 4.0))
    assert record.centred_snr_db is not None
    assert record.centred_snr_db > 40
    level, (finding,) = judge_output(record)
    assert (level, finding.code) == (BAD, "quality.noise")
    assert "channels 1 of out" in finding.text
    assert _verdict(expected, expected + _RNG.normal(size=(60, 2)) * (1, 0.001)) == GOOD


def test_one_lost_number_among_good_ones_is_named() -> None:
    """All have the same range: only their own ratios show which is lost."""
    expected = _RNG.normal(size=(60, 12))
    actual = expected + 0.01
    actual[:, 5] = 0
    record = _record(expected, actual)
    assert record.centred_snr_db is not None
    level, (finding,) = judge_output(record)
    assert level == BAD
    assert finding.code == "quality.element"
    powers = (expected.var(axis=0, ddof=1) * 60, ((actual - expected) ** 2).sum(axis=0))
    assert record.elements_snr_db == pytest.approx(10 * np.log10(powers[0] / powers[1]), abs=0.01)


def test_a_number_that_hardly_varies_is_not_a_target() -> None:
    """The root of a skeleton is the origin of its coordinates, up to rounding."""
    expected = _RNG.normal(size=(60, 6))
    expected[:, 0] *= 1e-6
    assert _verdict(expected, expected + 0.001) == GOOD


def test_channels_beside_wide_ones_need_not_be_scores() -> None:
    """Boxes in pixels and their angles; one dead channel of sixteen is no loss."""
    expected = _RNG.uniform(0, 640, (40, 30, 5))
    expected[..., 4] = _RNG.uniform(-1.5, 1.5, (40, 30))
    assert _verdict(expected, expected + _RNG.normal(scale=0.03, size=expected.shape)) == GOOD
    assert _verdict(expected, expected + _RNG.normal(scale=2, size=expected.shape)) == BAD
    features = np.maximum(_RNG.normal(size=(40, 30, 16)), 0)
    features[..., 3] *= 0.01
    assert _verdict(features, features + _RNG.normal(scale=0.01, size=features.shape)) == GOOD


def test_a_rare_label_that_is_lost_is_named() -> None:
    expected = (_RNG.random((200, 6)) < 0.5).astype(float)
    expected[:, 4] = _RNG.random(200) < 0.15
    actual = expected.copy()
    actual[:, 4] = 0
    record = _record(expected, actual)
    assert record.hits is not None
    assert record.hits.f1 > 0.94
    level, (finding,) = judge_output(record)
    assert level == BAD
    assert "channel 4 agrees with that of the float model by 0% only" in finding.text


def test_an_answer_of_few_numbers_must_be_closer_than_a_row_of_features() -> None:
    for numbers, verdict in ((2, DOUBTFUL), (30, GOOD)):
        expected = _RNG.normal(size=(200, numbers))
        actual = expected + _RNG.normal(scale=0.21, size=expected.shape)  # 13.6 dB
        assert _verdict(expected, actual, _info((1, numbers))) == verdict


def test_a_long_tail_that_is_cut_off_does_not_hide_that_the_other_targets_are_exact() -> None:
    expected = _RNG.normal(size=(250, 1))
    expected[:3] = 5.0
    actual = np.minimum(expected, 3.0)  # 3 of 250 are wrong, by 2 of 5
    record = _record(expected, actual)
    assert record.centred_snr_db is not None
    assert record.centred_snr_db < 20
    absolute = np.abs(expected - expected.mean()).mean() / np.abs(actual - expected).mean()
    assert record.absolute_snr_db == pytest.approx(20 * np.log10(absolute), abs=0.01)
    assert judge_output(record)[0] == NOT_SHOWN  # a mean error of 1.5 % is open without labels
    assert _verdict(expected, np.minimum(expected, 0.5)) == BAD  # 30 % are cut off


def test_small_targets_are_lost_beside_large_ones_of_the_same_kind() -> None:
    """Prices from 0.01 to 200 share steps of 0.8: the error is small, and most are wrong."""
    expected = np.exp(_RNG.normal(scale=1.6, size=(250, 1)))
    scale = float(expected.max()) / 255
    record = _record(expected, _as_uint8(expected, scale, 0), _info((1, 1), scale))
    assert record.centred_snr_db is not None
    assert record.centred_snr_db > 30
    level, (finding,) = judge_output(record)
    assert level in {DOUBTFUL, BAD}
    assert "the small ones are lost" in finding.text
    even = _RNG.uniform(0, 1, (250, 1))
    assert _record(even, even + 0.01).log_snr_db is None
    close = expected * (1 + _RNG.normal(scale=0.002, size=expected.shape))
    assert _verdict(expected, close) == GOOD


def test_small_probabilities_of_a_sigmoid_are_not_small_targets() -> None:
    """Four labels: most are close to 0, some undecided; a step of 1/256 is fine for all."""
    expected = np.clip(np.exp(_RNG.normal(-4, 1.6, size=(250, 4))), 0, 0.99)
    expected[:, 0] = _RNG.uniform(0, 0.9, 250)
    actual = _as_uint8(expected, 1 / 256, 0)
    record = _record(expected, actual, _info((1, 4), 1 / 256))
    assert record.log_snr_db is not None
    assert record.log_snr_db < 20
    assert judge_output(record)[0] == GOOD
    others = expected * 10  # the same numbers as prices of 0 to 10, with steps of 1/25
    assert _verdict(others, actual * 10, _info((1, 4), 10 / 256)) != GOOD


def test_a_target_must_be_closer_if_an_input_is_cut_off() -> None:
    """All of the error may be that of the few samples that are cut off."""
    expected = _RNG.uniform(-1, 1, (200, 1))
    record = _record(expected, expected + _RNG.normal(scale=0.05, size=expected.shape))
    assert judge_output(record)[0] == NOT_SHOWN
    level, (finding,) = judge_output(record, inputs_cut_off=0.06)
    assert level == DOUBTFUL
    assert "6% of the values of an input are cut off" in finding.text
    exact = _record(expected, expected + _RNG.normal(scale=0.005, size=expected.shape))
    assert judge_output(exact, inputs_cut_off=0.06)[0] == GOOD


def test_without_true_values_a_target_is_good_only_if_its_error_is_small_for_any_network() -> None:
    """5 % of the variation is a multiple of the error of a float model that is exact to 1 %."""
    expected = _RNG.uniform(-1, 1, (200, 2))
    noise = _RNG.normal(size=expected.shape)
    level, (finding,) = judge_output(_record(expected, expected + 0.03 * noise))
    assert (level, finding.code, finding.level) == (NOT_SHOWN, EXACT_TARGET, NOT_SHOWN)
    assert "5% of the variation" in finding.text
    assert judge_output(_record(expected, expected + 0.015 * noise))[0] == NOT_SHOWN
    assert judge_output(_record(expected, expected + 0.005 * noise)) == (GOOD, ())
    level, findings = judge_output(_record(expected, expected + 0.1 * noise))
    assert level == DOUBTFUL
    assert [each.code for each in findings] == ["quality.noise"]


def test_the_share_of_an_input_that_is_cut_off_leaves_out_what_is_just_outside() -> None:
    ranges = InputRanges(_info((1, 4), 1 / 255))
    ranges.add(np.array([[0.0, 0.5, 1.01, 1.0], [-0.01, 0.2, 1.2, -0.3]]))
    assert ranges.cut_off == pytest.approx(2 / 8)
    assert InputRanges(_info((1, 4), 1 / 255)).cut_off == 0
    real = InputRanges(_info((1, 4)))
    real.add(np.array([[9.0, -9.0, 0.0, 1.0]]))
    assert real.cut_off == 0


def test_a_row_of_several_targets_must_be_as_close_as_a_single_one() -> None:
    """The next 6 values of a series are targets, although 6 logits would have the same shape."""
    expected = np.cumsum(_RNG.normal(size=(200, 6)), axis=1)
    actual = expected + _RNG.normal(scale=0.35, size=expected.shape)  # about 14 dB
    level, (finding,) = judge_output(_record(expected, actual))
    assert level == DOUBTFUL
    assert finding.code == "quality.noise"
    rising = expected + 20 * np.arange(6)  # the last one is always the largest
    record = _record(rising, rising + _RNG.normal(scale=0.35, size=rising.shape))
    assert (record.argmax, record.same_largest) == (1.0, 1.0)
    assert judge_output(record)[0] == DOUBTFUL
    assert _verdict(expected, expected + _RNG.normal(scale=0.1, size=expected.shape)) == GOOD


def test_logits_that_name_the_same_class_may_be_less_close() -> None:
    classes = _RNG.integers(0, 8, 200)
    logits = _RNG.normal(scale=1.5, size=(200, 8))
    logits[np.arange(200), classes] += 12
    noisy = logits + _RNG.normal(scale=1.2, size=logits.shape)
    assert _verdict(logits, noisy) == GOOD
    record = _record(logits, np.minimum(logits, 8.2))  # the largest ones are cut off
    assert record.argmax == 1.0
    assert record.centred_snr_db is not None
    assert 9 < record.centred_snr_db < 12
    assert judge_output(record)[0] == GOOD
