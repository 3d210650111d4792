# SPDX-License-Identifier: Apache-2.0
"""What a model answers to one input, as plain values for people and programs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.result import Result
from edgekit.tasks import Detections, Mask, Poses, Scores, Values, keypoint_names, mask_to_image
from edgekit.tasks.classification import top_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Placement
    from edgekit.runtime import TensorInfo
    from edgekit.tasks import Meaning


_MOST_VALUES = 1000
_LARGEST_LOGIT = 700.0  # the exponential of it still fits in a float


@dataclass(frozen=True)
class ClassScore(Result):
    """One class of a classifier's answer."""

    index: int
    label: str  # "" without labels
    score: float  # the output's real value


@dataclass(frozen=True)
class KeyPoint(Result):
    """One key point of a person or an object."""

    name: str  # "nose", ...; a number if the network's key points are not COCO's
    x_px: float  # in the image
    y_px: float
    x: float  # as a share of the network's input
    y: float
    score: float


@dataclass(frozen=True)
class ObjectMask(Result):
    """The pixels of one object in the image, as COCO's uncompressed run lengths."""

    size: tuple[int, int]  # (height, width) of the image
    counts: tuple[int, ...]  # pixels outside, inside, outside, ... down column after column
    area_px: int


@dataclass(frozen=True)
class ObjectBox(Result):
    """One object that a detector found."""

    index: int  # of its class, background not counted
    label: str
    score: float
    box_xyxy_px: tuple[float, float, float, float]  # in pixels of the image; may be partly outside
    corners_xy_px: tuple[tuple[float, float], ...] = ()  # four, of a rotated box
    keypoints: tuple[KeyPoint, ...] = ()
    mask: ObjectMask | None = None


@dataclass(frozen=True)
class MaskClass(Result):
    """One class in a mask."""

    index: int
    label: str
    share: float  # of the image's pixels


@dataclass(frozen=True)
class Person(Result):
    """One person that a pose network found."""

    score: float
    keypoints: tuple[KeyPoint, ...]
    box_xyxy_px: tuple[float, float, float, float] | None = None  # if the network has one
    index: int = 0  # of the class, if a network has key points of several classes
    label: str = ""


@dataclass(frozen=True)
class OutputSummary(Result):
    """One output tensor, dequantized."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    min: float
    max: float
    mean: float


@dataclass(frozen=True)
class Answer(Result):
    """What the model answers to one input."""

    source: str
    top: tuple[ClassScore, ...]  # best first; empty if the model is not a classifier
    objects: tuple[ObjectBox, ...]  # of a detector, best first
    mask: tuple[MaskClass, ...]  # of a segmentation network, largest share first
    people: tuple[Person, ...]  # of a pose network, best first
    outputs: tuple[OutputSummary, ...]
    latency_ms: float
    picture: str = ""  # the file that it was drawn to
    values: tuple[float, ...] = ()  # of a regression network, the first 1,000


@dataclass(frozen=True)
class Words:
    """How answers become words: names of the classes, and how many classes to return."""

    names: Sequence[str]
    top: int

    def of(self, index: int) -> str:
        """The name of a class; empty if it has none."""
        return self.names[index] if 0 <= index < len(self.names) else ""


def explain(meaning: Meaning, placement: Placement, words: Words) -> dict[str, Any]:
    """The fields ``top``, ``objects``, ``mask`` and ``people`` of an `Answer`."""
    fields: dict[str, Any] = {"top": (), "objects": (), "mask": (), "people": ()}
    if isinstance(meaning, Scores):
        fields["top"] = _top(meaning, words)
    elif isinstance(meaning, Values):
        fields["values"] = tuple(float(value) for value in meaning.values[:_MOST_VALUES])
    elif isinstance(meaning, Detections):
        fields["objects"] = _objects(meaning, placement, words)
    elif isinstance(meaning, Mask):
        fields["mask"] = _mask(mask_to_image(meaning.classes, placement), words)
    elif isinstance(meaning, Poses):
        fields["people"] = _people(meaning, placement, words)
    return fields


def summarize(info: TensorInfo, real: NDArray[Any], counted: NDArray[Any]) -> OutputSummary:
    """Return range and mean of an output's real values; ``counted`` are those that count."""
    with np.errstate(invalid="ignore"):  # casts of NaN; the mean of inf and -inf is NaN
        values = counted.astype(np.float64)
        low, high, mean = (
            (float(values.min()), float(values.max()), float(values.mean()))
            if values.size
            else (0.0, 0.0, 0.0)
        )
    return OutputSummary(info.name, tuple(real.shape), info.dtype, low, high, mean)


def _top(meaning: Scores, words: Words) -> tuple[ClassScore, ...]:
    """The best classes; of a multi-label model all above the threshold; of one score both."""
    scores = meaning.scores
    if len(scores) == 1:
        return _of_two(float(scores[0]), meaning, words) if len(words.names) == 2 else ()
    most = words.top if meaning.threshold is None else len(scores)
    chosen = top_classes(scores, most)
    if meaning.threshold is not None:
        chosen = [i for i in chosen if scores[i] > meaning.threshold]
    return tuple(ClassScore(i, words.of(i), float(scores[i])) for i in chosen)


def _of_two(score: float, meaning: Scores, words: Words) -> tuple[ClassScore, ...]:
    """Both classes of a sigmoid (or of the logit before one), the likelier first."""
    second = 1 / (1 + math.exp(-max(-_LARGEST_LOGIT, score))) if meaning.is_logit else score
    rows = [ClassScore(0, words.of(0), 1 - second), ClassScore(1, words.of(1), second)]
    best_first = rows[::-1] if second > 1 - second else rows
    return tuple(best_first[: words.top])


def _objects(found: Detections, placement: Placement, words: Words) -> tuple[ObjectBox, ...]:
    boxes = found.boxes_xyxy_px(placement).tolist()
    rows = zip(found.class_indices.tolist(), found.scores.tolist(), boxes)
    plain = [ObjectBox(i, words.of(i), score, tuple(box)) for i, score, box in rows]
    return tuple(
        replace(each, **_details(found, index, placement)) for index, each in enumerate(plain)
    )


def _details(found: Detections, index: int, placement: Placement) -> dict[str, Any]:
    """Fields that only some detectors have."""
    details: dict[str, Any] = {}
    if found.corners_yx is not None:
        corners = placement.to_image(found.corners_yx[index, :, ::-1])
        details["corners_xy_px"] = tuple(map(tuple, corners.tolist()))
    if found.keypoints_yx is not None:
        points = found.keypoints_yx[index]
        certainty = np.full(len(points), found.scores[index])
        details["keypoints"] = _keypoints(points, certainty, placement)
    if found.masks is not None:
        details["mask"] = _run_lengths(found.masks.in_image(index, placement))
    return details


def _run_lengths(mask: NDArray[np.bool_]) -> ObjectMask:
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(ends).tolist()
    # The first run counts pixels outside, even if there are none.
    counts = [0, *counts] if flat.size and flat[0] else counts
    return ObjectMask((mask.shape[0], mask.shape[1]), tuple(counts), int(mask.sum()))


def _mask(mask: NDArray[Any], words: Words) -> tuple[MaskClass, ...]:
    classes, counts = np.unique(mask, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple(
        MaskClass(int(classes[i]), words.of(int(classes[i])), float(counts[i] / mask.size))
        for i in order
    )


def _people(poses: Poses, placement: Placement, words: Words) -> tuple[Person, ...]:
    boxes = poses.boxes_xyxy_px(placement)
    classes = poses.class_indices
    return tuple(
        Person(
            float(score),
            _keypoints(poses.keypoints_yx[i], poses.keypoint_scores[i], placement),
            None if boxes is None else tuple(boxes[i].tolist()),
            0 if classes is None else int(classes[i]),
            "" if classes is None else words.of(int(classes[i])),
        )
        for i, score in enumerate(poses.scores)
    )


def _keypoints(
    points_yx: NDArray[Any], certainty: NDArray[Any], placement: Placement
) -> tuple[KeyPoint, ...]:
    points_px = placement.to_image(points_yx[:, ::-1])
    return tuple(
        KeyPoint(name, float(px[0]), float(px[1]), float(yx[1]), float(yx[0]), float(sure))
        for name, px, yx, sure in zip(
            keypoint_names(len(points_yx)), points_px, points_yx, certainty
        )
    )
