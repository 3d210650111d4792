# SPDX-License-Identifier: Apache-2.0
"""Warnings about anything that makes a result unreliable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from edgekit.evaluate.class_names import are_numbers, folders_of, text_order_warnings
from edgekit.evaluate.metrics import ERRORS, difference_text, metric_text
from edgekit.evaluate.tally import Tally
from edgekit.runtime.quality import (
    BAD,
    BY_LABELS,
    DOUBTFUL,
    DROP_LIMITS,
    GROWTH_LIMITS,
    LEAST_GROWTH,
    Finding,
)

if TYPE_CHECKING:
    from edgekit.data import Dataset
    from edgekit.evaluate.engine import Engine
    from edgekit.evaluate.judge import Judge, Verdict
    from edgekit.evaluate.work import Outcome
    from edgekit.runtime import Runner
    from edgekit.tasks import Decoder

_LOOKED_AT = 32  # samples, from all over the data
_SLACK = 0.02  # of an input's range: values outside it by less lose little
_MOST_BEYOND, _LEAST_USED = 0.05, 0.02


def nan_warnings(engines: Sequence[Engine], outcome: Outcome, count: int) -> Iterator[str]:
    """Samples that a model answers with NaN or infinity."""
    for index, engine in enumerate(engines):
        number = outcome.num_nan(index)
        if number:
            first = ", ".join(outcome.nan_samples(index))
            yield (
                f"{engine.prepared.source or 'the model'} answers {number} of {count} samples with "
                f"NaN or infinity, which counts as wrong: {first}" + (" ..." if number > 5 else "")
            )


def metric_findings(verdict: Verdict, names: Sequence[str], judged: int = 0) -> tuple[Finding, ...]:
    """Return the metrics of one model that are worse than the other's by more than chance explains.

    Labels are stronger evidence than the agreement of outputs: small errors matter if float makes
    even smaller ones.

    Args:
        verdict: The metrics of two models, by the labels.
        names: The names of the two models.
        judged: The place of the model that is judged by the other one.
    """
    here, there = (verdict.scores[place].metrics for place in (judged, 1 - judged))
    other = names[1 - judged] or "the other model"
    sign = -1.0 if judged else 1.0  # differences are those of the first model
    found = []
    for name in verdict.difference:
        bounds = verdict.difference_ci95.get(name, (-np.inf, np.inf))
        low, high = sorted(sign * each for each in bounds)
        level = _level(name, here, there) if _is_worse(name, low, high) else ""
        if level:
            text = (
                f"{name} is {metric_text(name, here[name])}, with {other} it is "
                f"{metric_text(name, there[name])} (95 % interval of the difference "
                f"{difference_text(name, low)} to {difference_text(name, high)})"
            )
            found.append(Finding(BY_LABELS, level, "", text))
    return tuple(found)


def _is_worse(name: str, low: float, high: float) -> bool:
    """Whether all of the interval of a difference is worse."""
    return low > 0 if name in ERRORS else high < 0


def _level(name: str, here: Mapping[str, float], there: Mapping[str, float]) -> str:
    """Return how bad a worse metric is; empty if it does not matter."""
    change = here[name] - there[name]
    if name not in ERRORS:
        levels = zip(DROP_LIMITS[::-1], (BAD, DOUBTFUL))
        return next((level for limit, level in levels if -change > limit), "")
    r2, rmse = here.get("r2"), here.get("rmse")
    if r2 is not None and rmse is not None and r2 < 1:
        deviation = rmse / (1 - r2) ** 0.5  # of the targets
        if change <= LEAST_GROWTH * deviation:
            return ""
    ratio = here[name] / there[name] if there[name] else np.inf
    return BAD if ratio >= GROWTH_LIMITS[1] else DOUBTFUL if ratio > GROWTH_LIMITS[0] else ""


def folder_warnings(judge: Judge, dataset: Dataset) -> Iterator[str]:
    """Warn if the accuracy may be wrong: class folders are missing or in another order."""
    if not isinstance(judge, Tally):
        return
    folders = folders_of(dataset)
    yield from text_order_warnings(folders, judge.confusion, judge.class_of)
    given, known = len(folders), judge.num_classes
    if given not in (0, known) and not judge.maps_labels and not are_numbers(folders):
        yield (
            f"{given} sub-folders in the order of their names were used as the first of the "
            f"model's {known} classes; name them by class index, or by name and give --labels"
            + (", or give --label-offset 1 if class 0 is background" if known == given + 1 else "")
        )


def box_warnings(decoder: Decoder) -> Iterator[str]:
    """Warn of parts of the answers that the metrics leave out."""
    if decoder.unjudged:
        yield f"objects are judged by the boxes around them: {decoder.unjudged} are not compared"


def _real_warnings(runner: Runner, dataset: Any) -> Iterator[str]:  # noqa: ANN401 - an ArrayDataset
    """Warn of real numbers that use little of the range of a quantized input, or exceed it."""
    total = dataset.num_samples or 0
    some = sorted({int(each) for each in np.linspace(0, total - 1, _LOOKED_AT)}) if total else []
    rows = [dataset.chunk(index, index + 1).inputs for index in some]
    for index, (info, values) in enumerate(zip(runner.inputs, zip(*rows))):
        if info.params is None:
            continue
        low, high = info.params.real_min, info.params.real_max
        seen = np.asarray(runner.normalized(index, np.asarray(values)), np.float64)
        seen = seen[np.isfinite(seen)]
        if not seen.size:
            continue
        slack = _SLACK * (high - low)
        beyond = float(((seen < low - slack) | (seen > high + slack)).mean())
        if beyond > _MOST_BEYOND:
            problem = f"{beyond:.0%} of their values are outside it and saturate"
        elif float(np.ptp(seen)) < _LEAST_USED * (high - low):
            problem = "they use almost nothing of it"
        else:
            continue
        yield (
            f"the input {info.name} can store {low:.4g} to {high:.4g}, the samples are between "
            f"{seen.min():.4g} and {seen.max():.4g}: {problem}; scale them like the samples that "
            "calibrated the model"
        )


def range_warnings(runner: Runner, dataset: Dataset) -> Iterator[str]:
    """Warn of values that the model's inputs were not made for."""
    promised = dataset.promised_range
    if promised is None and dataset.describe()["kind"] == "array":
        yield from _real_warnings(runner, dataset)
    for info in runner.inputs:
        if promised is None or info.params is None:
            continue
        low, high = info.params.real_min, info.params.real_max
        width = high - low
        if promised[1] > high + 0.5 * width or promised[0] < low - 0.5 * width:
            problem = "most of it saturates"
        elif promised[1] - promised[0] < 0.6 * width:
            problem = "much of it is never used"
        else:
            continue
        yield (
            f"the input {info.name} can store {low:g} to {high:g}, the preprocessing returns "
            f"{promised[0]:g} to {promised[1]:g}: {problem}; check --preprocess"
        )
