# SPDX-License-Identifier: Apache-2.0
"""Decode YOLO's outputs: boxes, rotated boxes, masks and key points.

A place has centre and size of a box, objectness (YOLOv3, v5, v7, YOLOv6, YOLOX), a score per class
and the values of its task. A finished row has two corners (centre and size if it has an angle),
score, class and the values of its task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.tasks.boxes import Detections, check_scores, suppress_by_class
from edgekit.tasks.instances import InstanceMasks
from edgekit.tasks.pose import Poses
from edgekit.tasks.rotated import rotated_corners, suppress_rotated
from edgekit.tasks.yolo_columns import DETECT, OBB, POSE, YoloColumns
from edgekit.tasks.yolo_head import YoloHead, grid_centres

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Corners and sizes as shares of the input are near 1 or below; in pixels they reach its size.
_LARGEST_SHARE = 4.0
# The default thresholds of YOLOv5 and its successors.
_IOU_V5, _IOU_V8 = 0.45, 0.7
_MOST = 300
_MOST_CANDIDATES = 30000


@dataclass(frozen=True)
class Yolo:
    """How to read the outputs of one network."""

    head: YoloHead
    columns: YoloColumns
    input_shape: tuple[int, int]
    score_threshold: float = 0.25  # the lowest score of an object
    # An object that overlaps a better one of its class by more is removed; None is 0.45 for heads
    # with objectness, 0.7 for the others.
    iou_threshold: float | None = None
    step: float = 0.0  # of the scores' quantization

    @property
    def name(self) -> str:
        """The name of the layout, and the task if it is not detection."""
        if self.columns.is_offset:
            version = "YOLOX"
        elif self.head.is_finished:
            version = "YOLO with suppression"
        elif self.columns.has_objectness:
            version = "YOLOv5" if self.head.anchors > 1 else "YOLOv6"
        else:
            version = "YOLOv8"
        return version if self.columns.task == DETECT else f"{version} {self.columns.task}"

    def decode(self, outputs: Sequence[NDArray[Any]]) -> Detections | Poses:
        """Return the objects in real ``outputs``, best first.

        Raises:
            UnsupportedModelError: A score is outside 0..1: the outputs mean something else.
        """
        rows = self.head.rows(outputs)
        found = self._finished(rows) if self.head.is_finished else self._candidates(rows)
        kept = found.take(self._kept(found))
        if self.columns.task == POSE:
            return self._poses(kept)
        return self._detections(kept, self.head.planes(outputs))

    def _candidates(self, rows: NDArray[Any]) -> _Found:
        columns = self.columns
        end = columns.first_class + columns.num_classes
        classes = rows[:, columns.first_class : end]
        best = classes.argmax(axis=1)
        scores = classes[np.arange(len(rows)), best]
        self._check(classes)
        if columns.has_objectness:
            self._check(rows[:, columns.first_class - 1])
            scores = scores * rows[:, columns.first_class - 1]
        kept = np.flatnonzero(scores >= self.score_threshold)
        kept = kept[np.isfinite(rows[kept]).all(axis=1)]
        if len(kept) > _MOST_CANDIDATES:
            kept = kept[np.argsort(-scores[kept], kind="stable")[:_MOST_CANDIDATES]]
        xywh = self._boxes(rows)[kept]
        return _Found(xywh, best[kept], scores[kept], rows[kept, end:], self._unit(rows, end))

    def _finished(self, rows: NDArray[Any]) -> _Found:
        self._check(rows[:, 4])
        kept = rows[rows[:, 4] >= self.score_threshold]
        kept = kept[np.isfinite(kept).all(axis=1)]
        kept = kept[np.argsort(-kept[:, 4], kind="stable")]
        boxes = kept[:, :4] / self._scale(rows[:, :4])
        if self.columns.task != OBB:
            low, high = boxes[:, :2], boxes[:, 2:]
            boxes = np.concatenate([(low + high) / 2, high - low], axis=1)
        classes = np.rint(kept[:, 5]).astype(np.int64)
        return _Found(boxes, classes, kept[:, 4], kept[:, 6:], self._unit(rows, 6))

    def _boxes(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return centre and size of each row's box as shares of the input."""
        boxes = rows[:, :4]
        if not self.columns.is_offset:
            shares: NDArray[Any] = boxes / self._scale(boxes)
            return shares
        cells, strides = grid_centres(self.head.strides, self.head.anchors, self.input_shape)
        places = (boxes[:, :2] + cells) * strides
        sizes = np.exp(np.minimum(boxes[:, 2:], 10.0)) * strides
        decoded: NDArray[Any] = np.concatenate([places, sizes], axis=1) / self._pixels(4)
        return decoded

    def _kept(self, found: _Found) -> NDArray[np.int64]:
        """Return the indices that remain after the suppression."""
        if self.head.is_finished:
            return np.arange(len(found.scores), dtype=np.int64)
        limit = self.iou_threshold
        if limit is None:
            limit = _IOU_V5 if self.columns.has_objectness else _IOU_V8
        if self.columns.task == OBB:
            return suppress_rotated(self._rotated(found), found.classes, found.scores, limit, _MOST)
        boxes = Detections(found.boxes_yxyx.astype(np.float32), found.classes, found.scores)
        return suppress_by_class(boxes, limit, _MOST)

    def _poses(self, found: _Found) -> Poses:
        count, each = self.columns.num_keypoints, self.columns.keypoint_values
        points = found.extra.reshape(-1, count, each)
        certain = points[..., 2] if each == 3 else np.ones(points.shape[:2])
        return Poses(
            (points[..., 1::-1] / found.unit[::-1]).astype(np.float32),
            certain.astype(np.float32),
            found.scores.astype(np.float32),
            found.boxes_yxyx.astype(np.float32),
            found.classes,
        )

    def _detections(self, found: _Found, planes: NDArray[Any] | None) -> Detections:
        boxes, corners, masks = found.boxes_yxyx, None, None
        if self.columns.task == OBB:
            pixels = rotated_corners(self._rotated(found))
            corners = (pixels / self._pixels(2))[..., ::-1].astype(np.float32)
            boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        if planes is not None:
            planes = np.where(np.isfinite(planes), planes, 0)
            masks = InstanceMasks(planes, found.extra, found.boxes_yxyx)
        return Detections(
            boxes.astype(np.float32),
            found.classes.astype(np.int64),
            found.scores.astype(np.float32),
            corners_yx=corners,
            masks=masks,
        )

    def _rotated(self, found: _Found) -> NDArray[Any]:
        """Return (objects, 5) boxes in pixels with their angles."""
        return np.concatenate([found.xywh * self._pixels(4), found.extra[:, -1:]], axis=1)

    def _unit(self, rows: NDArray[Any], first: int) -> NDArray[Any]:
        """Return the divisors that turn x and y of key points into shares of the input."""
        if self.columns.task != POSE:
            return np.ones(2, np.float32)
        each = self.columns.keypoint_values
        points = np.concatenate([rows[:, first::each], rows[:, first + 1 :: each]], axis=1)
        return self._scale(points, 2)

    def _scale(self, values: NDArray[Any], count: int = 4) -> NDArray[Any]:
        """Return the divisors of coordinates: 1, or the input's size if they are in pixels."""
        is_share = not values.size or float(np.fmax.reduce(values, axis=None)) <= _LARGEST_SHARE
        return np.ones(count) if is_share else self._pixels(count)

    def _pixels(self, count: int) -> NDArray[Any]:
        height, width = self.input_shape
        return np.tile(np.array([width, height], np.float64), count // 2)

    def _check(self, scores: NDArray[Any]) -> None:
        check_scores(scores, self.name, self.step)


@dataclass(frozen=True)
class _Found:
    """Candidates, before or after the suppression."""

    xywh: NDArray[Any]  # (n, 4) shares of the input
    classes: NDArray[np.int64]
    scores: NDArray[Any]
    extra: NDArray[Any]  # (n, ...) the values of the task
    unit: NDArray[Any]  # (2,) the divisors of x and y of key points

    @property
    def boxes_yxyx(self) -> NDArray[np.float64]:
        """(n, 4) corners."""
        centre, half = self.xywh[:, 1::-1], self.xywh[:, 3:1:-1] / 2
        return np.concatenate([centre - half, centre + half], axis=1)

    def take(self, indices: NDArray[np.integer]) -> _Found:
        """Return the candidates at ``indices``, in that order."""
        return _Found(
            self.xywh[indices],
            self.classes[indices],
            self.scores[indices],
            self.extra[indices],
            self.unit,
        )
