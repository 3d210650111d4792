# SPDX-License-Identifier: Apache-2.0
"""Warnings about anything that makes a result unreliable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np

from edgekit.evaluate.class_names import are_numbers, folders_of, text_order_warnings
from edgekit.evaluate.metrics import ERRORS, difference_text, metric_text
from edgekit.evaluate.tally import Tally

if TYPE_CHECKING:
    from edgekit.data import Dataset
    from edgekit.evaluate.engine import Engine
    from edgekit.evaluate.judge import Judge, Verdict
    from edgekit.evaluate.work import Outcome
    from edgekit.runtime import Runner
    from edgekit.tasks import Decoder

# How much worse a metric must be, beyond chance: relative for an error, absolute for a share.
_LARGER_ERROR, _SMALLER_SHARE = 0.1, 0.01
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


def metric_warnings(verdict: Verdict, other: str) -> Iterator[str]:
    """Metrics that are worse than those of the other model by more than chance explains.

    Labels are stronger evidence than the agreement of outputs: small errors matter if float makes
    even smaller ones.
    """
    texts = []
    for name, difference in verdict.difference.items():
        low, high = verdict.difference_ci95.get(name, (-np.inf, np.inf))
        there = verdict.scores[1].metrics[name]
        if name in ERRORS:
            is_worse = low > 0 and difference > _LARGER_ERROR * abs(there)
        else:
            is_worse = high < 0 and difference < -_SMALLER_SHARE
        if is_worse:
            here = verdict.scores[0].metrics[name]
            texts.append(
                f"{name} is {metric_text(name, here)}, with {other or 'the other model'} it is "
                f"{metric_text(name, there)} (95 % interval of the difference "
                f"{difference_text(name, low)} to {difference_text(name, high)})"
            )
    if texts:
        yield (
            f"measured against the labels, the answers are worse: {'; '.join(texts)}; next: "
            "convert again with more samples like these (--num-samples 300)"
        )


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
