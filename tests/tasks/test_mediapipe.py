# SPDX-License-Identifier: Apache-2.0
"""MediaPipe's detectors and landmarks, compared with a plain version of its calculators."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekit.tasks.landmarks import decode_landmarks, landmark_head
from edgekit.tasks.mediapipe import decode_mediapipe, mediapipe_head, scores_of_logits

# Input side, strides of the layers, whether each has an interpolated anchor; all as in the .pbtxt.
_NETWORKS = [
    (128, (8, 16, 16, 16), True, 896, 16),
    (256, (16, 32, 32, 32), True, 896, 16),
    (192, (4,), False, 2304, 16),
    (192, (8, 16, 16, 16), True, 2016, 18),
    (256, (8, 16, 32, 32, 32), True, 2944, 18),
    (224, (8, 16, 32, 32, 32), True, 2254, 12),
]


def _plain_anchors(side: int, strides: tuple[int, ...], *, interpolated: bool) -> np.ndarray:
    """SsdAnchorsCalculator: layers of one stride are generated together, place by place."""
    anchors = []
    layer = 0
    while layer < len(strides):
        after = layer
        while after < len(strides) and strides[after] == strides[layer]:
            after += 1
        count = (after - layer) * (2 if interpolated else 1)
        grid = math.ceil(side / strides[layer])
        for y in range(grid):
            for x in range(grid):
                anchors += [((x + 0.5) / grid, (y + 0.5) / grid)] * count
        layer = after
    return np.array(anchors)


@pytest.mark.parametrize(("side", "strides", "interpolated", "rows", "values"), _NETWORKS)
def test_anchors_are_those_of_the_calculator(
    side: int, strides: tuple[int, ...], interpolated: bool, rows: int, values: int
) -> None:
    head = mediapipe_head([(1, rows, values), (1, rows, 1)], (side, side))
    assert head is not None
    assert head.num_keypoints == (values - 4) // 2
    want = _plain_anchors(side, strides, interpolated=interpolated)
    np.testing.assert_allclose(head.anchors_xy, want, atol=1e-6)


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 896, 16), (1, 896, 2)],
        [(1, 900, 16), (1, 900, 1)],
        [(1, 512, 16), (1, 384, 18), (1, 896, 1)],
        [(1, 384, 16), (1, 512, 16), (1, 896, 1)],  # not in the layers' order
        [(1, 512, 16), (1, 384, 16)],
    ],
)
def test_other_outputs_have_no_such_head(shapes: list[tuple[int, ...]]) -> None:
    assert mediapipe_head(shapes, (128, 128)) is None


def test_boxes_and_key_points_are_relative_to_the_anchor_and_doubles_are_merged() -> None:
    """The scores come first here: the shapes distinguish the outputs."""
    head = mediapipe_head([(1, 896, 1), (1, 896, 16)], (128, 128))
    assert head is not None
    assert (head.scores, head.regressors) == ((0,), (1,))
    logits = np.full((1, 896, 1), -600.0, np.float32)
    regressors = np.zeros((1, 896, 16), np.float32)
    first = 2 * (4 * 16 + 6)  # row 4, column 6 of the finest grid: its centre is at (52, 36)
    logits[0, first], logits[0, first + 1] = 3.0, 1.0
    regressors[0, first] = [4, -2, 32, 24, *range(12)]
    regressors[0, first + 1] = [8, -2, 32, 24, *range(12)]
    found = decode_mediapipe(regressors, scores_of_logits(logits), head, (128, 128))
    scores = 1 / (1 + np.exp(-np.array([3.0, 1.0])))
    np.testing.assert_allclose(found.scores, scores[:1], atol=1e-6)
    x = 52 + (4 * scores[0] + 8 * scores[1]) / scores.sum()
    box = [34 - 12, x - 16, 34 + 12, x + 16]
    np.testing.assert_allclose(found.boxes_yxyx[0] * 128, box, atol=1e-4)
    assert found.keypoints_yx is not None
    points = [(36 + 2 * k + 1, 52 + 2 * k) for k in range(6)]
    np.testing.assert_allclose(found.keypoints_yx[0] * 128, points, atol=1e-4)


def test_the_layers_may_be_outputs_of_their_own() -> None:
    """As `convert` leaves a detector whose layers have very different ranges."""
    shapes = [(1, 1568, 12), (1, 392, 12), (1, 294, 12), (1, 1960, 1), (1, 294, 1)]
    head = mediapipe_head(shapes, (224, 224))
    whole = mediapipe_head([(1, 2254, 12), (1, 2254, 1)], (224, 224))
    assert head is not None
    assert whole is not None
    assert (head.regressors, head.scores) == ((0, 1, 2), (3, 4))
    np.testing.assert_array_equal(head.anchors_xy, whole.anchors_xy)


def test_nothing_found_is_an_empty_answer() -> None:
    head = mediapipe_head([(1, 2254, 12), (1, 2254, 1)], (224, 224))
    assert head is not None
    found = decode_mediapipe(np.zeros((1, 2254, 12)), np.zeros((1, 2254, 1)), head, (224, 224))
    assert found.boxes_yxyx.shape == (0, 4)


def _points(count: int, values: int, side: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, values)).astype(np.float32)
    rows[:, :2] = rng.uniform(0, side, (count, 2))
    return rows


def test_points_of_a_hand_are_those_in_pixels() -> None:
    points = _points(21, 3, 224)
    world = np.full((1, 63), 0.04, np.float32)
    presence, left = np.array([[0.9]], np.float32), np.array([[0.2]], np.float32)
    outputs = [world, presence, left, points.reshape(1, 63)]
    head = landmark_head(outputs, (224, 224))
    assert head is not None
    assert (head.points, head.presence, head.num_points) == (3, 1, 21)
    pose = decode_landmarks(outputs, head, (224, 224), is_logit=False)
    np.testing.assert_allclose(pose.keypoints_yx[0, :, ::-1] * 224, points[:, :2], rtol=1e-5)
    np.testing.assert_allclose(pose.scores, [0.9], rtol=1e-6)


def test_points_of_a_face_are_returned_only_if_it_is_present() -> None:
    points = _points(468, 3, 192).reshape(1, 1, 1, 1404)
    for logit, count in ((2.0, 1), (-2.0, 0)):
        outputs = [points, np.full((1, 1, 1, 1), logit, np.float32)]
        head = landmark_head(outputs, (192, 192))
        assert head is not None
        assert head.num_points == 468
        assert len(decode_landmarks(outputs, head, (192, 192)).scores) == count


def test_points_of_a_body_have_five_values_with_their_visibility() -> None:
    points = _points(39, 5, 256)
    mask, world = np.zeros((1, 256, 256, 1)), np.zeros((1, 117), np.float32)
    outputs = [points.reshape(1, 195), np.ones((1, 1)), mask, world]
    head = landmark_head(outputs, (256, 256))
    assert head is not None
    assert (head.num_points, head.values) == (39, 5)
    pose = decode_landmarks(outputs, head, (256, 256), is_logit=False)
    np.testing.assert_allclose(pose.keypoint_scores[0], 1 / (1 + np.exp(-points[:, 3])), rtol=1e-5)


def test_vectors_that_are_not_points_are_not_a_head() -> None:
    angles = np.linspace(-1, 1, 63, dtype=np.float32)[None]
    assert landmark_head([angles, np.ones((1, 1))], (224, 224)) is None
    assert landmark_head([_points(21, 3, 224).reshape(1, 63)], (224, 224)) is None
