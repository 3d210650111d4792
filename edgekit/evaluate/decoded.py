# SPDX-License-Identifier: Apache-2.0
"""Compare the decoded answers of two models: classes, objects, masks and people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Iterator, Sequence

import numpy as np

from edgekit.result import Result
from edgekit.runtime.quality import BAD, DOUBTFUL, FLOAT, GOOD, Finding, found_words
from edgekit.tasks import (
    CLASSIFICATION,
    DETECTION,
    POSE,
    SEGMENTATION,
    Decoder,
    Detections,
    Mask,
    Poses,
    Scores,
    iou,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


# An object counts if its score is above SCORE (exactly 0.5 is the largest code of saturated
# logits, and does not count); two objects are the same if they overlap by OVERLAP.
SCORE, OVERLAP = 0.5, 0.5
_NEAR = 0.1  # of a person's size: key points at a smaller distance are the same
_CLOSE_CALL = 0.8  # a class with at least this share of the best score counts as the same
_LEAST_SHARE = 0.005  # of all pixels; rarer classes do not count
_LEAST_ANSWERS = 10
# If this many answers all name one class, out of this many or more, that is not by chance.
_MANY_ANSWERS, _LEAST_CLASSES = 50, 3
_LEAST_NAMED = 0.02  # of all answers: a class that is named more rarely may be an error
_SUM_SLACK = 0.05  # the sum of quantized probabilities may differ from 1 by this much
_LEAST_ERRORS = 2  # one error may be chance
# The additional share of wrong answers, by the reference's own probabilities: above the first
# doubtful, above the second bad.
LOSS_LIMITS = (0.01, 0.04)
# Mean overlap of the objects that are found: below the first bad, below the second doubtful.
OVERLAP_LIMITS = (0.65, 0.8)
# The share of its answers that the worst class must keep: below the first bad, below the second
# doubtful. All classes together may be good while a rare class is lost.
CLASS_LIMITS = (0.25, 0.5)
# Below the first bad, below the second doubtful: see docs/quality.md.
LIMITS = {
    CLASSIFICATION: (0.8, 0.9),
    DETECTION: (0.65, 0.8),
    POSE: (0.7, 0.85),
    SEGMENTATION: (0.7, 0.88),
}
_CODES = {
    CLASSIFICATION: "quality.classification",
    DETECTION: "quality.detection",
    POSE: "quality.pose",
    SEGMENTATION: "quality.segmentation",
}
_THINGS = {DETECTION: "objects", POSE: "people"}


@dataclass(frozen=True)
class DecodedRecord(Result):
    """How far the decoded answers of two models agree.

    ``share`` is for classes the share of samples with the same best class, close calls included;
    for objects and people F1; for masks the mean intersection over union. ``loss`` is, for classes,
    by how much the accuracy falls if the reference's probabilities are true: the mean difference
    between its probabilities of its own best class and of the model's. ``worst_class`` is the class
    with the lowest ``worst_share`` of kept answers (for masks: intersection over union), among
    those with enough answers. ``num_named`` is how many of ``num_classes`` the reference names,
    each on 2 % of the samples or more.
    """

    task: str
    num_samples: int
    reference: int  # answers of the reference: samples, objects, people, pixels
    found: int  # of those, how many the model has too
    false: int  # of the model only
    share: float
    verdict: str
    loss: float | None = None  # None if the scores are not probabilities that sum to 1
    worst_class: int | None = None
    worst_share: float | None = None
    only_class: int | None = None  # the only class that the reference returns, of 3 or more
    overlap: float | None = None  # mean intersection over union of the objects found
    num_classes: int | None = None  # None if the answers are not classes
    num_named: int | None = None


class DecodedSums:
    """Running sums over the samples; not thread-safe."""

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        """Compare the decoded outputs; ``decoders`` are those of the reference and of the model."""
        self._decoders = decoders
        self.task = decoders[1].task
        self._count = self._reference = self._found = self._false = self._close = 0
        self._masks: dict[int, list[int]] = {}  # class -> pixels of the reference, both, the model
        self._loss, self._is_whole = 0.0, True
        self._num_scores, self._overlap = 0, 0.0
        self._kept: dict[int, list[int]] = {}  # class -> answers of the reference, those found

    def add(
        self, expected: Sequence[NDArray[np.generic]], actual: Sequence[NDArray[np.generic]]
    ) -> None:
        """Add the raw outputs of one sample, with the leading dimension of 1."""
        meant, answered = (
            decoder.decode(raw) for decoder, raw in zip(self._decoders, (expected, actual))
        )
        self._count += 1
        if isinstance(meant, Scores) and isinstance(answered, Scores):
            self._add_classes(meant, answered)
        elif isinstance(meant, Detections) and isinstance(answered, Detections):
            self._add_objects(_Objects.of(meant), _Objects.of(answered))
        elif isinstance(meant, Poses) and isinstance(answered, Poses):
            self._add_people(meant, answered)
        elif isinstance(meant, Mask) and isinstance(answered, Mask):
            self._add_masks(meant.classes, answered.classes)

    def record(self) -> DecodedRecord | None:
        """The result; None if there were too few answers."""
        share = self._share()
        if share is None:
            return None
        worst_class, worst_share = min(
            self._class_shares(), key=lambda each: each[1], default=(None, None)
        )
        record = DecodedRecord(
            self.task,
            self._count,
            self._reference,
            self._found,
            self._false,
            share,
            GOOD,
            loss=self._loss / self._reference if self._has_probabilities else None,
            worst_class=worst_class,
            worst_share=worst_share,
            only_class=self._only_class(),
            overlap=self._overlap / self._found if self.task == DETECTION and self._found else None,
            num_classes=max(2, self._num_scores) if self.task == CLASSIFICATION else None,
            num_named=self._num_named() if self.task == CLASSIFICATION else None,
        )
        return replace(record, verdict=_verdict(record))

    @property
    def _has_probabilities(self) -> bool:
        """Whether exactly one class is true, and the scores are the classes' probabilities.

        If the scores do not sum to 1, several labels may be true.
        """
        return self.task == CLASSIFICATION and self._is_whole

    def _only_class(self) -> int | None:
        is_one = self.task == CLASSIFICATION and len(self._kept) == 1
        if not is_one or self._num_scores < _LEAST_CLASSES or self._reference < _MANY_ANSWERS:
            return None
        return next(iter(self._kept))

    def _num_named(self) -> int:
        least = _LEAST_NAMED * self._reference
        return sum(total >= least for total, _ in self._kept.values())

    def _class_shares(self) -> Iterator[tuple[int, float]]:
        """Yield each class with enough answers of the reference, and the kept share of them."""
        for kind, (total, found) in self._kept.items():
            if total >= _LEAST_ANSWERS and len(self._kept) > 1:
                yield kind, found / total
        for kind, (true, both, answer) in self._masks.items():
            if true >= _LEAST_SHARE * self._reference and true:
                yield kind, both / (true + answer - both)

    def _keep(self, kind: int, *, found: bool) -> None:
        counts = self._kept.setdefault(kind, [0, 0])
        counts[0] += 1
        counts[1] += found

    def _share(self) -> float | None:
        if max(self._reference, self._found + self._false) < _LEAST_ANSWERS:
            return None
        if self.task == CLASSIFICATION:
            return (self._found + self._close) / self._reference
        if self.task == SEGMENTATION:
            return _mean_iou(self._masks, self._reference)
        return 2 * self._found / (self._reference + self._found + self._false)

    def _add_classes(self, meant: Scores, answered: Scores) -> None:
        expected, actual = meant.scores.astype(np.float64), answered.scores.astype(np.float64)
        self._reference += 1
        self._num_scores = len(expected)
        if len(expected) == 1:
            middle = meant.threshold if meant.threshold is not None else SCORE
            same = bool((expected[0] > middle) == (actual[0] > middle))
            self._is_whole &= not meant.is_logit and 0 <= expected[0] <= 1
            self._loss += 0.0 if same else abs(2 * float(expected[0]) - 1)
            self._keep(int(expected[0] > middle), found=same)
        else:
            best, chosen = int(expected.argmax()), int(actual.argmax())
            same = best == chosen
            is_close = not same and _is_close(expected, chosen)
            self._close += is_close
            self._keep(best, found=same or is_close)
            self._is_whole &= _are_shares(expected)
            self._loss += float(expected[best] - expected[chosen]) if self._is_whole else 0.0
        self._found += same

    def _add_objects(self, meant: _Objects, answered: _Objects) -> None:
        overlaps = _matches(meant, answered)
        found = sum(each > 0 for each in overlaps)
        self._reference += len(meant.boxes)
        self._found += found
        self._false += len(answered.boxes) - found
        self._overlap += sum(overlaps)
        for kind, overlap in zip(meant.classes, overlaps):
            self._keep(int(kind), found=overlap > 0)

    def _add_people(self, meant: Poses, answered: Poses) -> None:
        free = list(np.flatnonzero(answered.scores > SCORE))
        people = np.flatnonzero(meant.scores > SCORE)
        for person in people:
            points = meant.keypoints_yx[person]
            size = max(float(np.ptp(points, axis=0).max()), 1e-6)
            away = [
                float(np.linalg.norm(answered.keypoints_yx[i] - points, axis=1).mean())
                for i in free
            ]
            if away and min(away) <= _NEAR * size:
                free.pop(int(np.argmin(away)))
                self._found += 1
        self._reference += len(people)
        self._false += len(free)

    def _add_masks(self, meant: NDArray[np.int64], answered: NDArray[np.int64]) -> None:
        same = meant == answered
        self._reference += meant.size
        self._found += int(same.sum())
        for kind in np.union1d(np.unique(meant), np.unique(answered)).tolist():
            true = meant == kind
            counts = self._masks.setdefault(int(kind), [0, 0, 0])
            counts[0] += int(true.sum())
            counts[1] += int((true & same).sum())
            counts[2] += int((answered == kind).sum())


@dataclass(frozen=True)
class _Objects:
    """The objects of one image with a score above `SCORE`."""

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]

    @classmethod
    def of(cls, found: Detections) -> _Objects:
        sure = found.take(np.flatnonzero(found.scores > SCORE))
        return cls(sure.boxes_yxyx, sure.class_indices)


def _verdict(record: DecodedRecord) -> str:
    """Judge by all answers, by those of the worst class, and by the loss of accuracy."""
    is_chance = record.task == CLASSIFICATION and record.reference - record.found < _LEAST_ERRORS
    loss = 0.0 if is_chance or record.loss is None else record.loss
    kept = 1.0 if record.worst_share is None else record.worst_share
    overlap = 1.0 if record.overlap is None else record.overlap
    shares = ((record.share, LIMITS[record.task]), (kept, CLASS_LIMITS), (overlap, OVERLAP_LIMITS))
    if loss > LOSS_LIMITS[1] or any(share < limits[0] for share, limits in shares):
        return BAD
    if loss > LOSS_LIMITS[0] or any(share < limits[1] for share, limits in shares):
        return DOUBTFUL
    return GOOD


def _are_shares(scores: NDArray[np.float64]) -> bool:
    """Whether the scores are probabilities that sum to 1."""
    if not np.isfinite(scores).all():
        return False
    return bool(scores.min() >= 0 and abs(scores.sum() - 1) <= _SUM_SLACK)


def _is_close(scores: NDArray[np.float64], chosen: int) -> bool:
    """Whether the class ``chosen`` is nearly as likely as the best one."""
    best = float(scores.max())
    if scores.min() >= 0 and best <= 1:
        return bool(scores[chosen] >= _CLOSE_CALL * best)
    return bool(scores[chosen] >= best + np.log(_CLOSE_CALL))  # logits


def _matches(meant: _Objects, answered: _Objects) -> list[float]:
    """Return each object's overlap with one of ``answered``; 0 if it is not found."""
    is_free = np.ones(len(answered.boxes), np.bool_)
    found = []
    for box, kind in zip(meant.boxes, meant.classes):
        overlaps = iou(box, answered.boxes) * (is_free & (answered.classes == kind))
        best = float(overlaps.max()) if overlaps.size else 0.0
        found.append(best if best >= OVERLAP else 0.0)
        if found[-1]:
            is_free[int(overlaps.argmax())] = False
    return found


def _mean_iou(masks: dict[int, list[int]], total: int) -> float:
    shares = [
        both / (true + answer - both)
        for true, both, answer in masks.values()
        if true + answer - both and max(true, answer) >= _LEAST_SHARE * total
    ]
    return float(np.mean(shares)) if shares else 1.0


def decoded_finding(record: DecodedRecord, reference: str = FLOAT) -> Iterator[Finding]:
    """Describe in a sentence what is wrong with the answers; nothing if they are good.

    Args:
        record: What was measured.
        reference: The name of the model that it is compared with.
    """
    if record.verdict == GOOD:
        return
    if record.task == CLASSIFICATION:
        same = record.found / record.reference
        text = f"it names the same class on {same:.0%} of the samples"
        if record.loss is not None and record.loss > LOSS_LIMITS[0]:
            text += (
                f"; by the probabilities of {reference}, {record.loss:.1%} of all answers become "
                "wrong"
            )
    elif record.task == SEGMENTATION:
        text = f"its masks overlap those of {reference} by {record.share:.0%} (mean IoU)"
    else:
        text = (
            f"it {found_words((record.reference, record.found, record.false), reference)} "
            f"({_THINGS[record.task]} with a score above {SCORE:g})"
        )
    if record.overlap is not None and record.overlap < OVERLAP_LIMITS[1]:
        text += f"; the boxes of those found overlap by {record.overlap:.0%}"
    if record.worst_share is not None and record.worst_share < CLASS_LIMITS[1]:
        text += f"; of class {record.worst_class} it keeps {record.worst_share:.0%}"
    yield Finding(_CODES[record.task], record.verdict, "", text)


def describe_answers(record: DecodedRecord) -> str:
    """Describe how far the answers agree, in numbers."""
    if record.task == CLASSIFICATION:
        same = record.found / record.reference
        return f"the same class on {same:.1%} of {record.reference:,} samples"
    if record.task == SEGMENTATION:
        return f"masks overlap by {record.share:.1%} (mean IoU), {record.num_samples:,} samples"
    return (
        f"{record.found:,} of {record.reference:,} {_THINGS[record.task]} found, "
        f"{record.false:,} false, on {record.num_samples:,} samples"
    )
