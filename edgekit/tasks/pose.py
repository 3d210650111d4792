# SPDX-License-Identifier: Apache-2.0
"""Key points of people and other objects, from any network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Placement

# COCO's order, which PoseNet and MoveNet share; left and right are the person's own.
KEYPOINT_NAMES = (
    "nose",
    "left eye",
    "right eye",
    "left ear",
    "right ear",
    "left shoulder",
    "right shoulder",
    "left elbow",
    "right elbow",
    "left wrist",
    "right wrist",
    "left hip",
    "right hip",
    "left knee",
    "right knee",
    "left ankle",
    "right ankle",
)
NUM_KEYPOINTS = len(KEYPOINT_NAMES)
# The lines of a drawing, as pairs of indices into KEYPOINT_NAMES.
SKELETON = (
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (5, 6),
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (5, 11),
    (6, 12),
    (11, 12),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
)


@dataclass(frozen=True)
class Poses:
    """The people in one image, best first."""

    keypoints_yx: NDArray[np.float32]  # (people, points, 2), 0..1 of the network's input
    keypoint_scores: NDArray[np.float32]  # (people, points)
    scores: NDArray[np.float32]  # (people,)
    # Only from some networks; None from the others.
    boxes_yxyx: NDArray[np.float32] | None = None  # (people, 4), 0..1 of the network's input
    class_indices: NDArray[np.int64] | None = None  # (people,)

    def keypoints_xy_px(self, placement: Placement) -> NDArray[np.float64]:
        """(people, points, 2) as (x, y) in pixels of the image."""
        flipped: NDArray[Any] = self.keypoints_yx[..., ::-1]
        return placement.to_image(flipped)

    def boxes_xyxy_px(self, placement: Placement) -> NDArray[np.float64] | None:
        """(people, 4) as (xmin, ymin, xmax, ymax) in pixels of the image; None without boxes."""
        if self.boxes_yxyx is None:
            return None
        corners: NDArray[Any] = self.boxes_yxyx.reshape(-1, 2, 2)[..., ::-1]
        return placement.to_image(corners).reshape(-1, 4)


def keypoint_names(count: int) -> tuple[str, ...]:
    """Return names of ``count`` key points: COCO's for seventeen, else their numbers."""
    return KEYPOINT_NAMES if count == NUM_KEYPOINTS else tuple(map(str, range(count)))
