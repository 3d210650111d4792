# SPDX-License-Identifier: Apache-2.0
"""YOLO as Ultralytics exports it: one output with a row (or column) a place of the grids.

YOLOv5 gives (1, rows, 5 + classes): centre, size, objectness, classes; three rows a place.
YOLOv8 and YOLO11 give (1, 4 + classes, columns): centre, size, classes; one column a place. With
the suppression exported along, (1, n, 6): two corners, score, class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.tasks.boxes import Detections, suppress_by_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The strides of the grids: with and without the extra large one of the "6" models.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_ANCHORS_A_PLACE = 3
_MOST_FINISHED = 1000  # rows of an export that holds the suppression
# Corners and sizes as shares of the input stay near 1, in pixels they go up to its size.
_LARGEST_SHARE = 4.0
# What YOLOv5 and its successors suppress by unless told otherwise.
_IOU_V5, _IOU_V8 = 0.45, 0.7
_MOST = 300


@dataclass(frozen=True)
class YoloLayout:
    """How the output is to be read."""

    version: str  # for people: "YOLOv5", "YOLOv8", "YOLO with suppression"
    is_transposed: bool  # the places are the last dimension
    has_objectness: bool
    is_finished: bool  # boxes are suppressed already
    num_classes: int  # 0 where the shape does not tell


def yolo_layout(shapes: Sequence[Sequence[int]], input_shape: Sequence[int]) -> YoloLayout | None:
    """The layout of outputs of these shapes; None where they are no YOLO's.

    Args:
        shapes: Of the outputs.
        input_shape: (height, width) of the network's input.
    """
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != 1:
        return None
    _, first, second = shapes[0]
    for strides in _STRIDES:
        places = sum(
            math.ceil(input_shape[0] / stride) * math.ceil(input_shape[1] / stride)
            for stride in strides
        )
        if first == _ANCHORS_A_PLACE * places and second > 5:
            return YoloLayout("YOLOv5", False, True, False, second - 5)
        if second == places and first > 4:
            return YoloLayout("YOLOv8", True, False, False, first - 4)
        if first == places and second > 4:
            return YoloLayout("YOLOv8", False, False, False, second - 4)
    if second == 6 and 1 < first <= _MOST_FINISHED:
        return YoloLayout("YOLO with suppression", False, False, True, 0)
    return None


def decode_yolo(
    output: NDArray[Any],
    layout: YoloLayout,
    input_shape: Sequence[int],
    score_threshold: float = 0.25,
    iou_threshold: float | None = None,
    most: int = _MOST,
) -> Detections:
    """The objects in YOLO's output, each with its best class.

    Args:
        output: Real values of shape (1, a, b).
        layout: What `yolo_layout` says of it.
        input_shape: (height, width) of the network's input.
        score_threshold: Below it nothing is an object; v5's score is objectness times class.
        iou_threshold: More overlap with a better object of the same class removes one; None is
            0.45 for YOLOv5, 0.7 for its successors.
        most: How many objects at most.
    """
    rows = output[0].T if layout.is_transposed else output[0]
    if layout.is_finished:
        return _finished(rows, input_shape, score_threshold)
    classes = rows[:, 5:] if layout.has_objectness else rows[:, 4:]
    best = classes.argmax(axis=1)
    scores = classes[np.arange(len(rows)), best]
    if layout.has_objectness:
        scores = scores * rows[:, 4]
    kept = np.flatnonzero(scores >= score_threshold)
    xywh = rows[kept, :4] / _unit(rows[:, :4], input_shape)
    centre, half = xywh[:, 1::-1], xywh[:, 3:1:-1] / 2
    found = Detections(
        np.concatenate([centre - half, centre + half], axis=1).astype(np.float32),
        best[kept].astype(np.int64),
        scores[kept].astype(np.float32),
    )
    if iou_threshold is None:
        iou_threshold = _IOU_V5 if layout.has_objectness else _IOU_V8
    return found.take(suppress_by_class(found, iou_threshold, most))


def _finished(rows: NDArray[Any], input_shape: Sequence[int], score_threshold: float) -> Detections:
    kept = rows[rows[:, 4] >= score_threshold]
    xyxy = kept[:, :4] / _unit(rows[:, :4], input_shape)
    found = Detections(
        xyxy[:, [1, 0, 3, 2]].astype(np.float32),
        np.rint(kept[:, 5]).astype(np.int64),
        kept[:, 4].astype(np.float32),
    )
    return found.take(np.argsort(-found.scores, kind="stable"))


def _unit(boxes: NDArray[Any], input_shape: Sequence[int]) -> NDArray[np.float32]:
    """What a coordinate must be divided by: 1, or the input's size if boxes are in pixels."""
    height, width = input_shape
    is_share = not boxes.size or float(boxes.max()) <= _LARGEST_SHARE
    return np.array([1, 1, 1, 1] if is_share else [width, height, width, height], np.float32)
