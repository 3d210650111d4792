# SPDX-License-Identifier: Apache-2.0
"""How to read a network's outputs as a YOLO's: by metadata, by values, else by their number.

Shapes alone do not distinguish 80 classes from 79 and an angle, or 52 from one class and 17 key
points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.tasks.yolo_columns import (
    BOX,
    COCO_CLASSES,
    DETECT,
    OBB,
    PERSON,
    POSE,
    SCORE_TOLERANCE,
    SEGMENT,
    Stated,
    YoloColumns,
)
from edgekit.tasks.yolo_head import YoloHead, undecoded_head, yolo_heads
from edgekit.tasks.yolo_values import YoloValues, is_score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.tasks.yolo_raw import RawHead

_PERSON_VALUES = PERSON[0] * PERSON[1]
_MOST_KEYPOINTS = 150


def find_layout(
    shapes: Sequence[Sequence[int]],
    input_shape: tuple[int, int],
    look: Callable[[], Sequence[NDArray[Any]] | None],
    stated: Stated,
    step: float = 0.0,
    raw: RawHead | None = None,
) -> tuple[YoloHead, YoloColumns] | None:
    """Return how to read outputs of these shapes as a YOLO's; None if they are not a YOLO's.

    Args:
        shapes: The shapes of the outputs.
        input_shape: (height, width) of the network's input.
        look: Returns the real outputs for any image, or None if the network cannot be run on one.
            Not called if shapes and metadata are enough.
        stated: The contents of the metadata.
        step: The step of the outputs' quantization.
        raw: How to decode the outputs, if the metadata say that the network does not.

    Raises:
        UnsupportedModelError: The shapes are a YOLO's, the values are not.
    """
    if raw is not None:
        undecoded = undecoded_head(shapes, input_shape, raw)
        columns = None if undecoded is None else _by_metadata(undecoded, stated)
        return None if undecoded is None or columns is None else (undecoded, columns)
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
    """Return the columns of ``head``, or why they are not a YOLO's: "" if its shape is common."""
    try:
        if head.is_finished:
            return _finished(head, rows, stated, step), ""
        if rows is None:
            return _by_count(head), ""
        return YoloValues(head, input_shape, rows, SCORE_TOLERANCE + step / 2).columns(), ""
    except UnsupportedModelError as error:
        return None, error.what


def _is_proved_finished(head: YoloHead, rows: NDArray[Any] | None) -> bool:
    """Whether rows are certainly objects: whole class numbers, and decreasing scores."""
    if rows is None or not head.is_finished:
        return False
    scores, classes = rows[:, 4], rows[:, 5]
    are_numbers = bool((classes == np.rint(classes)).all() and classes.min() >= 0)
    return are_numbers and bool(scores.max() > 0 and (np.diff(scores) <= 0).all())


def _by_metadata(head: YoloHead, stated: Stated) -> YoloColumns | None:
    """Return the columns by the metadata; None if their number does not match."""
    objectness = head.anchors > 1
    behind = head.num_values - BOX - objectness - head.num_coefficients
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
    """Return the usual columns for this number of values, if there is no other information."""
    behind = head.num_values - BOX - head.num_coefficients
    if head.num_coefficients:
        objectness = head.anchors > 1
        return YoloColumns(
            SEGMENT, behind - objectness, objectness, num_coefficients=head.num_coefficients
        )
    if head.anchors > 1:
        return YoloColumns(DETECT, behind - 1, has_objectness=True)
    if behind == 1 + _PERSON_VALUES:
        return YoloColumns(POSE, 1, num_keypoints=17, keypoint_values=3)
    if behind == 1 + COCO_CLASSES and not head.is_transposed:  # YOLOv6 and YOLOX
        return YoloColumns(DETECT, behind - 1, has_objectness=True)
    return YoloColumns(DETECT, behind)


def _finished(
    head: YoloHead, rows: NDArray[Any] | None, stated: Stated, step: float
) -> YoloColumns | None:
    """Return the columns of rows that are objects; None if such rows may be something else."""
    extra = head.num_values - BOX - 2 - head.num_coefficients
    points = stated.keypoints or PERSON
    is_usual = extra in (0, 1, points[0] * points[1])
    if not is_usual and not _is_proved_finished(head, rows):
        return None
    if rows is not None and len(rows):
        _check_finished(rows, SCORE_TOLERANCE + step / 2, is_known=not extra)
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
    """Raise if the rows are not objects, each with a score within 0..1 and a class number."""
    scores, classes = rows[:, 4], rows[:, 5]
    if not is_score(scores, tolerance):
        raise UnsupportedModelError(
            f"the column of object scores ranges from {scores.min():.3g} to {scores.max():.3g}"
        )
    apart = float(np.abs(classes - np.rint(classes)).max())
    if not is_known and (apart > tolerance or float(classes.min()) < -tolerance):
        raise UnsupportedModelError("the column of class numbers does not have whole numbers")
