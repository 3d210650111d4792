# SPDX-License-Identifier: Apache-2.0
"""Recognize the columns of a YOLO head by their values for any image.

A class score is within 0..1 everywhere in the image; a key point moves with its place in the grid;
an angle is negative or above 1 at some places; objectness is small where classes are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.tasks.yolo_columns import (
    BOX,
    COCO_CLASSES,
    DETECT,
    OBB,
    PERSON,
    POSE,
    SEGMENT,
    YoloColumns,
)
from edgekit.tasks.yolo_head import YoloHead, grid_centres

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOVES = 0.5  # correlation with the grid above which a column is a coordinate
_LARGEST_SCORE_AS_PIXEL = 1.5
_LARGEST_SIZE = 1.1  # of a box, as a share of the input
_LARGEST_LOG = 10.0  # exp(10) is larger than any image
_PERSON_VALUES = PERSON[0] * PERSON[1]


class YoloValues:
    """Recognizes the columns of a table of places."""

    def __init__(
        self, head: YoloHead, input_shape: Sequence[int], rows: NDArray[Any], tolerance: float
    ) -> None:
        self._head, self._rows, self._tolerance = head, rows, tolerance
        cells, strides = grid_centres(head.strides, head.anchors, input_shape)
        centres = (cells + 0.5) * strides
        with np.errstate(invalid="ignore", over="ignore"):
            self._moves = [_correlation(rows, centres[:, axis]) for axis in (0, 1)]

    def columns(self) -> YoloColumns:
        """Return the columns, those of the first task that fits."""
        head = self._head
        last = head.num_values - head.num_coefficients
        is_offset = self._is_offset()
        objectness = head.anchors > 1 or is_offset
        points = None if head.num_coefficients else self._keypoints(BOX + objectness, last)
        if points is not None:
            classes, each = points
            first = BOX + objectness
            self._check_scores(first, first + classes)
            count = (last - first - classes) // each
            return YoloColumns(POSE, classes, objectness, count, each, is_offset=is_offset)
        may_be_obb = not objectness and not head.num_coefficients and last - BOX > 1
        # Ultralytics puts places last, and has angles; YOLOX and YOLOv6 first, and objectness.
        if may_be_obb and head.is_transposed and self._is_angle(BOX, last):
            return YoloColumns(OBB, last - BOX - 1)
        objectness = objectness or self._has_objectness(last)
        first = BOX + objectness
        if may_be_obb and not objectness and self._is_angle(first, last):
            return YoloColumns(OBB, last - first - 1)
        self._check_scores(first, last)
        return YoloColumns(
            SEGMENT if head.num_coefficients else DETECT,
            last - first,
            objectness,
            num_coefficients=head.num_coefficients,
            is_offset=is_offset,
        )

    def _is_offset(self) -> bool:
        """Whether boxes are YOLOX's: offsets within a cell, and logarithms of sizes."""
        head = self._head
        if head.anchors > 1 or head.num_values - head.num_coefficients <= BOX + 1:
            return False
        if self._moves[0][0] > _MOVES and self._moves[1][1] > _MOVES:
            return False
        boxes = self._rows[:, :BOX]
        boxes = boxes[np.isfinite(boxes).all(axis=1)]
        if not len(boxes):
            return False
        sizes = boxes[:, 2:]
        is_small = float(np.abs(boxes).max()) < _LARGEST_LOG
        has_negative = float(sizes.min()) < -self._tolerance
        return is_small and (has_negative or float(sizes.max()) > _LARGEST_SIZE)

    def _has_objectness(self, last: int) -> bool:
        """Whether the column after the box scales the classes: small where they are not, or 1."""
        if last - BOX in (1, COCO_CLASSES):
            return False
        objectness = self._rows[:, BOX]
        if float(objectness.min()) > 1 - self._tolerance:
            return True  # YOLOv6's is 1 at every place
        classes = float(self._rows[:, BOX + 1 : last].max(axis=1).mean())
        if not is_score(self._rows[:, BOX + 1 : last], self._tolerance):
            return False
        if last - BOX == 1 + COCO_CLASSES and not self._head.is_transposed:
            return True  # YOLOX and YOLOv6 on COCO
        # Classes that are only trained on objects have high scores everywhere.
        return classes > 0.05 and classes > 10 * float(objectness.mean())

    def _keypoints(self, first: int, last: int) -> tuple[int, int] | None:
        """Return (classes, values per key point) if columns after the classes are key points."""
        if last - first == 1 + _PERSON_VALUES and not self._contradicts(first + 1, last):
            return 1, 3
        for each in (3, 2):
            for classes in range(1, last - first - each + 1):
                start = first + classes
                if (last - start) % each == 0 and self._are_points(start, last, each):
                    return classes, each
        return None

    def _are_points(self, start: int, last: int, each: int) -> bool:
        x, y = slice(start, last, each), slice(start + 1, last, each)
        with_grid = self._moves[0][x].min() > _MOVES and self._moves[1][y].min() > _MOVES
        if each == 2:
            return bool(with_grid)
        if not with_grid and not (self._in_pixels(x) and self._in_pixels(y)):
            return False
        return is_score(self._rows[:, start + 2 : last : each], self._tolerance)

    def _in_pixels(self, columns: slice) -> bool:
        return bool((self._rows[:, columns].max(axis=0) > _LARGEST_SCORE_AS_PIXEL).all())

    def _contradicts(self, start: int, last: int) -> bool:
        """Whether these columns cannot be COCO's key points."""
        certainty = self._rows[:, start + 2 : last : 3]
        coordinates = np.delete(self._rows[:, start:last], np.s_[2::3], axis=1)
        return not is_score(certainty, self._tolerance) or not coordinates.any()

    def _is_angle(self, first: int, last: int) -> bool:
        """Whether the last column is an angle in radians."""
        angles, classes = self._rows[:, last - 1], self._rows[:, first : last - 1]
        if not is_score(classes, self._tolerance):
            return False
        if not is_score(angles, self._tolerance):
            return float(np.abs(angles).max()) < _LARGEST_LOG
        # An angle is far from 0 everywhere; class scores are near 0 in most places.
        return float(angles.mean()) > max(0.2, 5 * float(classes.mean(axis=0).max()))

    def _check_scores(self, first: int, last: int) -> None:
        scores = self._rows[:, first:last]
        if not is_score(scores, self._tolerance):
            raise UnsupportedModelError(
                f"{last - first} values of each of {len(scores)} places must be class scores, but "
                f"reach from {scores.min():.3g} to {scores.max():.3g}"
            )


def is_score(values: NDArray[Any], tolerance: float) -> bool:
    """Whether all ``values`` are within 0..1, up to ``tolerance``; NaN is accepted."""
    if not values.size:
        return True
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    return bool(low >= -tolerance and high <= 1 + tolerance)


def _correlation(rows: NDArray[Any], with_: NDArray[Any]) -> NDArray[Any]:
    """Return the correlation of each column with ``with_``; 0 for a constant column."""
    columns = rows - rows.mean(axis=0)
    other = with_ - with_.mean()
    size = np.sqrt((columns**2).sum(axis=0) * (other**2).sum())
    return np.where(size > 0, other @ columns / np.where(size > 0, size, 1), 0)
