# SPDX-License-Identifier: Apache-2.0
"""Judge masks: intersection over union of each class, shares of correct pixels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.errors import DataError
from edgekit.evaluate.judge import Verdict, decode_rows, make_score, paired_difference
from edgekit.evaluate.metrics import NUM_GROUPS
from edgekit.tasks import Mask, mask_to_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Batch, Placement
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.finite import BadRows
    from edgekit.tasks import Decoder, Meaning

NO_ANSWER = 2**32 - 1  # the class of pixels of a sample answered with NaN: never right
IGNORED = 255  # the class of pixels that do not count, as in PASCAL VOC and Cityscapes


class MaskJudge:
    """Collects the answers of one or two models for the pixels of the same images.

    Masks are compared at the true mask's resolution, which is the image's.
    """

    def __init__(self, decoders: Sequence[Decoder], names: Sequence[str]) -> None:
        self._decoders, self._names = decoders, names
        self.count = 0
        self._same = self._pixels = 0
        self._groups: list[list[Counter[tuple[int, int]]]] = [
            [Counter() for _ in range(NUM_GROUPS)] for _ in decoders
        ]

    def record(
        self, outputs: Sequence[Rows], batch: Batch, bad: Sequence[BadRows]
    ) -> list[dict[str, Any]]:
        """Return per image and model (true class, answer, pixels), and how many pixels agree."""
        meanings = [
            decode_rows(decoder, each, no_answer)
            for decoder, each, no_answer in zip(self._decoders, outputs, bad)
        ]
        records = []
        for row, truth in enumerate(batch.targets):
            placement = batch.placements[row]
            if truth.shape != (placement.image_height, placement.image_width):
                raise DataError(
                    f"a mask of {truth.shape} for an image of "
                    f"{(placement.image_height, placement.image_width)} (height, width)",
                    where=batch.sources[row],
                )
            answers = [_answer(each[row], placement, truth) for each in meanings]
            same = (answers[0] == answers[-1]) & (answers[0] != NO_ANSWER)
            records.append(
                {
                    "pairs": [_pairs(truth, answer) for answer in answers],
                    "same": int(same.sum()),
                    "pixels": int(truth.size),
                }
            )
        return records

    def add(self, record: Sequence[Mapping[str, Any]]) -> None:
        """Add the records of a batch to the sums."""
        for image in record:
            for groups, pairs in zip(self._groups, image["pairs"]):
                counter = groups[self.count % NUM_GROUPS]
                for true, answer, pixels in pairs:
                    counter[true, answer] += pixels
            self._same += image["same"]
            self._pixels += image["pixels"]
            self.count += 1

    def verdict(self) -> Verdict:
        """Return the mean IoU over the classes that occur, and the share of correct pixels."""
        scores = []
        for groups in self._groups:
            whole = _sum(groups)
            used = [i for i in range(NUM_GROUPS) if groups[i]]
            parts = [_metrics(_sum(groups[:i] + groups[i + 1 :])) for i in used]
            left_out = {name: [each[name] for each in parts] for name in ("miou", "pixel_accuracy")}
            per_class = {self._name(index): {"iou": value} for index, value in _ious(whole).items()}
            scores.append(make_score(_metrics(whole), left_out, per_class))
        difference, difference_ci95 = paired_difference(scores[0], scores[-1])
        counts = sorted(_sum(self._groups[0]).items())
        pairs = [pair for pair in counts if pair[0][1] != NO_ANSWER]
        return Verdict(
            tuple(scores),
            self._same / max(1, self._pixels),
            difference,
            difference_ci95,
            self._decoders[0].num_classes,
            tuple((*key, count) for key, count in pairs),
        )

    def _name(self, index: int) -> str:
        return self._names[index] if index < len(self._names) else str(index)


def _answer(meaning: Meaning, placement: Placement, truth: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the class of each of the image's pixels; `NO_ANSWER` if the outputs contain NaN."""
    if not isinstance(meaning, Mask):
        return np.full(truth.shape, NO_ANSWER, np.int64)
    return mask_to_image(meaning.classes, placement)


def _pairs(truth: NDArray[np.uint8], answer: NDArray[np.int64]) -> list[list[int]]:
    counted = truth != IGNORED
    keys = truth[counted].astype(np.int64) << 32 | answer[counted]
    values, counts = np.unique(keys, return_counts=True)
    rows = zip((values >> 32).tolist(), (values & 0xFFFFFFFF).tolist(), counts.tolist())
    return [list(row) for row in rows]


def _sum(groups: Sequence[Counter[tuple[int, int]]]) -> Counter[tuple[int, int]]:
    total: Counter[tuple[int, int]] = Counter()
    for group in groups:
        total.update(group)
    return total


def _ious(pairs: Mapping[tuple[int, int], int]) -> dict[int, float]:
    """Return the IoU of each class that occurs in the truth or the answers."""
    true: Counter[int] = Counter()
    answered: Counter[int] = Counter()
    for (truth, answer), pixels in pairs.items():
        true[truth] += pixels
        answered[answer] += pixels
    return {
        index: pairs.get((index, index), 0)
        / (true[index] + answered[index] - pairs.get((index, index), 0))
        for index in sorted((set(true) | set(answered)) - {NO_ANSWER})
    }


def _metrics(pairs: Mapping[tuple[int, int], int]) -> dict[str, float]:
    ious = list(_ious(pairs).values())
    right = sum(pixels for (truth, answer), pixels in pairs.items() if truth == answer)
    return {
        "miou": float(np.mean(ious)) if ious else 0.0,
        "pixel_accuracy": right / max(1, sum(pairs.values())),
    }
