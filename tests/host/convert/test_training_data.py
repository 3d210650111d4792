# SPDX-License-Identifier: Apache-2.0
"""Samples are compared with the training data by the statistics of normalizing layers."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.host.convert.child import LayerStatistics
from edgekit.host.convert.training_data import LEAST_SAMPLES, unlike_training


def _texts(shifts: list[float], ratios: list[float], num_samples: int = LEAST_SAMPLES) -> list[str]:
    layer = LayerStatistics("m/norm/Rsqrt", np.array(shifts, "f4"), np.array(ratios, "f4"))
    return [each.text for each in unlike_training([layer], num_samples)]


def test_one_column_in_another_unit_is_named() -> None:
    """0..1 in place of 0..5000: the other columns hide it in the mean over all."""
    (text,) = _texts([0.0, 0.02, 1.73, 0.01, 0.05, 0.03], [1, 1, 0.0002, 1, 1, 1])
    assert "vary 0.0002 times as much as in training in channel 2" in text
    assert "shifted by 1.7 of their deviations" in text
    (text,) = _texts([0.1, 0.1, 0.1], [1, 1, 40])
    assert "vary 40 times as much as in training in channel 2" in text


@pytest.mark.parametrize(
    ("shift", "ratio"),
    [
        (0.1, 0.0),  # a flag that is set in 1 % of the training data, and in no sample
        (0.3, 4.0),  # one that is set in more samples than in training
        (1.2, 0.9),  # an offset that is small beside the samples' own deviation
    ],
)
def test_a_channel_that_may_differ_by_chance_is_not_named(shift: float, ratio: float) -> None:
    assert not _texts([0.0, 0.0, shift, 0.0], [1, 1, ratio, 1])


def test_few_samples_show_nothing() -> None:
    assert not _texts([9.0], [9], LEAST_SAMPLES - 1)
