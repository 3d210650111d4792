# SPDX-License-Identifier: Apache-2.0
"""Intervals from leaving groups out, and names matched to classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.evaluate.class_names import label_map
from edgekit.evaluate.metrics import around, jackknife_half

_VALUES = st.lists(st.floats(0, 1), min_size=20, max_size=20)


@given(_VALUES)
def test_for_a_mean_of_equal_groups_it_is_students_interval(means: list[float]) -> None:
    values = np.array(means)
    left_out = [(values.sum() - each) / 19 for each in values]
    expected = 2.093 * values.std(ddof=1) / math.sqrt(20)
    assert jackknife_half(left_out) == pytest.approx(expected, abs=1e-12)


@given(_VALUES, st.floats(-1, 1))
def test_shifting_every_value_leaves_the_width(means: list[float], shift: float) -> None:
    shifted = [each + shift for each in means]
    assert jackknife_half(shifted) == pytest.approx(jackknife_half(means), abs=1e-9)


def test_one_group_has_no_interval() -> None:
    assert jackknife_half([0.5]) == math.inf
    assert around(0.5, math.inf) == (0.0, 1.0)


def test_folders_find_their_class_by_whole_name_or_part() -> None:
    names = ["background", "tench, Tinca tinca", "great white shark, white shark", "crane", "crane"]
    found = label_map({0: "Tench", 1: "white_shark"}, names, must_match=True)
    assert found == {0: 1, 1: 2}
    assert label_map({0: "tench", 1: "crane"}, names, must_match=False) is None
    with pytest.raises(DataError, match="'crane' is named like 2 of the 5 classes"):
        label_map({0: "crane"}, names, must_match=True)
    assert label_map({}, names, must_match=True) is None
