# SPDX-License-Identifier: Apache-2.0
"""Answers of classifiers, added up as they come; memory does not grow with the samples."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.errors import DataError, UnsupportedModelError
from edgekit.evaluate.metrics import Interval, difference_ci95, ranks, share_ci95

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.runtime import Runner

TOPS = {"top1": 1, "top5": 5}
_BINARY_THRESHOLD = 0.5


class Head:
    """The scores in a classifier's output: one a class, or one for two classes (a sigmoid)."""

    def __init__(self, runner: Runner) -> None:
        """Raises UnsupportedModelError where ``runner`` holds no classifier."""
        shapes = [info.shape for info in runner.outputs]
        # (batch, classes), or (batch, 1, 1, classes) as from a convolution.
        if len(shapes) != 1 or len(shapes[0]) < 2 or any(size != 1 for size in shapes[0][1:-1]):
            raise UnsupportedModelError(
                f"the model is no classifier: its outputs have the shapes {shapes}",
                where=runner.source,
                why="evaluate measures classification: one output of shape (batch, classes)",
                fix="look at what it answers with edgekit run",
            )
        self._runner = runner
        self._is_binary = shapes[0][-1] == 1
        self.num_classes = 2 if self._is_binary else shapes[0][-1]

    def scores(self, outputs: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """(samples, classes), larger for a likelier class; quantized where the output is."""
        scores = outputs[0].reshape(len(outputs[0]), -1)
        if not self._is_binary:
            return scores
        (real,) = self._runner.to_real(scores)
        return np.concatenate([2 * _BINARY_THRESHOLD - real, real], axis=1)


class Tally:
    """What one or two models answered on the same samples."""

    def __init__(self, heads: Sequence[Head], label_offset: int) -> None:
        self._heads, self._offset = heads, label_offset
        self.count = self.num_labelled = self._same = 0
        self._hits: list[Counter[str]] = [Counter() for _ in heads]
        self._only: list[Counter[str]] = [Counter() for _ in heads]
        self.confusion: Counter[tuple[int, int]] = Counter()

    def add(
        self, outputs: Sequence[Sequence[NDArray[Any]]], labels: list[int] | None, source: str
    ) -> None:
        """Add the raw outputs of each model for some samples.

        Raises:
            DataError: A label is none of the model's classes.
        """
        scores = [head.scores(each) for head, each in zip(self._heads, outputs)]
        answers = [each.argmax(axis=1) for each in scores]
        self.count += len(answers[0])
        self._same += int((answers[0] == answers[-1]).sum())
        if labels is None:
            return
        truth = np.asarray(labels, np.int64) + self._offset
        self._check_labels(truth, source)
        self.num_labelled += len(truth)
        self.confusion.update(zip(truth.tolist(), answers[0].tolist()))
        places = [ranks(each, truth) for each in scores]
        for name, top in TOPS.items():
            right = [place < top for place in places]
            for hits, each in zip(self._hits, right):
                hits[name] += int(each.sum())
            self._only[0][name] += int((right[0] & ~right[-1]).sum())
            self._only[-1][name] += int((right[-1] & ~right[0]).sum())

    @property
    def num_classes(self) -> int:
        """Of the first model."""
        return self._heads[0].num_classes

    @property
    def lacks_labels(self) -> bool:
        """Whether too few labels came: some but not all, or none for a single model."""
        if not self.num_labelled and len(self._heads) > 1:
            return False
        return self.num_labelled < self.count

    @property
    def agreement(self) -> float:
        """The share of samples on which both models give the same answer."""
        return self._same / self.count

    def metrics(self, index: int) -> dict[str, float]:
        """Model ``index``'s share of right answers, and of those among the best five."""
        return {name: self._hits[index][name] / self.num_labelled for name in self._names()}

    def metrics_ci95(self, index: int) -> dict[str, Interval]:
        """Their 95 % confidence intervals."""
        hits = self._hits[index]
        return {name: share_ci95(hits[name], self.num_labelled) for name in self._names()}

    def difference(self) -> dict[str, float]:
        """The first model's metrics less the second's."""
        first, second = self.metrics(0), self.metrics(1)
        return {name: first[name] - second[name] for name in first}

    def difference_ci95(self) -> dict[str, Interval]:
        """Their 95 % confidence intervals, paired sample by sample."""
        return {
            name: difference_ci95(self._only[0][name], self._only[1][name], self.num_labelled)
            for name in self._names()
        }

    def _names(self) -> list[str]:
        if not self.num_labelled:
            return []
        # The best five of five classes or fewer are always right.
        return [name for name, top in TOPS.items() if top == 1 or top < self.num_classes]

    def _check_labels(self, truth: NDArray[np.int64], source: str) -> None:
        classes = min(head.num_classes for head in self._heads)
        wrong = truth[(truth < 0) | (truth >= classes)]
        if wrong.size:
            raise DataError(
                f"the label {wrong[0]} is none of the model's {classes} classes (0 to "
                f"{classes - 1})",
                where=source,
                fix="--label-offset -1 or 1 if labels and model differ by a background class; "
                "else give the data that the model was trained for",
            )
