# SPDX-License-Identifier: Apache-2.0
"""Ranks and intervals, compared with counts and published values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.evaluate.metrics import difference_ci95, ranks, share_ci95


@given(st.data(), st.integers(1, 6), st.integers(1, 5))
def test_a_rank_counts_the_classes_before(data: st.DataObject, classes: int, count: int) -> None:
    rows = st.lists(st.integers(0, 3), min_size=classes, max_size=classes)
    scores = np.array(data.draw(st.lists(rows, min_size=count, max_size=count)))
    labels = np.array(
        data.draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    )
    for row, label, rank in zip(scores, labels, ranks(scores, labels)):
        order = sorted(range(classes), key=lambda i: (-row[i], i))
        assert order.index(label) == rank
    assert ((ranks(scores, labels) == 0) == (scores.argmax(axis=1) == labels)).all()


def test_wilsons_interval_at_known_points() -> None:
    """8, 0 and 10 of 10: the textbook's examples of the score interval."""
    assert share_ci95(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert share_ci95(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-6)
    assert share_ci95(10, 10) == pytest.approx((0.722467, 1.0), abs=1e-6)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_share_lies_in_its_interval(count: int, share: float) -> None:
    hits = round(share * count)
    low, high = share_ci95(hits, count)
    assert 0 <= low <= hits / count + 1e-12
    assert hits / count - 1e-12 <= high <= 1


def test_models_that_never_differ_have_an_interval_too() -> None:
    low, high = difference_ci95(0, 0, 100)
    assert low < 0 < high
    assert high == pytest.approx(-low)
    assert high < 0.03


def test_the_difference_is_antisymmetric_and_narrows() -> None:
    low, high = difference_ci95(30, 10, 1000)
    assert difference_ci95(10, 30, 1000) == pytest.approx((-high, -low))
    assert 0 < low < 0.02 < high
    wide = difference_ci95(3, 1, 100)
    assert wide[1] - wide[0] > high - low


def test_the_paired_interval_covers_the_truth_in_about_95_of_100_runs() -> None:
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(2000):
        kinds = random.choice(3, size=200, p=(0.06, 0.03, 0.91))
        low, high = difference_ci95(int((kinds == 0).sum()), int((kinds == 1).sum()), 200)
        covered += low <= 0.03 <= high
    assert 0.93 < covered / 2000 < 0.98
