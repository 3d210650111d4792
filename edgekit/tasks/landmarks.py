# SPDX-License-Identifier: Apache-2.0
"""Landmark regressors: the points of one face, hand or body in a crop, and whether it is there.

The outputs are vectors: three numbers per point (x, y in pixels of the input, z), or five (also
visibility and presence, as logits), and a number for the presence of the object. A second vector
with the points in metres may follow.

Source:
    mediapipe/calculators/tensor/tensors_to_landmarks_calculator.cc, and the graphs' comments on
    their tensors in mediapipe/modules/face_landmark, hand_landmark and pose_landmark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.tasks.mediapipe import scores_of_logits
from edgekit.tasks.pose import Poses

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST_POINTS = 5
_SPREAD = 0.05  # of the input: points in pixels are spread further, points in metres are not


@dataclass(frozen=True)
class LandmarkHead:
    """Which outputs contain the points and the presence."""

    points: int
    presence: int
    num_points: int
    values: int  # per point: 3 or 5


def landmark_head(
    outputs: Sequence[NDArray[Any]], input_shape: Sequence[int]
) -> LandmarkHead | None:
    """Return the head of the real ``outputs`` for any image; None if they are not from one.

    Points in pixels are spread over the input; those in metres, angles and embeddings are not.
    """
    sizes = [each.size for each in outputs]
    presence = next((i for i, size in enumerate(sizes) if size == 1), None)
    vectors = [i for i, each in enumerate(outputs) if _is_vector(each)]
    if presence is None or not vectors:
        return None
    best = max(vectors, key=lambda i: (float(np.ptp(outputs[i])), -i))
    others = [sizes[i] for i in vectors if i != best]
    values = 5 if sizes[best] % 5 == 0 and sizes[best] // 5 * 3 in others else 3
    if sizes[best] % values or sizes[best] // values < _FEWEST_POINTS:
        return None
    if not _are_points(outputs[best].reshape(-1, values), input_shape):
        return None
    return LandmarkHead(best, presence, sizes[best] // values, values)


def decode_landmarks(
    outputs: Sequence[NDArray[Any]],
    head: LandmarkHead,
    input_shape: Sequence[int],
    score_threshold: float = 0.5,
    *,
    is_logit: bool = True,
) -> Poses:
    """Return the one object in real ``outputs``; none if its presence is below ``score_threshold``.

    Args:
        outputs: All outputs of the network.
        head: The result of `landmark_head`.
        input_shape: (height, width) of the network's input.
        score_threshold: The least presence.
        is_logit: Whether the presence is a logit, which needs a sigmoid.
    """
    rows = outputs[head.points].reshape(head.num_points, head.values).astype(np.float32)
    presence = outputs[head.presence].astype(np.float64)
    score = float((scores_of_logits(presence) if is_logit else presence).ravel()[0])
    size = np.array([input_shape[1], input_shape[0]], np.float32)
    points = (rows[:, :2] / size)[:, ::-1]
    certain = scores_of_logits(rows[:, 3]) if head.values == 5 else np.full(len(rows), score)
    count = int(score >= score_threshold)
    return Poses(
        points[None][:count].astype(np.float32),
        certain[None][:count].astype(np.float32),
        np.full(count, score, np.float32),
    )


def _is_vector(output: NDArray[Any]) -> bool:
    return output.size >= 3 * _FEWEST_POINTS and output.size == max(output.shape)


def _are_points(rows: NDArray[Any], input_shape: Sequence[int]) -> bool:
    """Whether x and y are in or near the input, and spread over a part of it."""
    for axis, side in ((0, input_shape[1]), (1, input_shape[0])):
        low, high = float(rows[:, axis].min()), float(rows[:, axis].max())
        if low < -side or high > 2 * side or high - low < _SPREAD * side:
            return False
    return True
