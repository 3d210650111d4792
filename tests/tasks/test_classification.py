# SPDX-License-Identifier: Apache-2.0
"""Scores and the order of classes equal those of pycoral's ``classify``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.formats.tflite import Model
from edgekit.quant import QuantParams
from edgekit.runtime import TensorInfo
from edgekit.tasks.classification import (
    binary_threshold,
    class_scores,
    holds_logits,
    top_classes,
)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_quantized_scores_are_real_to_the_last_bit(dtype: str) -> None:
    info = np.iinfo(dtype)
    output = np.arange(info.min, info.max + 1, dtype=dtype)[None]
    params = QuantParams(0.003921568859368563, int(info.min), dtype)
    scores = class_scores(output, params)
    assert scores.dtype == np.float64
    assert scores.tolist() == [params.scale * code for code in range(256)]


def test_real_scores_are_not_changed() -> None:
    output = np.array([[[[0.1, 0.7, 0.2]]]], np.float32)
    scores = class_scores(output, None)
    assert scores.dtype == np.float32
    assert scores.tolist() == output.ravel().tolist()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 50))
def test_the_best_classes_come_first_also_with_equal_scores(codes: list[int], most: int) -> None:
    scores = np.array(codes) / 9
    found = top_classes(scores, most)
    assert len(set(found)) == len(found) == min(most, len(codes))
    assert scores[found].tolist() == sorted(scores.tolist(), reverse=True)[:most]


def test_a_score_at_the_threshold_is_kept() -> None:
    scores = np.array([0.25, 0.5, 0.125])
    assert top_classes(scores, 3, 0.25) == [1, 0]


def test_equal_scores_have_the_order_of_argpartition() -> None:
    """The order is that of pycoral, so that results can be compared class by class."""
    scores = np.repeat([0.0, 0.00390625, 0.7734375], [60, 30, 1])
    for most in (1, 2, 3, 5, 40, 91):
        places = np.argpartition(scores, -most)[-most:]
        wanted = sorted(places.tolist(), key=lambda place: float(scores[place]), reverse=True)
        assert top_classes(scores, most) == wanted


@pytest.mark.parametrize(
    ("scale", "zero_point", "dtype", "is_logit"),
    [
        (1 / 256, -128, "int8", False),
        (1 / 256, 0, "uint8", False),
        (0.0039, -120, "int8", False),
        (0.1, 3, "int8", True),
        (0.05, 0, "uint8", True),
    ],
)
def test_the_range_of_a_quantized_score_distinguishes_logits_from_probabilities(
    float_model: Model, scale: float, zero_point: int, dtype: str, is_logit: bool
) -> None:
    info = TensorInfo("score", (1, 1), dtype, scale, zero_point, 0)
    assert holds_logits(float_model, info) == is_logit
    assert binary_threshold(float_model, info) == (0.0 if is_logit else 0.5)
