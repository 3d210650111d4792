# SPDX-License-Identifier: Apache-2.0
"""Add up answers of classifiers; memory does not grow with the number of samples."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.data.label_kinds import as_classes, stack_labels
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.evaluate.judge import Score, Verdict
from edgekit.evaluate.metrics import NUM_GROUPS, Interval, difference_ci95, ranks, share_ci95
from edgekit.tasks.classification import binary_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Batch
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.finite import BadRows
    from edgekit.runtime import Runner

TOPS = {"top1": 1, "top5": 5}
NO_ANSWER = -1  # the class of a sample answered with NaN: never right
_LAST = 2**31  # the rank of its true class: after all classes


class Head:
    """The scores in a classifier's output: one per class, or one for two classes (a sigmoid)."""

    def __init__(self, runner: Runner, source: str = "") -> None:
        """Raises UnsupportedModelError if the model is not a classifier."""
        shapes = [info.shape for info in runner.outputs]
        # (batch, classes), or (batch, 1, 1, classes) as from a convolution.
        if len(shapes) != 1 or len(shapes[0]) < 2 or any(size != 1 for size in shapes[0][1:-1]):
            raise UnsupportedModelError(
                f"the model is not a classifier: its outputs have the shapes {shapes}",
                where=source or runner.source,
                why="classification needs one output of shape (batch, classes)",
                fix="look at what it answers with edgekit run",
            )
        self._runner = runner
        self._middle = binary_threshold(runner.model, runner.outputs[0])
        self._is_binary = shapes[0][-1] == 1
        self.num_classes = 2 if self._is_binary else shapes[0][-1]

    def scores(self, outputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return (samples, classes) scores, larger if likelier, quantized as the output."""
        scores = outputs[0].reshape(len(outputs[0]), -1)
        if not self._is_binary:
            return scores
        (real,) = self._runner.to_real(scores)
        return np.concatenate([2 * self._middle - real, real], axis=1)


class Tally:
    """Adds up the answers of one or two classifiers on the same samples."""

    def __init__(
        self,
        heads: Sequence[Head],
        label_offset: int = 0,
        label_map: Mapping[int, int] | None = None,
    ) -> None:
        """Judge the models behind ``heads``.

        Args:
            heads: One per model.
            label_offset: Added to each label of the data.
            label_map: A label of the data -> class of the models; None does not change labels.
        """
        self._heads, self._offset, self._map = heads, label_offset, label_map
        self.count = self.num_labelled = self._same = 0
        self._hits = [{name: np.zeros(NUM_GROUPS, np.int64) for name in TOPS} for _ in heads]
        self._only: list[Counter[str]] = [Counter() for _ in heads]
        self._sizes = np.zeros(NUM_GROUPS, np.int64)  # labelled samples per group
        self.confusion: Counter[tuple[int, int]] = Counter()

    def record(
        self, outputs: Sequence[Rows], batch: Batch, bad: Sequence[BadRows]
    ) -> dict[str, Any]:
        """Return each model's answer to each sample, and the rank of the true class.

        Raises:
            DataError: A label is not one of the models' classes.
        """
        where = batch.sources[0] if batch.sources else ""
        scores = [head.scores(each) for head, each in zip(self._heads, outputs)]
        if any(not each.shape[1] for each in scores):
            raise DataError(
                "the model answers with an empty output",
                where=where,
                why="the runtime computes another shape than the model declares: no classes",
                fix="edgekit inspect MODEL shows its outputs; export the network again",
            )
        answers = [each.argmax(axis=1) for each in scores]
        for answer, rows in zip(answers, bad):
            answer[rows] = NO_ANSWER
        labels = stack_labels(batch.labels, where)
        if labels is None:
            return {"answers": [each.tolist() for each in answers]}
        truth = self._classes_of(labels, where)
        self._check_labels(truth, where)
        for each in scores:
            if len(each) != len(truth):
                raise DataError(
                    f"the model answers {len(truth)} samples with {len(each)} rows of scores",
                    where=where,
                    why="the first dimension of input and output is not the same batch",
                    fix="export the network for one sample at a time",
                )
        places = [ranks(each, truth) for each in scores]
        for place, rows in zip(places, bad):
            place[rows] = _LAST
        return {
            "answers": [each.tolist() for each in answers],
            "truth": truth.tolist(),
            "places": [each.tolist() for each in places],
        }

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record to the sums."""
        answers = record["answers"]
        start = self.count
        self.count += len(answers[0])
        if len(answers) > 1:
            self._same += sum(map(int.__eq__, answers[0], answers[1]))
            if NO_ANSWER in answers[0]:
                self._same -= sum(a == b == NO_ANSWER for a, b in zip(*answers))
        else:
            self._same = self.count
        if "truth" not in record:
            return
        self.num_labelled += len(record["truth"])
        self.confusion.update(zip(record["truth"], answers[0]))
        groups = (start + np.arange(len(answers[0]))) % NUM_GROUPS
        self._sizes += np.bincount(groups, minlength=NUM_GROUPS)
        places = [np.asarray(each) for each in record["places"]]
        for name, top in TOPS.items():
            right = [place < top for place in places]
            for hits, each in zip(self._hits, right):
                hits[name] += np.bincount(groups[each], minlength=NUM_GROUPS)
            self._only[0][name] += int((right[0] & ~right[-1]).sum())
            self._only[-1][name] += int((right[-1] & ~right[0]).sum())

    @property
    def maps_labels(self) -> bool:
        """Whether names or an offset map labels to the models' classes."""
        return self._map is not None or self._offset != 0

    def class_of(self, label: int) -> int:
        """Return the models' class of a label of the data; below 0 if it has none."""
        return (label if self._map is None else self._map.get(label, -1)) + self._offset

    @property
    def num_classes(self) -> int:
        """The number of classes of the first model."""
        return self._heads[0].num_classes

    @property
    def lacks_labels(self) -> bool:
        """Whether labels are missing: for some samples, or, with a single model, for all."""
        if not self.num_labelled and len(self._heads) > 1:
            return False
        return self.num_labelled < self.count

    @property
    def agreement(self) -> float:
        """The share of samples on which both models give the same answer."""
        return self._same / self.count

    def verdict(self) -> Verdict:
        """Return shares of correct answers, Wilson's intervals, and the paired difference."""
        scores = tuple(self._score(index) for index in range(len(self._heads)))
        first, second = scores[0].metrics, scores[-1].metrics
        return Verdict(
            scores,
            self.agreement,
            {name: first[name] - second[name] for name in first},
            self._difference_ci95(),
            self.num_classes,
            tuple(
                (*key, count)
                for key, count in sorted(self.confusion.items())
                if key[1] != NO_ANSWER
            ),
        )

    def _score(self, index: int) -> Score:
        hits, total = self._hits[index], self.num_labelled
        sums = {name: int(hits[name].sum()) for name in self._names()}
        return Score(
            {name: right / total for name, right in sums.items()},
            {name: share_ci95(right, total) for name, right in sums.items()},
            {name: self._left_out(hits[name]) for name in sums},
        )

    def _left_out(self, hits: NDArray[np.int64]) -> tuple[float, ...]:
        used = (self._sizes > 0) & (self._sizes < self.num_labelled)
        shares = (hits.sum() - hits[used]) / (self.num_labelled - self._sizes[used])
        return tuple(shares.tolist())

    def _difference_ci95(self) -> dict[str, Interval]:
        return {
            name: difference_ci95(self._only[0][name], self._only[-1][name], self.num_labelled)
            for name in self._names()
        }

    def _names(self) -> list[str]:
        if not self.num_labelled:
            return []
        # With five classes or fewer, the best five always include the true class.
        return [name for name, top in TOPS.items() if top == 1 or top < self.num_classes]

    def _classes_of(self, labels: NDArray[Any], where: str) -> NDArray[np.int64]:
        classes = as_classes(labels, where)
        if self._map is not None:
            found = [self._map.get(each, -1) for each in classes.tolist()]
            classes = np.asarray(found, np.int64)
        return classes + self._offset

    def _check_labels(self, truth: NDArray[np.int64], source: str) -> None:
        classes = min(head.num_classes for head in self._heads)
        wrong = truth[(truth < 0) | (truth >= classes)]
        if wrong.size:
            raise DataError(
                f"the label {wrong[0]} is not one of the model's {classes} classes (0 to "
                f"{classes - 1})",
                where=source,
                fix="--label-offset -1 or 1 if labels and model differ by a background class; "
                "else give the data that the model was trained for",
            )
