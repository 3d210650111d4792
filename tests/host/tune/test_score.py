# SPDX-License-Identifier: Apache-2.0
"""Which of two models is better, and whether one is within the budget."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.host.tune.score import AGREEMENT, SNR_DB, Score

SCORE = Score("top1", 0.9, 0.92, 2.0, 20.0, "good", 100)


def test_a_clearly_smaller_drop_is_better_whatever_the_ratio() -> None:
    better = replace(SCORE, drop=0.0, snr_db=15.0)
    assert better.is_better_than(SCORE)
    assert not SCORE.is_better_than(better)


def test_of_scores_one_sample_apart_the_clearly_higher_ratio_is_better() -> None:
    lucky = replace(SCORE, drop=1.0, snr_db=15.0)
    assert SCORE.is_better_than(lucky)
    assert not lucky.is_better_than(SCORE)


def test_of_scores_one_sample_apart_with_equal_ratios_the_metric_decides() -> None:
    assert replace(SCORE, drop=1.0).is_better_than(SCORE)


def test_no_score_is_better_than_itself() -> None:
    assert not SCORE.is_better_than(SCORE)


@pytest.mark.parametrize(("drop", "budget", "meets"), [(0.5, 0.5, True), (0.51, 0.5, False)])
def test_the_budget_is_the_largest_drop(drop: float, budget: float, meets: bool) -> None:
    assert replace(SCORE, drop=drop).meets(budget) is meets


def test_without_labels_the_verdict_must_be_good_too() -> None:
    agreement = replace(SCORE, measure=AGREEMENT, reference=None, drop=0.0)
    assert agreement.meets(0.0)
    assert not replace(agreement, verdict="doubtful").meets(100.0)
    assert replace(SCORE, verdict="doubtful").meets(2.0)


def test_a_ratio_meets_the_budget_if_the_verdict_is_good() -> None:
    score = replace(SCORE, measure=SNR_DB, reference=None, drop=9.0)
    assert score.meets(0.0)
    assert not replace(score, verdict="doubtful").meets(100.0)


@pytest.mark.parametrize(
    ("error", "ratio", "is_sure"), [(0.1, 10.0, True), (0.9, 10.0, False), (0.9, 30.0, True)]
)
def test_a_drop_that_may_be_chance_is_not_sure_unless_the_outputs_hardly_differ(
    error: float, ratio: float, is_sure: bool
) -> None:
    score = replace(SCORE, drop=0.2, error=error, snr_db=ratio)
    assert score.meets(0.5)
    assert score.surely_meets(0.5) is is_sure
    assert not replace(score, drop=0.6).surely_meets(0.5)
    assert replace(score, drop=-1.0).surely_meets(0.5) is is_sure
