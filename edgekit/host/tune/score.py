# SPDX-License-Identifier: Apache-2.0
"""The score of an int8 model: a metric of labelled data, or agreement with the float model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekit.errors import UnsupportedModelError
from edgekit.evaluate import EvaluateResult
from edgekit.evaluate.metrics import ERRORS, drop_points, metric_text, share_ci95
from edgekit.evaluate.outputs import Agreement
from edgekit.result import Result
from edgekit.runtime.agreement import OutputRecord
from edgekit.runtime.channels import Hits
from edgekit.runtime.quality import GOOD, SNR_LIMITS_DB

AGREEMENT, SNR_DB = "agreement", "snr_db"
_HIGHEST_DB = 40.0  # above this an output is as good as float
# A difference of the metric by less than so many samples is chance.
_CHANCE = 1.5
_LEAST_GAIN_DB, _CLEARLY_DB = 0.2, 1.0
_NEARLY_EQUAL_DB = 25.0
_NORMAL_95 = 1.96  # standard errors from the middle to an end of a 95 % interval


@dataclass(frozen=True)
class Score(Result):
    """How good a model is on some samples, and how much worse than the float one."""

    # A metric of the labels (top1, map, miou, ...), else agreement (the share of the float model's
    # answers that the model gives too), else snr_db (of the worst output, about its mean)
    measure: str
    value: float
    reference: float | None  # the float model's metric; None without labels
    # In percentage points; of an error (mae, rmse) in percent of the float model's; of snr_db how
    # many dB are missing to the limit of a good output
    drop: float
    # Mean over the outputs, or the parts of one that joins different ranges, at most 40 dB each
    snr_db: float
    verdict: str  # on the outputs and answers: good | doubtful | bad | unknown
    num_samples: int
    error: float = 0.0  # standard error of ``drop``, in its unit; 0 if unknown

    def meets(self, max_drop: float) -> bool:
        """Whether the drop is within the budget; without labels also whether the verdict is good.

        Agreement counts answers only; the verdict is on all outputs. A ratio has no points.
        """
        is_within = self.measure == SNR_DB or self.drop <= max_drop + 1e-9
        return is_within and (self.reference is not None or self.verdict == GOOD)

    def surely_meets(self, max_drop: float) -> bool:
        """Whether the drop would probably be within the budget on other samples too.

        That is so if it is by more than its standard error, or if the outputs hardly differ. A
        model is better than the float one by chance only.
        """
        is_sure = max(0.0, self.drop) + self.error <= max_drop or self.snr_db >= _NEARLY_EQUAL_DB
        return self.meets(max_drop) and is_sure

    def is_better_than(self, other: Score) -> bool:
        """Whether the metric is clearly better; if it is nearly equal, whether the SNR is.

        One sample more or less is chance; then a clearly higher signal-to-noise ratio says more.
        """
        gain, ratio = other.drop - self.drop, self.snr_db - other.snr_db
        chance = _LEAST_GAIN_DB if self.measure == SNR_DB else _CHANCE * 100 / self.num_samples
        if abs(gain) > chance:
            return gain > 0
        if abs(ratio) > _CLEARLY_DB:
            return ratio > 0
        return gain > 0 or (gain == 0 and ratio > _LEAST_GAIN_DB)

    def __str__(self) -> str:
        """The value, and the drop, as text."""
        if self.measure == SNR_DB:
            return f"{self.value:.1f} dB, {self.verdict}"
        unit = "%" if self.measure in ERRORS else "points"
        change = f"{abs(self.drop):.2f} {unit} {'worse' if self.drop >= 0 else 'better'} than float"
        return f"{self.measure} {metric_text(self.measure, self.value)}, {change}"


def score_of(result: EvaluateResult, measure: str = "") -> Score:
    """Return the score in the result of an evaluation against the float model.

    Args:
        result: The evaluation.
        measure: What to measure without labels: ``agreement`` or ``snr_db``; empty chooses.

    Raises:
        UnsupportedModelError: Nothing could be measured.
    """
    other = result.against
    quality = None if other is None else other.quality
    if other is None or quality is None:
        raise UnsupportedModelError("the model could not be compared with the float one")
    found, value, reference = _measured(result.metrics, other.metrics, quality, measure)
    ratios = _ratios(quality)
    return Score(
        measure=found,
        value=value,
        reference=reference,
        drop=_drop(found, value, reference),
        snr_db=round(sum(ratios) / len(ratios), 2),
        verdict=quality.verdict,
        num_samples=result.num_samples,
        error=_error(found, value, reference, other.difference_ci95, result.num_samples),
    )


def common_measure(results: Sequence[EvaluateResult]) -> str:
    """Return what all of several models can be measured by without labels.

    That is ``agreement``, if answers or scores are found in the outputs of all.
    """
    qualities = [each.against.quality for each in results if each.against is not None]
    shares = [None if each is None else _share(each) for each in qualities]
    return AGREEMENT if shares and all(each is not None for each in shares) else SNR_DB


def _measured(
    metrics: Mapping[str, float], others: Mapping[str, float], quality: Agreement, measure: str
) -> tuple[str, float, float | None]:
    name = next(iter(metrics), None)  # each task's main metric is the first
    if name is not None and name in others:
        return name, metrics[name], others[name]
    share = None if measure == SNR_DB else _share(quality)
    if share is not None:
        return AGREEMENT, share, None
    return SNR_DB, min(_ratios(quality)), None


def _share(quality: Agreement) -> float | None:
    """Return the share of the float model's answers that stay: decoded ones, else scores found.

    Scores are counted over all outputs, so that it does not matter how these are divided.
    """
    if quality.decoded is not None:
        return quality.decoded.share
    hits = [each for output in quality.outputs for each in _hits(output.record)]
    total = sum(each.reference + each.found + each.false for each in hits)
    return 2 * sum(each.found for each in hits) / total if total else None


def _hits(record: OutputRecord) -> list[Hits]:
    """Return the scores found in an output: of its parts, else of all of it."""
    parts = [each.hits for each in record.parts if each.hits is not None]
    found = parts or ([] if record.hits is None else [record.hits])
    return [each for each in found if each.reference]


def _ratios(quality: Agreement) -> list[float]:
    """Return the ratio of each output about its mean, at most 40 dB.

    An output that joins different ranges counts as its parts, one of few numbers as their mean.
    """
    ratios: list[float] = []
    for output in quality.outputs:
        record = output.record
        found = [each.centred_snr_db for each in record.parts]
        if not found:
            elements = [each for each in record.elements_snr_db if each is not None]
            whole = None if record.centred_snr_db is None else record.centred_snr_db
            found = [sum(map(_limited, elements)) / len(elements)] if elements else [whole]
        ratios += [_HIGHEST_DB if record.identical else _limited(each) for each in found]
    return ratios


def _limited(ratio: float | None) -> float:
    return 0.0 if ratio is None else min(ratio, _HIGHEST_DB)


def _drop(measure: str, value: float, reference: float | None) -> float:
    if measure == SNR_DB:
        drop = max(0.0, SNR_LIMITS_DB[1] - value)
    elif reference is None:
        drop = 100 * (1 - value)
    else:
        drop = drop_points(measure, value - reference, reference)
    return round(drop, 6) if math.isfinite(drop) else 100.0


def _error(
    measure: str,
    value: float,
    reference: float | None,
    intervals: Mapping[str, tuple[float, float]],
    count: int,
) -> float:
    """Return the standard error of the drop in its unit; 0 if it is unknown."""
    if measure == AGREEMENT and 0 <= value <= 1:
        low, high = share_ci95(round(value * count), count)
    elif measure in intervals:
        low, high = intervals[measure]
    else:
        return 0.0
    unit = reference if measure in ERRORS and reference else 1.0
    return round(100 * (high - low) / 2 / _NORMAL_95 / unit, 3)
