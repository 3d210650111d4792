# SPDX-License-Identifier: Apache-2.0
"""The protocol of a task's judge: outputs become records, records become metrics.

Records are plain JSON values. A run adds up what it wrote to its journal, so a run that continues
from a journal has the same result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Sequence, Tuple

from edgekit.evaluate.metrics import Interval, around, jackknife_half
from edgekit.protocol import Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Batch
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.finite import BadRows
    from edgekit.tasks import Decoder, Meaning


Bounds = Mapping[str, Tuple[float, float]]  # metric -> its lowest and highest possible value


@dataclass(frozen=True)
class Score:
    """One model's metrics, for all samples and without each group of samples in turn."""

    metrics: Mapping[str, float]
    metrics_ci95: Mapping[str, Interval]
    left_out: Mapping[str, tuple[float, ...]]
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The result of a judge: a score per model, and how the first differs from the second."""

    scores: tuple[Score, ...]
    agreement: float | None  # None if the task has no such number
    difference: Mapping[str, float]
    difference_ci95: Mapping[str, Interval]
    num_classes: int
    confusion: tuple[tuple[int, int, int], ...] = ()


class Judge(Protocol):
    """Judges the answers of one or two models to the same samples."""

    count: int  # samples judged so far

    def record(self, outputs: Sequence[Rows], batch: Batch, bad: Sequence[BadRows]) -> Any:  # noqa: ANN401 - JSON values
        """Return the record of each model's outputs for a batch; can be called from any thread.

        ``bad`` marks for each model the samples that it answers with NaN or infinity, see
        `bad_rows`.
        """

    def add(self, record: Any) -> None:  # noqa: ANN401 - JSON values
        """Add a record to the sums; records come in the order of the samples."""

    def verdict(self) -> Verdict:
        """The metrics of all samples added."""


def decode_rows(decoder: Decoder, outputs: Rows, bad: BadRows) -> list[Meaning]:
    """Decode each sample's outputs; None for samples that ``bad`` marks."""
    return [
        None if bad[i] else decoder.decode([_row(each, i) for each in outputs])
        for i in range(len(bad))
    ]


def make_score(
    metrics: Mapping[str, float],
    left_out: Mapping[str, Sequence[float]],
    per_class: Mapping[str, Mapping[str, float]] | None = None,
    bounds: Bounds | None = None,
) -> Score:
    """Return a score with intervals from leaving groups out.

    Args:
        metrics: The metrics of all samples.
        left_out: The metrics of all samples but one group, for each group.
        per_class: Metrics of each class or target.
        bounds: The bounds of each metric; None if all are shares. If bounds are given, a metric
            with one group only has no interval.
    """
    halves = {name: jackknife_half(left_out[name]) for name in metrics}
    limits = bounds or {}
    return Score(
        metrics,
        {
            name: around(value, halves[name], *limits.get(name, (0.0, 1.0)))
            for name, value in metrics.items()
            if bounds is None or math.isfinite(halves[name])
        },
        {name: tuple(values) for name, values in left_out.items()},
        per_class or {},
    )


def paired_difference(
    first: Score, second: Score, bounds: Bounds | None = None
) -> tuple[dict[str, float], dict[str, Interval]]:
    """Return the first's metrics minus the second's on the same samples, and 95 % intervals.

    ``bounds`` is None if all are shares; see `make_score`.
    """
    low, high = (-1.0, 1.0) if bounds is None else (-math.inf, math.inf)
    names = [name for name in first.metrics if name in second.metrics]
    difference = {name: first.metrics[name] - second.metrics[name] for name in names}
    halves = {
        name: jackknife_half([a - b for a, b in zip(first.left_out[name], second.left_out[name])])
        for name in names
    }
    return difference, {
        name: around(value, halves[name], low, high)
        for name, value in difference.items()
        if bounds is None or math.isfinite(halves[name])
    }


def _row(array: NDArray[Any], index: int) -> NDArray[Any]:
    return array[index : index + 1]
