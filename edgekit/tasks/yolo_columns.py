# SPDX-License-Identifier: Apache-2.0
"""What the columns of a YOLO head are: boxes, objectness, classes, and what the task adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

DETECT, POSE, SEGMENT, OBB = "detect", "pose", "segment", "obb"  # Ultralytics' words
BOX = 4  # values of a box
PERSON = (17, 3)  # COCO's key points, and values of each
COCO_CLASSES = 80
SCORE_TOLERANCE = 0.02  # of scores, for rounding


@dataclass(frozen=True)
class YoloColumns:
    """The columns behind the box, in their order: objectness, classes, what the task adds."""

    task: str  # DETECT, POSE, SEGMENT or OBB
    num_classes: int  # 0 where a row is an object and holds the class's number
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
    """What Ultralytics' metadata says of a network."""

    task: str = ""
    num_classes: int = 0  # 0 if it does not say
    keypoints: tuple[int, int] | None = None  # (how many, values each)


def read_stated(metadata: Mapping[str, Any]) -> Stated:
    """The parts of ``metadata`` that tell columns apart; empty if it has none."""
    names, shape = metadata.get("names"), metadata.get("kpt_shape")
    keypoints = None
    if isinstance(shape, (list, tuple)) and [type(each) for each in shape] == [int, int]:
        count, each = shape
        keypoints = (count, each) if count > 0 and each in (2, 3) else None
    classes = len(names) if isinstance(names, (dict, list)) else 0
    return Stated(str(metadata.get("task", "")), classes, keypoints)
