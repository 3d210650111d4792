# SPDX-License-Identifier: Apache-2.0
"""Judge real numbers by their targets: mean absolute error, root mean squared error, R2."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.data.label_kinds import as_targets, stack_labels
from edgekit.errors import DataError
from edgekit.evaluate.judge import Verdict, make_score, paired_difference
from edgekit.evaluate.metrics import NUM_GROUPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Batch
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.finite import BadRows
    from edgekit.runtime import Runner

BOUNDS = {"mae": (0.0, math.inf), "rmse": (0.0, math.inf), "r2": (-math.inf, 1.0)}
_MOST_LISTED = 100  # targets with separate metrics in the result


class RegressionJudge:
    """Collects the errors of one or two models on the same samples."""

    def __init__(self, runners: Sequence[Runner], names: Sequence[str]) -> None:
        """Judge the outputs of ``runners``; ``names`` are names of the targets, or empty."""
        self._runners, self._names = runners, names
        self._sums: list[_Sums] = []
        self.count = 0

    def record(
        self, outputs: Sequence[Rows], batch: Batch, bad: Sequence[BadRows]
    ) -> dict[str, Any]:
        """Return targets and answers, a row per sample, without samples answered with NaN."""
        where = batch.sources[0] if batch.sources else ""
        labels = stack_labels(batch.labels, where)
        count = len(batch.sources)
        if labels is None:
            raise DataError(
                "a sample has no target",
                where=where,
                fix="save one target per sample as y, beside x in the .npz",
            )
        targets = as_targets(labels)
        answers = [_answers(runner, each) for runner, each in zip(self._runners, outputs)]
        for runner, values in zip(self._runners, answers):
            if values.shape != targets.shape:
                raise DataError(
                    f"{targets.shape[1]} targets per sample, the model returns "
                    f"{values.shape[1]} values",
                    where=where,
                    why=f"its outputs have the shapes {[info.shape for info in runner.outputs]}",
                    fix="give a target for each value of the outputs, in their order",
                )
        good = ~np.any(bad, axis=0)
        return {
            "count": count,
            "places": np.flatnonzero(good).tolist(),
            "targets": targets[good].tolist(),
            "answers": [values[good].tolist() for values in answers],
        }

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record to the sums."""
        groups = (self.count + np.asarray(record["places"], np.int64)) % NUM_GROUPS
        self.count += record["count"]
        if not len(groups):
            return
        targets = np.asarray(record["targets"], np.float64)
        self._sums = self._sums or [_Sums(targets[0]) for _ in record["answers"]]
        for sums, values in zip(self._sums, record["answers"]):
            sums.add(groups, targets, np.asarray(values, np.float64))

    def verdict(self) -> Verdict:
        """Return the errors of all samples, with intervals, and the paired difference."""
        scores = []
        for sums in self._sums:
            used = np.flatnonzero(sums.counts)
            metrics, each = sums.metrics()
            parts = [sums.metrics(without=int(group))[0] for group in used] if len(used) > 1 else []
            kept = [name for name in metrics if all(name in part for part in parts)]
            left_out = {name: [part[name] for part in parts] for name in kept}
            metrics = {name: metrics[name] for name in kept}
            scores.append(make_score(metrics, left_out, self._listed(each), BOUNDS))
        difference, difference_ci95 = paired_difference(scores[0], scores[-1], BOUNDS)
        return Verdict(tuple(scores), None, difference, difference_ci95, 0)

    def _listed(self, each: Sequence[Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
        """Return the metrics of each target by name; empty for one target, or for very many."""
        if not 1 < len(each) <= _MOST_LISTED:
            return {}
        names = self._names if len(self._names) == len(each) else [str(i) for i in range(len(each))]
        return dict(zip(names, each))


class _Sums:
    """Sums per group and target, from which every metric is computed."""

    def __init__(self, first: NDArray[np.float64]) -> None:
        self._shift = first  # close to the targets, so that their squares do not cancel
        shape = (NUM_GROUPS, len(first))
        self.counts = np.zeros(NUM_GROUPS, np.int64)
        self._absolute, self._squared = np.zeros(shape), np.zeros(shape)
        self._targets, self._targets_squared = np.zeros(shape), np.zeros(shape)

    def add(
        self, groups: NDArray[np.int64], targets: NDArray[np.float64], answers: NDArray[np.float64]
    ) -> None:
        errors, shifted = answers - targets, targets - self._shift
        self.counts += np.bincount(groups, minlength=NUM_GROUPS)
        np.add.at(self._absolute, groups, np.abs(errors))
        np.add.at(self._squared, groups, errors**2)
        np.add.at(self._targets, groups, shifted)
        np.add.at(self._targets_squared, groups, shifted**2)

    def metrics(
        self, without: int | None = None
    ) -> tuple[dict[str, float], list[dict[str, float]]]:
        """Return metrics of all targets (R2: the mean), and of each; ``without`` excludes a group.

        A target that never changes has no R2.
        """
        kept = np.arange(NUM_GROUPS) != (-1 if without is None else without)
        count = int(self.counts[kept].sum())
        absolute, squared = self._absolute[kept].sum(axis=0), self._squared[kept].sum(axis=0)
        targets = self._targets[kept].sum(axis=0)
        spread = self._targets_squared[kept].sum(axis=0) - targets**2 / count
        floor = 1e-12 * self._targets_squared[kept].sum(
            axis=0
        )  # below it, the difference is rounding
        varies = spread > floor
        r2 = 1 - squared[varies] / spread[varies]
        each = [
            {"mae": float(a / count), "rmse": math.sqrt(s / count)}
            for a, s in zip(absolute, squared)
        ]
        for place, value in zip(np.flatnonzero(varies), r2):
            each[place]["r2"] = float(value)
        whole = {
            "mae": float(absolute.mean() / count),
            "rmse": math.sqrt(float(squared.mean()) / count),
        }
        return ({**whole, "r2": float(r2.mean())} if len(r2) else whole), each


def _answers(runner: Runner, outputs: Rows) -> NDArray[np.float64]:
    """Return all output values of each sample as one row of real numbers."""
    real = [np.asarray(each, np.float64) for each in runner.to_real(*outputs)]
    return np.concatenate([each.reshape(len(each), -1) for each in real], axis=1)
