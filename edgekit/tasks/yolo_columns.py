# SPDX-License-Identifier: Apache-2.0
"""What each column of a YOLO head is: told by the model's metadata, else by the values.

Shapes alone do not tell 80 classes from 79 and an angle, or 52 from one class and 17 key points.
Values do: a class score lies within 0..1 anywhere in the image; a key point moves with its place in
the grid; an angle is negative or above 1 at some places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.tasks.yolo_head import YoloHead, grid_centres, yolo_heads

if TYPE_CHECKING:
    from numpy.typing import NDArray

DETECT, POSE, SEGMENT, OBB = "detect", "pose", "segment", "obb"  # Ultralytics' words
TASKS = (DETECT, POSE, SEGMENT, OBB)
_BOX = 4
_PERSON_VALUES = 17 * 3  # COCO's key points
_COCO = 80
_MOST_KEYPOINTS = 150
_MOVES = 0.5  # correlation with the grid above which a column is a coordinate
_TOLERANCE = 0.02  # of scores, for rounding
_LARGEST_SCORE_AS_PIXEL = 1.5
_LARGEST_LOG = 10.0  # exp(10) is larger than any image


@dataclass(frozen=True)
class YoloColumns:
    """The columns behind the box, in their order: objectness, classes, what the task adds."""

    task: str  # one of TASKS
    num_classes: int  # 0 where a row is an object and holds the class's number
    has_objectness: bool = False
    num_keypoints: int = 0
    keypoint_values: int = 0  # 3 with a certainty, else 2
    num_coefficients: int = 0
    is_offset: bool = False  # YOLOX: boxes as grid offsets and logarithms

    @property
    def first_class(self) -> int:
        """The first column with a class score."""
        return _BOX + self.has_objectness

    @property
    def extra(self) -> int:
        """Columns behind the classes."""
        angle = self.task == OBB
        return self.num_keypoints * self.keypoint_values + self.num_coefficients + angle


@dataclass(frozen=True)
class Stated:
    """What Ultralytics' metadata says of a network."""

    task: str = ""
    num_classes: int = 0  # 0 if it does not say
    keypoints: tuple[int, int] | None = None  # (how many, values each)


def read_stated(metadata: Mapping[str, Any]) -> Stated:
    """What ``metadata`` says that tells columns apart; empty where it says nothing of use."""
    names, shape = metadata.get("names"), metadata.get("kpt_shape")
    keypoints = None
    if isinstance(shape, (list, tuple)) and [type(each) for each in shape] == [int, int]:
        count, each = shape
        keypoints = (count, each) if count > 0 and each in (2, 3) else None
    classes = len(names) if isinstance(names, (dict, list)) else 0
    return Stated(str(metadata.get("task", "")), classes, keypoints)


def find_layout(
    shapes: Sequence[Sequence[int]],
    input_shape: Sequence[int],
    look: Callable[[], Sequence[NDArray[Any]] | None],
    stated: Stated,
    step: float = 0.0,
) -> tuple[YoloHead, YoloColumns] | None:
    """How outputs of these shapes are to be read as a YOLO's; None where they have another form.

    Args:
        shapes: Of the outputs.
        input_shape: (height, width) of the network's input.
        look: Gives the real outputs for some image; None where the network cannot be run on one.
            Not called where form and metadata tell all.
        stated: What the metadata says.
        step: Of the quantization of the outputs.

    Raises:
        UnsupportedModelError: The form is a YOLO's, the values are not.
    """
    heads = list(yolo_heads(shapes, input_shape))
    if not heads:
        return None
    for head in heads:
        columns = None if head.is_finished else _by_metadata(head, stated)
        if columns is not None:
            return head, columns
    outputs = look()
    tables = [None if outputs is None else head.rows(outputs) for head in heads]
    pairs = [(head, rows) for head, rows in zip(heads, tables)]
    refused = ""
    for head, rows in sorted(pairs, key=lambda pair: not _is_proved_finished(*pair)):
        columns, reason = _columns(head, input_shape, rows, stated, step)
        if columns is not None:
            return head, columns
        refused = refused or reason
    if refused:
        raise UnsupportedModelError(refused)
    return None


def _columns(
    head: YoloHead,
    input_shape: Sequence[int],
    rows: NDArray[Any] | None,
    stated: Stated,
    step: float,
) -> tuple[YoloColumns | None, str]:
    """The columns of ``head``, or why it has none that a YOLO has: empty if its form is common."""
    try:
        if head.is_finished:
            return _finished(head, rows, stated, step), ""
        if rows is None:
            return _by_count(head), ""
        return _Values(head, input_shape, rows, _TOLERANCE + step / 2).columns(), ""
    except UnsupportedModelError as error:
        return None, error.what


def _is_proved_finished(head: YoloHead, rows: NDArray[Any] | None) -> bool:
    """Whether rows are objects for sure: whole class numbers, and scores from the best down."""
    if rows is None or not head.is_finished:
        return False
    scores, classes = rows[:, 4], rows[:, 5]
    are_numbers = bool((classes == np.rint(classes)).all() and classes.min() >= 0)
    return are_numbers and bool(scores.max() > 0 and (np.diff(scores) <= 0).all())


def _by_metadata(head: YoloHead, stated: Stated) -> YoloColumns | None:
    """The columns that the metadata tells; None where they are not as many as there are."""
    objectness = head.anchors > 1
    behind = head.num_values - _BOX - objectness - head.num_coefficients
    if stated.task == POSE and stated.keypoints is not None:
        count, each = stated.keypoints
        classes = behind - count * each
        if classes == (stated.num_classes or classes) and classes > 0:
            return YoloColumns(POSE, classes, objectness, count, each)
    if stated.task == OBB and behind - 1 == (stated.num_classes or behind - 1):
        return YoloColumns(OBB, behind - 1, objectness)
    if stated.task in (DETECT, SEGMENT) and behind == stated.num_classes:
        return YoloColumns(
            SEGMENT if head.num_coefficients else DETECT,
            behind,
            objectness,
            num_coefficients=head.num_coefficients,
        )
    return None


def _by_count(head: YoloHead) -> YoloColumns:
    """The usual columns of so many values, where there is nothing to look at."""
    behind = head.num_values - _BOX - head.num_coefficients
    if head.num_coefficients:
        objectness = head.anchors > 1
        return YoloColumns(
            SEGMENT, behind - objectness, objectness, num_coefficients=head.num_coefficients
        )
    if head.anchors > 1:
        return YoloColumns(DETECT, behind - 1, has_objectness=True)
    if behind == 1 + _PERSON_VALUES:
        return YoloColumns(POSE, 1, num_keypoints=17, keypoint_values=3)
    if behind == 1 + _COCO and not head.is_transposed:  # YOLOv6 and YOLOX
        return YoloColumns(DETECT, behind - 1, has_objectness=True)
    return YoloColumns(DETECT, behind)


def _finished(
    head: YoloHead, rows: NDArray[Any] | None, stated: Stated, step: float
) -> YoloColumns | None:
    """The columns of rows that are objects; None where rows of that form need not be any."""
    extra = head.num_values - _BOX - 2 - head.num_coefficients
    points = stated.keypoints or (17, 3)
    is_usual = extra in (0, 1, points[0] * points[1])
    if not is_usual and not _is_proved_finished(head, rows):
        return None
    if rows is not None and len(rows):
        _check_finished(rows, _TOLERANCE + step / 2, is_known=not extra)
    if head.num_coefficients:
        return None if extra else YoloColumns(SEGMENT, 0, num_coefficients=head.num_coefficients)
    if extra < 2:
        return YoloColumns(OBB if extra else DETECT, 0)
    if not is_usual:
        each = 3 if extra % 3 == 0 else 2
        points = (extra // each, each)
    if points[0] * points[1] != extra or points[0] > _MOST_KEYPOINTS:
        return None
    return YoloColumns(POSE, 0, num_keypoints=points[0], keypoint_values=points[1])


def _check_finished(rows: NDArray[Any], tolerance: float, *, is_known: bool) -> None:
    """Raise where the rows are no objects: a score within 0..1 and the number of a class."""
    scores, classes = rows[:, 4], rows[:, 5]
    if not _is_score(scores, tolerance):
        raise UnsupportedModelError(
            f"what would be the scores of objects reaches from {scores.min():.3g} to "
            f"{scores.max():.3g}"
        )
    apart = float(np.abs(classes - np.rint(classes)).max())
    if not is_known and (apart > tolerance or float(classes.min()) < -tolerance):
        raise UnsupportedModelError("what would be the numbers of classes are no whole numbers")


class _Values:
    """The columns of a table of places, looked at."""

    def __init__(
        self, head: YoloHead, input_shape: Sequence[int], rows: NDArray[Any], tolerance: float
    ) -> None:
        self._head, self._rows, self._tolerance = head, rows, tolerance
        cells, strides = grid_centres(head.strides, head.anchors, input_shape)
        centres = (cells + 0.5) * strides
        with np.errstate(invalid="ignore", divide="ignore"):
            self._moves = [_correlation(rows, centres[:, axis]) for axis in (0, 1)]

    def columns(self) -> YoloColumns:
        """What they are, objectness aside that of the first task that fits."""
        head = self._head
        last = head.num_values - head.num_coefficients
        is_offset = self._is_offset()
        objectness = head.anchors > 1 or is_offset
        points = None if head.num_coefficients else self._keypoints(_BOX + objectness, last)
        if points is not None:
            classes, each = points
            first = _BOX + objectness
            self._check_scores(first, first + classes)
            count = (last - first - classes) // each
            return YoloColumns(POSE, classes, objectness, count, each, is_offset=is_offset)
        may_be_obb = not objectness and not head.num_coefficients and last - _BOX > 1
        # Ultralytics puts places last, and has angles; YOLOX and YOLOv6 first, and objectness.
        if may_be_obb and head.is_transposed and self._is_angle(_BOX, last):
            return YoloColumns(OBB, last - _BOX - 1)
        objectness = objectness or self._has_objectness(last)
        first = _BOX + objectness
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
        if head.anchors > 1 or head.num_values - head.num_coefficients <= _BOX + 1:
            return False
        if self._moves[0][0] > _MOVES and self._moves[1][1] > _MOVES:
            return False
        boxes = self._rows[:, :_BOX]
        boxes = boxes[np.isfinite(boxes).all(axis=1)]
        if not len(boxes):
            return False
        sizes = boxes[:, 2:]
        is_small = float(np.quantile(np.abs(boxes), 0.99)) < _LARGEST_LOG
        has_negative = float(sizes.min()) < -self._tolerance
        return is_small and (has_negative or float(sizes.max()) > _LARGEST_SCORE_AS_PIXEL)

    def _has_objectness(self, last: int) -> bool:
        """Whether the column behind the box scales the classes: small where they are not, or 1."""
        if last - _BOX in (1, _COCO):
            return False
        objectness = self._rows[:, _BOX]
        if float(objectness.min()) > 1 - self._tolerance:
            return True  # YOLOv6's is 1 at every place
        classes = float(self._rows[:, _BOX + 1 : last].max(axis=1).mean())
        if not _is_score(self._rows[:, _BOX + 1 : last], self._tolerance):
            return False
        # Trained where there is an object only, classes are certain of one anywhere.
        return classes > 0.05 and classes > 10 * float(objectness.mean())

    def _keypoints(self, first: int, last: int) -> tuple[int, int] | None:
        """(classes, values a key point) where the columns behind some classes are key points."""
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
        return _is_score(self._rows[:, start + 2 : last : each], self._tolerance)

    def _in_pixels(self, columns: slice) -> bool:
        return bool((self._rows[:, columns].max(axis=0) > _LARGEST_SCORE_AS_PIXEL).all())

    def _contradicts(self, start: int, last: int) -> bool:
        """Whether COCO's key points cannot stand in these columns."""
        certainty = self._rows[:, start + 2 : last : 3]
        coordinates = np.delete(self._rows[:, start:last], np.s_[2::3], axis=1)
        return not _is_score(certainty, self._tolerance) or not coordinates.any()

    def _is_angle(self, first: int, last: int) -> bool:
        """Whether the last column is an angle in radians."""
        angles, classes = self._rows[:, last - 1], self._rows[:, first : last - 1]
        if not _is_score(classes, self._tolerance):
            return False
        if not _is_score(angles, self._tolerance):
            return float(np.abs(angles).max()) < _LARGEST_LOG
        # Everywhere far from nothing, where the classes are nowhere.
        return float(angles.mean()) > max(0.2, 5 * float(classes.mean(axis=0).max()))

    def _check_scores(self, first: int, last: int) -> None:
        scores = self._rows[:, first:last]
        if not _is_score(scores, self._tolerance):
            raise UnsupportedModelError(
                f"{last - first} values of each of {len(scores)} places would be class scores, and "
                f"reach from {scores.min():.3g} to {scores.max():.3g}"
            )


def _is_score(values: NDArray[Any], tolerance: float) -> bool:
    if not values.size:
        return True
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    return bool(low >= -tolerance and high <= 1 + tolerance)


def _correlation(rows: NDArray[Any], with_: NDArray[Any]) -> NDArray[Any]:
    """Of each column with ``with_``; 0 where a column is constant."""
    columns = rows - rows.mean(axis=0)
    other = with_ - with_.mean()
    size = np.sqrt((columns**2).sum(axis=0) * (other**2).sum())
    return np.where(size > 0, other @ columns / np.where(size > 0, size, 1), 0)
