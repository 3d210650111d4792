# SPDX-License-Identifier: Apache-2.0
"""Boxes: the result of every detector, their overlap, and non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import UnsupportedModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Placement
    from edgekit.tasks.instances import InstanceMasks

_SCORE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Detections:
    """The objects in one image, in the detector's order (best first)."""

    boxes_yxyx: NDArray[np.float32]  # (objects, 4), 0..1 of the network's input
    class_indices: NDArray[np.int64]  # (objects,), background not counted
    scores: NDArray[np.float32]  # (objects,)
    # Only from some networks; None from the others.
    corners_yx: NDArray[np.float32] | None = None  # (objects, 4, 2) of rotated boxes, 0..1
    keypoints_yx: NDArray[np.float32] | None = None  # (objects, points, 2), 0..1
    masks: InstanceMasks | None = None  # one per object

    def boxes_xyxy_px(self, placement: Placement) -> NDArray[np.float64]:
        """(objects, 4) as (xmin, ymin, xmax, ymax) in pixels of the image, not rounded or cut.

        ``int()`` of each number is what pycoral's ``detect.get_objects`` returns for the same
        outputs and scale.
        """
        corners: NDArray[Any] = self.boxes_yxyx.reshape(-1, 2, 2)[..., ::-1]
        return placement.to_image(corners).reshape(-1, 4)

    def at_least(self, score: float) -> Detections:
        """Return the objects with a score of at least ``score``."""
        return self.take(np.flatnonzero(self.scores >= score))

    def take(self, indices: NDArray[np.integer]) -> Detections:
        """Return the objects at ``indices``, in that order."""
        return replace(
            self,
            boxes_yxyx=self.boxes_yxyx[indices],
            class_indices=self.class_indices[indices],
            scores=self.scores[indices],
            corners_yx=None if self.corners_yx is None else self.corners_yx[indices],
            keypoints_yx=None if self.keypoints_yx is None else self.keypoints_yx[indices],
            masks=None if self.masks is None else self.masks.take(indices),
        )


def check_scores(scores: NDArray[Any], kind: str, step: float = 0.0) -> None:
    """Check that all scores are within 0..1, else the outputs mean something else. NaN is accepted.

    Args:
        scores: Scores of any shape.
        kind: The kind of network, for the error.
        step: The step of their quantization: half of it may be rounding.

    Raises:
        UnsupportedModelError: A score is below 0 or above 1.
    """
    if not scores.size:
        return
    limit = 1 + _SCORE_TOLERANCE + step / 2
    low, high = np.fmin.reduce(scores, axis=None), np.fmax.reduce(scores, axis=None)
    if low < 1 - limit or high > limit:
        raise UnsupportedModelError(
            f"scores reach from {low:.4g} to {high:.4g}, those of {kind} are within 0..1",
            why="the network is of another kind, or its export left out the sigmoid",
            fix="--task none returns the raw tensors",
        )


def iou(box: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float32]:
    """Intersection over union of one (4,) box with each of (n, 4); corners in any unit.

    A box without an area overlaps nothing.
    """
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(others[:, 2:] - others[:, :2], axis=1)
    union = area + areas - common
    has_area = (area > 0) & (areas > 0)
    result: NDArray[np.float32] = np.where(has_area, common / np.where(has_area, union, 1), 0)
    return result


def non_maximum_suppression(
    boxes: NDArray[Any], scores: NDArray[Any], iou_threshold: float, most: int
) -> NDArray[np.int64]:
    """Indices of at most ``most`` boxes, best first, none overlapping a better one too much.

    Args:
        boxes: (n, 4) corners in any unit.
        scores: (n,); among equal ones the first comes first.
        iou_threshold: A box whose overlap with a better one is larger is removed.
        most: The largest number of boxes.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[iou(boxes[best], boxes[order]) <= iou_threshold]
    return np.asarray(kept, np.int64)


def suppress_by_class(detections: Detections, iou_threshold: float, most: int) -> NDArray[np.int64]:
    """Like `non_maximum_suppression`, but for each class separately."""
    # Classes moved far apart cannot overlap.
    far = detections.boxes_yxyx.max(initial=1.0) - detections.boxes_yxyx.min(initial=0.0) + 1
    apart = detections.boxes_yxyx.astype(np.float64) + detections.class_indices[:, None] * far
    return non_maximum_suppression(apart, detections.scores, iou_threshold, most)
