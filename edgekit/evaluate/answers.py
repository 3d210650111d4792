# SPDX-License-Identifier: Apache-2.0
"""What a model answers to one input, as plain values for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.result import Result
from edgekit.tasks import KEYPOINT_NAMES, Detections, Mask, Poses, Scores, mask_to_image
from edgekit.tasks.classification import top_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Placement
    from edgekit.runtime import TensorInfo
    from edgekit.tasks import Meaning


@dataclass(frozen=True)
class ClassScore(Result):
    """One class of a classifier's answer."""

    index: int
    label: str  # "" where no labels were given
    score: float  # the output's real value


@dataclass(frozen=True)
class ObjectBox(Result):
    """One object that a detector found."""

    index: int  # of its class, background not counted
    label: str
    score: float
    box_xyxy_px: tuple[float, float, float, float]  # in the image; may reach beyond it


@dataclass(frozen=True)
class MaskClass(Result):
    """One class in a mask."""

    index: int
    label: str
    share: float  # of the image's pixels


@dataclass(frozen=True)
class KeyPoint(Result):
    """One key point of a person."""

    name: str
    x_px: float  # in the image
    y_px: float
    x: float  # as a share of the network's input
    y: float
    score: float


@dataclass(frozen=True)
class Person(Result):
    """One person that a pose network found."""

    score: float
    keypoints: tuple[KeyPoint, ...]


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
    top: tuple[ClassScore, ...]  # best first; empty where the model is no classifier
    objects: tuple[ObjectBox, ...]  # of a detector, best first
    mask: tuple[MaskClass, ...]  # of a segmentation network, largest share first
    people: tuple[Person, ...]  # of a pose network, best first
    outputs: tuple[OutputSummary, ...]
    latency_ms: float
    picture: str = ""  # the file that it was drawn to


@dataclass(frozen=True)
class Words:
    """How meanings become words: names of the classes, and how many to give."""

    names: Sequence[str]
    top: int

    def of(self, index: int) -> str:
        """The name of a class; empty where it has none."""
        return self.names[index] if 0 <= index < len(self.names) else ""


def explain(meaning: Meaning, placement: Placement, words: Words) -> dict[str, Any]:
    """The fields ``top``, ``objects``, ``mask`` and ``people`` of an `Answer`."""
    fields: dict[str, Any] = {"top": (), "objects": (), "mask": (), "people": ()}
    if isinstance(meaning, Scores):
        fields["top"] = _top(meaning.scores, words)
    elif isinstance(meaning, Detections):
        fields["objects"] = _objects(meaning, placement, words)
    elif isinstance(meaning, Mask):
        fields["mask"] = _mask(mask_to_image(meaning.classes, placement), words)
    elif isinstance(meaning, Poses):
        fields["people"] = _people(meaning, placement)
    return fields


def summarize(info: TensorInfo, real: NDArray[Any]) -> OutputSummary:
    """Range and mean of an output's real values."""
    values = real.astype(np.float64)
    low, high, mean = (
        (float(values.min()), float(values.max()), float(values.mean()))
        if values.size
        else (0.0, 0.0, 0.0)
    )
    return OutputSummary(info.name, tuple(real.shape), info.dtype, low, high, mean)


def _top(scores: NDArray[Any], words: Words) -> tuple[ClassScore, ...]:
    if len(scores) < 2:  # one number, which nobody knows to be a probability
        return ()
    chosen = top_classes(scores, words.top)
    return tuple(ClassScore(i, words.of(i), float(scores[i])) for i in chosen)


def _objects(found: Detections, placement: Placement, words: Words) -> tuple[ObjectBox, ...]:
    boxes = found.boxes_xyxy_px(placement).tolist()
    rows = zip(found.class_indices.tolist(), found.scores.tolist(), boxes)
    return tuple(ObjectBox(i, words.of(i), score, tuple(box)) for i, score, box in rows)


def _mask(mask: NDArray[Any], words: Words) -> tuple[MaskClass, ...]:
    classes, counts = np.unique(mask, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple(
        MaskClass(int(classes[i]), words.of(int(classes[i])), float(counts[i] / mask.size))
        for i in order
    )


def _people(poses: Poses, placement: Placement) -> tuple[Person, ...]:
    points_px = poses.keypoints_xy_px(placement)
    return tuple(
        Person(
            float(score),
            tuple(
                KeyPoint(name, float(px[0]), float(px[1]), float(yx[1]), float(yx[0]), float(sure))
                for name, px, yx, sure in zip(KEYPOINT_NAMES, person_px, person, certainty)
            ),
        )
        for score, person, person_px, certainty in zip(
            poses.scores, poses.keypoints_yx, points_px, poses.keypoint_scores
        )
    )
