# SPDX-License-Identifier: Apache-2.0
"""Overlap and suppression."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.data.placement import place
from edgekit.tasks import Detections, iou, non_maximum_suppression
from edgekit.tasks.boxes import suppress_by_class

_SHARE = st.floats(0, 1, width=32)
_BOX = st.tuples(_SHARE, _SHARE, _SHARE, _SHARE).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 0.01, max(b[1], b[3]) + 0.01)
)


def _iou_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    common = max(height, 0) * max(width, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(common / (areas - common))


@given(st.lists(_BOX, min_size=1, max_size=8))
def test_overlap_follows_the_formula_and_is_symmetric(rows: list[tuple[float, ...]]) -> None:
    boxes = np.asarray(rows, np.float64)
    table = np.stack([iou(box, boxes) for box in boxes])
    np.testing.assert_allclose(table, table.T, atol=1e-12)
    np.testing.assert_allclose(np.diag(table), 1)
    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes):
            assert table[i, j] == pytest.approx(_iou_by_hand(a, b), abs=1e-9)


def test_a_box_without_area_overlaps_nothing() -> None:
    boxes = np.array([[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.9]])
    assert iou(boxes[1], boxes).tolist() == [0, 0]


@settings(max_examples=50)
@given(st.lists(st.tuples(_BOX, _SHARE), min_size=1, max_size=20), st.floats(0.1, 0.9))
def test_kept_boxes_overlap_little_and_each_removed_one_overlaps_a_better_one(
    rows: list[tuple[tuple[float, ...], float]], threshold: float
) -> None:
    boxes = np.asarray([box for box, _ in rows])
    scores = np.asarray([score for _, score in rows])
    kept = non_maximum_suppression(boxes, scores, threshold, 100).tolist()
    assert scores[kept].tolist() == sorted(scores[kept], reverse=True)
    for i in range(len(rows)):
        better = [k for k in kept if k != i and scores[k] >= scores[i]]
        overlaps = iou(boxes[i], boxes[better]) if better else np.zeros(0)
        if i in kept:
            assert not (overlaps[scores[better] > scores[i]] > threshold).any()
        else:
            assert (overlaps > threshold).any()


def test_boxes_of_other_classes_are_not_suppressed() -> None:
    box = [0.1, 0.1, 0.5, 0.5]
    found = Detections(
        np.array([box] * 3, np.float32),
        np.array([0, 1, 0]),
        np.array([0.9, 0.8, 0.7], np.float32),
    )
    assert suppress_by_class(found, 0.5, 10).tolist() == [0, 1]
    assert suppress_by_class(found, 0.5, 1).tolist() == [0]


@pytest.mark.parametrize("mode", ["stretch", "pad"])
def test_pixels_are_those_of_pycorals_bounding_box(mode: str) -> None:
    """BBox.scale(width / scale, height / scale).map(int), as detect.get_objects computes it."""
    rng = np.random.default_rng(1)
    boxes = rng.random((200, 4)).astype(np.float32)
    placement = place((512, 341), (300, 300), mode)
    found = Detections(boxes, np.zeros(200, np.int64), np.zeros(200, np.float32))
    ratio = (300 / 512, 300 / 341) if mode == "stretch" else (300 / 512, 300 / 512)
    sx, sy = np.int32(300) / ratio[0], np.int32(300) / ratio[1]
    for ours, (ymin, xmin, ymax, xmax) in zip(found.boxes_xyxy_px(placement), boxes):
        theirs = [int(sx * xmin), int(sy * ymin), int(sx * xmax), int(sy * ymax)]
        assert [int(value) for value in ours] == theirs
