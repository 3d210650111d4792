# SPDX-License-Identifier: Apache-2.0
"""What every task's judge does: outputs to records, records to metrics.

Records are plain JSON values. What a run adds up is what it wrote to its journal, so a run that
goes on from a journal comes to the same result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Sequence, Tuple

from edgekit.evaluate.metrics import Interval, around, jackknife_half

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Protocol

    from edgekit.data import Batch
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.finite import BadRows
    from edgekit.tasks import Decoder, Meaning
else:
    Protocol = object  # typing has no Protocol on Python 3.7


Bounds = Mapping[str, Tuple[float, float]]  # metric -> its lowest and highest possible value


@dataclass(frozen=True)
class Score:
    """One model's metrics, and what they are without each group of samples in turn."""

    metrics: Mapping[str, float]
    metrics_ci95: Mapping[str, Interval]
    left_out: Mapping[str, tuple[float, ...]]
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What a judge comes to: a score a model, and how the first differs from the second."""

    scores: tuple[Score, ...]
    agreement: float | None  # None where the task has no such number
    difference: Mapping[str, float]
    difference_ci95: Mapping[str, Interval]
    num_classes: int
    confusion: tuple[tuple[int, int, int], ...] = ()


class Judge(Protocol):
    """Judges the answers of one or two models to the same samples."""

    count: int  # samples judged so far

    def record(self, outputs: Sequence[Rows], batch: Batch, bad: Sequence[BadRows]) -> Any:  # noqa: ANN401 - JSON values
        """The record of each model's outputs for a batch; safe to call from any thread.

        ``bad`` says of each model which samples it answers with NaN or infinity, see `bad_rows`.
        """

    def add(self, record: Any) -> None:  # noqa: ANN401 - JSON values
        """Add a record up; records come in the order of the samples."""

    def verdict(self) -> Verdict:
        """The metrics of all samples added."""


def decode_rows(decoder: Decoder, outputs: Rows, bad: BadRows) -> list[Meaning]:
    """What each sample's outputs mean; None where ``bad`` says that they hold NaN or infinity."""
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
    """A score whose intervals come from leaving groups out.

    Args:
        metrics: Of all samples.
        left_out: Of all but each group in turn.
        per_class: Metrics of each class or target.
        bounds: Of each metric; None where all are shares. Without bounds nothing can be said of one
            group alone: its interval is left out.
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
    """The first's metrics less the second's on the same samples, and 95 % intervals.

    ``bounds`` is None where all are shares; see `make_score`.
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
