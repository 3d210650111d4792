# SPDX-License-Identifier: Apache-2.0
"""The columns of a YOLO head: box, objectness, classes, and values of the task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

DETECT, POSE, SEGMENT, OBB = "detect", "pose", "segment", "obb"  # Ultralytics' words
BOX = 4  # values of a box
PERSON = (17, 3)  # the number of COCO's key points, and the values of each
COCO_CLASSES = 80
SCORE_TOLERANCE = 0.02  # of scores, for rounding


@dataclass(frozen=True)
class YoloColumns:
    """The columns after the box, in this order: objectness, classes, values of the task."""

    task: str  # DETECT, POSE, SEGMENT or OBB
    num_classes: int  # 0 if a row is an object and contains the class's number
    has_objectness: bool = False
    num_keypoints: int = 0
    keypoint_values: int = 0  # 3 with a certainty, else 2
    num_coefficients: int = 0
    is_offset: bool = False  # YOLOX: boxes as grid offsets and logarithms

    @property
    def first_class(self) -> int:
        """The first column with a class score."""
        return BOX + self.has_objectness


@dataclass(frozen=True)
class Stated:
    """What Ultralytics' metadata states about a network."""

    task: str = ""
    num_classes: int = 0  # 0 if unknown
    keypoints: tuple[int, int] | None = None  # (how many, values each)


def read_stated(metadata: Mapping[str, Any]) -> Stated:
    """Return the parts of ``metadata`` that distinguish columns; empty without them."""
    names, shape = metadata.get("names"), metadata.get("kpt_shape")
    keypoints = None
    if isinstance(shape, (list, tuple)) and [type(each) for each in shape] == [int, int]:
        count, each = shape
        keypoints = (count, each) if count > 0 and each in (2, 3) else None
    classes = len(names) if isinstance(names, (dict, list)) else 0
    return Stated(str(metadata.get("task", "")), classes, keypoints)
