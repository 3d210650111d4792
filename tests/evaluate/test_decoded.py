# SPDX-License-Identifier: Apache-2.0
"""Decoded answers of two models: what is found, lost and false."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Sequence

import numpy as np
import pytest

from edgekit.evaluate.decoded import DecodedRecord, DecodedSums, decoded_finding
from edgekit.tasks import (
    CLASSIFICATION,
    DETECTION,
    POSE,
    SEGMENTATION,
    Decoder,
    Detections,
    Mask,
    Poses,
    Scores,
)


def _compare(task: str, pairs: Sequence[tuple[Any, Any]]) -> DecodedRecord:
    """With decoders that yield the results one by one."""
    sides = [iter([pair[side] for pair in pairs]) for side in (0, 1)]
    decoders = [Decoder(task, "", "", 0, (0, 0), lambda _, side=side: next(side)) for side in sides]  # type: ignore[misc]
    sums = DecodedSums(decoders)
    for _ in pairs:
        sums.add([], [])
    record = sums.record()
    assert record is not None
    return record


def _objects(*boxes: tuple[float, ...], scores: Sequence[float] = (), kind: int = 0) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full(count, kind),
        np.array(scores or [0.9] * count, np.float32),
    )


_A, _B = (0.1, 0.1, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)


def test_objects_are_matched_by_overlap_class_and_score() -> None:
    both = _objects(_A, _B)
    cases = [
        (both, _objects(_A, (0.52, 0.5, 0.92, 0.9))),  # 2 found
        (both, _objects(_A, (0.7, 0.7, 0.99, 0.99))),  # 1 found, 1 false
        (both, _objects(_A, _A)),  # a double counts once: 1 found, 1 false
        (both, _objects(_A, _B, kind=1)),  # 2 false
        (both, _objects(_A, _B, scores=[0.9, 0.4])),  # 1 found
        (_objects(_A, _B, scores=[0.9, 0.3]), _objects(_A)),  # 1 found
    ]
    record = _compare(DETECTION, cases)
    assert (record.reference, record.found, record.false) == (11, 6, 4)
    assert record.share == 2 * 6 / (11 + 6 + 4)
    assert record.verdict == "bad"
    (finding,) = decoded_finding(record)
    assert (
        "about half of what the float model finds: 6 of 11, and 4 that it does not" in finding.text
    )


def test_few_objects_have_no_verdict() -> None:
    sums = DecodedSums([Decoder(DETECTION, "", "", 0, (0, 0), lambda _: _objects(_A))] * 2)
    sums.add([], [])
    assert sums.record() is None


def test_a_close_call_between_classes_is_not_an_error() -> None:
    close, clear = Scores(np.array([0.45, 0.44, 0.11])), Scores(np.array([0.9, 0.08, 0.02]))
    other = Scores(np.array([0.1, 0.8, 0.1]))
    record = _compare(CLASSIFICATION, [(clear, clear)] * 10 + [(close, other)] * 10)
    assert (record.found, record.share, record.verdict) == (10, 1.0, "good")
    record = _compare(CLASSIFICATION, [(clear, clear)] * 10 + [(clear, other)] * 10)
    assert (record.share, record.verdict) == (0.5, "bad")


def test_masks_are_judged_by_overlap_class_by_class() -> None:
    truth = np.zeros((10, 10), np.int64)
    truth[:, :4] = 1
    answer = np.zeros((10, 10), np.int64)
    answer[:, :2] = 1
    record = _compare(SEGMENTATION, [(Mask(truth), Mask(answer))])
    assert record.share == np.mean([20 / 40, 60 / 80])
    assert record.verdict == "bad"


def test_people_are_the_same_if_their_key_points_are_close() -> None:
    points = np.random.default_rng(0).random((1, 17, 2)).astype(np.float32)
    person = Poses(points, np.ones((1, 17), np.float32), np.ones(1, np.float32))
    near, far = (
        replace(person, keypoints_yx=points + 0.02),
        replace(person, keypoints_yx=points + 0.5),
    )
    record = _compare(POSE, [(person, near)] * 9 + [(person, far)] * 3)
    assert (record.reference, record.found, record.false) == (12, 9, 3)


def test_lost_classes_of_high_probability_cost_more_than_close_calls() -> None:
    """19 of 20 agree in both cases; the float model's probabilities show the cost of the other."""
    sure, unsure = Scores(np.array([0.98, 0.01, 0.01])), Scores(np.array([0.4, 0.31, 0.29]))
    other = Scores(np.array([0.1, 0.8, 0.1]))
    record = _compare(CLASSIFICATION, [(sure, sure)] * 57 + [(sure, other)] * 3)
    assert (record.share, record.verdict) == (0.95, "bad")
    assert record.loss == pytest.approx(3 * (0.98 - 0.01) / 60)
    (finding,) = decoded_finding(record)
    assert "4.9% of all answers become wrong" in finding.text
    record = _compare(CLASSIFICATION, [(sure, sure)] * 57 + [(unsure, other)] * 3)
    assert (record.share, record.verdict) == (0.95, "good")
    record = _compare(CLASSIFICATION, [(sure, sure)] * 24 + [(sure, other)])
    assert record.verdict == "good"  # one may be chance


def test_scores_that_do_not_sum_to_1_have_no_cost() -> None:
    several = Scores(np.array([0.9, 0.8, 0.1]))
    assert _compare(CLASSIFICATION, [(several, several)] * 20).loss is None


def test_a_class_that_is_lost_among_many_is_named() -> None:
    usual, rare = Scores(np.array([0.9, 0.1])), Scores(np.array([0.4, 0.6]))
    record = _compare(CLASSIFICATION, [(usual, usual)] * 190 + [(rare, usual)] * 12)
    assert record.share > 0.9
    assert (record.worst_class, record.worst_share, record.verdict) == (1, 0.0, "bad")
    (finding,) = decoded_finding(record)
    assert "of class 1 it keeps 0%" in finding.text


def test_one_class_on_all_of_many_samples_is_reported() -> None:
    first, second = Scores(np.array([0.9, 0.06, 0.04])), Scores(np.array([0.1, 0.8, 0.1]))
    assert _compare(CLASSIFICATION, [(first, first)] * 60).only_class == 0
    assert _compare(CLASSIFICATION, [(first, first)] * 40).only_class is None
    assert _compare(CLASSIFICATION, [(first, first)] * 60 + [(second, first)]).only_class is None
    flag = Scores(np.array([0.1]))
    assert _compare(CLASSIFICATION, [(flag, flag)] * 60).only_class is None


def test_classes_count_as_named_if_they_are_not_named_by_chance() -> None:
    low, high = Scores(np.array([0.1])), Scores(np.array([0.9]))
    for number, named in ((1, 1), (4, 2)):
        record = _compare(CLASSIFICATION, [(low, low)] * 99 + [(high, high)] * number)
        assert (record.num_classes, record.num_named) == (2, named)


def test_objects_that_are_found_with_poor_boxes_are_reported() -> None:
    wide = (0.1, 0.1, 0.4, 0.6)  # 0.3 by 0.5 where the other is 0.3 by 0.3
    record = _compare(DETECTION, [(_objects(_A), _objects(wide))] * 12)
    assert (record.found, record.share) == (12, 1.0)
    assert record.overlap == pytest.approx(0.6)
    assert record.verdict == "bad"
    (finding,) = decoded_finding(record)
    assert "the boxes of those found overlap by 60%" in finding.text
