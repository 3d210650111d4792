# SPDX-License-Identifier: Apache-2.0
"""Judge several classes per sample: average precision and F1 of each class separately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.data.label_kinds import as_multi_hot, stack_labels
from edgekit.errors import DataError
from edgekit.evaluate.judge import Verdict, make_score, paired_difference
from edgekit.evaluate.metrics import NUM_GROUPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Batch
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.finite import BadRows
    from edgekit.runtime import Runner


class MultilabelJudge:
    """Collects one or two models' answers to the same samples; memory grows with the scores."""

    def __init__(
        self, runners: Sequence[Runner], thresholds: Sequence[float], names: Sequence[str]
    ) -> None:
        """Judge the outputs of ``runners``.

        Args:
            runners: One per model, each with one output that has a score per class.
            thresholds: The threshold of each model: classes with a score above it count as true.
            names: The names of the classes, or empty.
        """
        self._runners, self._thresholds, self._names = runners, thresholds, names
        self.num_classes = runners[0].outputs[0].shape[-1]
        self.count = 0
        self._truth: list[NDArray[np.bool_]] = []
        self._scores: list[list[NDArray[np.float64]]] = [[] for _ in runners]

    def record(
        self, outputs: Sequence[Rows], batch: Batch, bad: Sequence[BadRows]
    ) -> dict[str, Any]:
        """Return the true classes and all scores of each sample; ``bad`` marks NaN."""
        where = batch.sources[0] if batch.sources else ""
        labels = stack_labels(batch.labels, where)
        if labels is None:
            raise DataError(
                "a sample has no label",
                where=where,
                fix="save a row of 0 and 1 per sample as y, beside x in the .npz",
            )
        truth = as_multi_hot(labels, self.num_classes, where)
        return {
            "truth": [np.flatnonzero(row).tolist() for row in truth],
            "scores": [_scores(*pair).tolist() for pair in zip(self._runners, outputs)],
            "bad": [np.flatnonzero(rows).tolist() for rows in bad],
        }

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record to the sums."""
        truth = np.zeros((len(record["truth"]), self.num_classes), bool)
        for row, classes in zip(truth, record["truth"]):
            row[classes] = True
        self.count += len(truth)
        self._truth.append(truth)
        for whole, scores, bad in zip(self._scores, record["scores"], record["bad"]):
            values = np.asarray(scores, np.float64).reshape(truth.shape)
            values[bad] = -np.inf
            whole.append(values)

    def verdict(self) -> Verdict:
        """Mean average precision, micro and macro F1, and the share of equal answers."""
        truth = np.concatenate(self._truth)
        groups = np.arange(len(truth)) % NUM_GROUPS
        tables = [np.concatenate(each) for each in self._scores]
        scores = []
        for table, threshold in zip(tables, self._thresholds):
            metrics, each = multilabel_metrics(truth, table, threshold)
            parts = [
                multilabel_metrics(truth[groups != g], table[groups != g], threshold)[0]
                for g in range(min(NUM_GROUPS, len(truth)))
                if len(truth) > 1
            ]
            kept = [name for name in metrics if all(name in part for part in parts)]
            left_out = {name: [part[name] for part in parts] for name in kept}
            metrics = {name: metrics[name] for name in kept}
            per_class = {self._name(index): values for index, values in each.items()}
            scores.append(make_score(metrics, left_out, per_class))
        found = [table > threshold for table, threshold in zip(tables, self._thresholds)]
        difference, difference_ci95 = paired_difference(scores[0], scores[-1])
        agreement = float((found[0] == found[-1]).all(axis=1).mean())
        return Verdict(tuple(scores), agreement, difference, difference_ci95, self.num_classes)

    def _name(self, index: int) -> str:
        return self._names[index] if index < len(self._names) else str(index)


def multilabel_metrics(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float
) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """``map``, ``f1_micro`` and ``f1_macro``, and ``ap`` and ``f1`` of each class.

    A class that no sample has is left out of ``map``, and out of ``f1_macro`` if the model also
    finds it in no sample.

    Args:
        truth: (samples, classes).
        scores: The same shape; larger for a likelier class.
        threshold: Classes with a score above it count as found.
    """
    found = scores > threshold
    hits = (truth & found).sum(axis=0)
    both = truth.sum(axis=0) + found.sum(axis=0)
    each: dict[int, dict[str, float]] = {}
    for index in np.flatnonzero(both):
        each[int(index)] = {"f1": float(2 * hits[index] / both[index])}
        if truth[:, index].any():
            each[int(index)]["ap"] = average_precision(truth[:, index], scores[:, index])
    precisions = [values["ap"] for values in each.values() if "ap" in values]
    metrics = {
        "map": float(np.mean(precisions)) if precisions else 0.0,
        "f1_micro": float(2 * hits.sum() / max(1, both.sum())),
        "f1_macro": float(np.mean([v["f1"] for v in each.values()])) if each else 0.0,
    }
    return (metrics if precisions else {}), each


def average_precision(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Sum precision times gain of recall over the distinct scores; equal scores count together.

    Source:
        scikit-learn, average_precision_score: the same number, without interpolation.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(truth[order])[ends]
    gains = np.diff(np.append(0, hits)) / hits[-1]
    return float((gains * hits / (ends + 1)).sum())


def _scores(runner: Runner, outputs: Rows) -> NDArray[np.float64]:
    (real,) = runner.to_real(outputs[0])
    flat = np.asarray(real, np.float64).reshape(len(real), -1)
    return np.where(np.isfinite(flat), flat, 0.0)  # ``bad`` marks them: JSON has no NaN
