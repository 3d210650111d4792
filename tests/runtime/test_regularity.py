# SPDX-License-Identifier: Apache-2.0
"""What other samples do not predict of a network's answers, on functions of known noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekit.runtime import TensorInfo
from edgekit.runtime.agreement import OutputRecord, OutputSums
from edgekit.runtime.quality import GOOD, NOT_SHOWN, judge_output
from edgekit.runtime.regularity import (
    LEAST_SAMPLES,
    MOST_INPUTS,
    Regularity,
    thinned,
    unpredicted,
)

_RNG = np.random.default_rng(21)
_X = _RNG.uniform(-2, 2, (200, 2))
_EXACT = np.stack([np.sin(_X[:, 0]) + _X[:, 1], 3 * _X[:, 0] * _X[:, 1]], axis=1)


def test_a_smooth_function_is_predicted_and_noise_is_not() -> None:
    noise = _RNG.normal(scale=[0.1, 0.4], size=_EXACT.shape)
    size = np.abs(noise).mean(axis=0)
    assert (unpredicted(_X, _EXACT) < 0.05 * size).all()
    assert unpredicted(_X, _EXACT + noise) == pytest.approx(size, rel=0.35)


def test_the_prediction_of_a_sample_does_not_use_its_answer() -> None:
    """The oracle leaves out one sample after the other, with a kernel that is made here."""
    x, y = _X[:30, :1], _RNG.normal(size=(30, 1))  # pure noise: the best is the constant, or worse
    least = np.abs(y - (y.sum() - y) / 29).mean()
    assert unpredicted(x, y)[0] > 0.8 * least


def test_a_constant_input_and_equal_samples_do_no_harm() -> None:
    x = np.concatenate([_X, np.full((200, 1), 3.0)], axis=1)
    assert unpredicted(x, _EXACT) == pytest.approx(unpredicted(_X, _EXACT))
    assert np.isfinite(unpredicted(np.zeros((80, 3)), _EXACT[:80])).all()


def test_the_lowest_ratio_of_several_answers_counts() -> None:
    rows = Regularity()
    expected = _EXACT + np.array([0.2, 0]) * _RNG.normal(size=_EXACT.shape)
    rows.add(_X, expected, expected + 0.05)
    ratio = rows.ratio()
    assert ratio is not None
    assert ratio < 0.5
    alone = Regularity()
    alone.add(_X, expected[:, :1], expected[:, :1] + 0.05)
    ratio = alone.ratio()
    assert ratio is not None
    assert ratio > 2


def test_few_samples_show_nothing_and_nan_is_left_out() -> None:
    rows = Regularity()
    spoiled = _EXACT[: LEAST_SAMPLES + 3].copy()
    spoiled[:4] = np.nan
    rows.add(_X[: len(spoiled)], spoiled, spoiled + 0.1)
    assert rows.ratio() is None
    rows.add(_X[-1:], _EXACT[-1:], _EXACT[-1:] + 0.1)
    assert rows.ratio() is not None


def test_a_large_input_is_thinned_evenly() -> None:
    picture = np.arange(2 * 60 * 60 * 3).reshape(2, 60, 60, 3)
    (numbers,) = thinned([picture])
    assert numbers.shape == (2, MOST_INPUTS)
    assert (numbers[:, 0] == [0, 10800]).all()
    assert numbers[0, -1] == 10799
    assert set(np.diff(numbers[0])) == {2, 3}  # of all colours
    table, state = thinned([np.ones((5, 7)), np.array(2.0)])
    assert (table.shape, state.shape) == ((5, 7), (1, 1))


def _record(noise: float) -> OutputRecord:
    sums = OutputSums(TensorInfo("y", (1, 2), "float32", None, None, 0))
    sums.add(_EXACT, _EXACT + _RNG.normal(scale=noise, size=_EXACT.shape))
    return sums.record()


@pytest.mark.parametrize(
    ("noise", "irregularity", "verdict"),
    [
        (0.03, 0.9, NOT_SHOWN),
        (0.03, 1.1, GOOD),
        (0.03, None, NOT_SHOWN),
        (0.2, 5.0, NOT_SHOWN),  # too far to be good without labels
        (0.001, 0.1, GOOD),  # too close to be a loss
    ],
)
def test_an_error_below_the_float_models_own_irregularity_is_good(
    noise: float, irregularity: float | None, verdict: str
) -> None:
    record = replace(_record(noise), irregularity=irregularity)
    assert judge_output(record)[0] == verdict
