# SPDX-License-Identifier: Apache-2.0
"""The score of an int8 model: a metric of labelled data, or agreement with the float model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.errors import UnsupportedModelError
from edgekit.evaluate import EvaluateResult
from edgekit.evaluate.metrics import ERRORS, metric_text
from edgekit.evaluate.outputs import Agreement
from edgekit.result import Result
from edgekit.runtime.quality import GOOD, SNR_LIMITS_DB

AGREEMENT, SNR_DB = "agreement", "snr_db"
_HIGHEST_DB = 40.0  # above this an output is as good as float
# A difference of the metric by less than so many samples is chance.
_CHANCE = 1.5
_LEAST_GAIN_DB, _CLEARLY_DB = 0.2, 1.0


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
    snr_db: float  # mean over the outputs, about their means, at most 40 dB each
    verdict: str  # on the outputs and answers: good | doubtful | bad | unknown
    num_samples: int

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Score:
        """Return the score with these fields, as in a journal."""
        return cls(**values)

    def meets(self, max_drop: float) -> bool:
        """Whether the drop is within the budget; for ``snr_db`` whether the verdict is good."""
        if self.measure == SNR_DB:
            return self.verdict == GOOD
        return self.drop <= max_drop + 1e-9

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
        unit = "% more" if self.measure in ERRORS else "points"
        return (
            f"{self.measure} {metric_text(self.measure, self.value)}, drop {self.drop:.2f} {unit}"
        )


def score_of(result: EvaluateResult) -> Score:
    """Return the score in the result of an evaluation against the float model.

    Raises:
        UnsupportedModelError: Nothing could be measured.
    """
    other = result.against
    quality = None if other is None else other.quality
    if other is None or quality is None:
        raise UnsupportedModelError("the model could not be compared with the float one")
    measure, value, reference = _measured(result.metrics, other.metrics, quality)
    return Score(
        measure=measure,
        value=value,
        reference=reference,
        drop=_drop(measure, value, reference),
        snr_db=_mean_db(quality),
        verdict=quality.verdict,
        num_samples=result.num_samples,
    )


def _measured(
    metrics: Mapping[str, float], others: Mapping[str, float], quality: Agreement
) -> tuple[str, float, float | None]:
    name = next(iter(metrics), None)  # each task's main metric is the first
    if name is not None and name in others:
        return name, metrics[name], others[name]
    share = quality.share
    if share is not None:
        return AGREEMENT, share, None
    return SNR_DB, min(_db(each.record) for each in quality.outputs), None


def _drop(measure: str, value: float, reference: float | None) -> float:
    if measure == SNR_DB:
        drop = max(0.0, SNR_LIMITS_DB[1] - value)
    elif reference is None:
        drop = 100 * (1 - value)
    elif measure in ERRORS:
        drop = 100 * (value / reference - 1) if reference else 100.0 * (value > 0)
    else:
        drop = 100 * (reference - value)
    return round(drop, 6)


def _mean_db(quality: Agreement) -> float:
    ratios = [_db(each.record) for each in quality.outputs]
    return round(sum(ratios) / len(ratios), 2)


def _db(record: Any) -> float:  # noqa: ANN401 - an OutputRecord
    if record.identical:
        return _HIGHEST_DB
    ratio = record.centred_snr_db
    return 0.0 if ratio is None else min(float(ratio), _HIGHEST_DB)
