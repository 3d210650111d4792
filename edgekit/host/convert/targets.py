# SPDX-License-Identifier: Apache-2.0
"""Compare the errors of the float and the new model by the real targets of labelled samples.

A float model may be so exact that an int8 model close to it has a multiple of its error. Only the
true values show that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data.label_kinds import TARGETS, kind_of
from edgekit.result import Result
from edgekit.runtime.quality import BAD, DOUBTFUL, GROWTH_LIMITS, LEAST_GROWTH, Finding

_LEAST_SAMPLES = 16
_MOST_TARGETS = 256  # per sample
TARGET_ERROR = "quality.target_error"
_SIGMAS = 3.0  # there may be many targets


@dataclass(frozen=True)
class TargetCheck(Result):
    """The mean absolute errors by the labels, for each target."""

    num_samples: int
    float_mae: tuple[float, ...]
    mae: tuple[float, ...]  # of the new model
    findings: tuple[Finding, ...]


class TargetErrors:
    """Gathers the answers of both models to samples with real targets."""

    def __init__(self, labels: Sequence[Any]) -> None:
        """Prepare to gather; ``labels`` may grow until the samples' answers are added."""
        self._labels, self._position = labels, 0
        self._rows: list[tuple[NDArray[Any], ...]] = []  # target, float answer, new answer

    def add(self, before: Sequence[NDArray[Any]], after: Sequence[NDArray[Any]]) -> None:
        """Add the real outputs of both models for a batch; the last one may be filled up."""
        count = len(before[0])
        labels = self._labels[self._position : self._position + count]
        self._position += len(labels)
        if any(len(each) != count for each in (*before, *after)):
            return  # the first dimension is not that of samples
        for place, label in enumerate(labels):
            row, other = (
                np.concatenate([np.ravel(each[place]) for each in outputs])
                for outputs in (before, after)
            )
            target = np.ravel(np.asarray(label)) if label is not None else row[:0]
            if target.dtype.kind in "iuf" and target.size == row.size == other.size:
                self._rows.append((target, row, other))

    def check(self) -> TargetCheck | None:
        """Return the errors; None if too few samples have real targets."""
        sizes = {target.size for target, *_ in self._rows}
        if len(self._rows) < _LEAST_SAMPLES or len(sizes) != 1 or max(sizes) > _MOST_TARGETS:
            return None
        targets, before, after = (np.stack(each) for each in zip(*self._rows, strict=True))
        if kind_of(targets) != TARGETS:
            return None
        errors, others = (np.abs(each.astype(np.float64) - targets) for each in (before, after))
        mae, other = errors.mean(axis=0), others.mean(axis=0)
        grown = others - errors
        least = np.maximum(
            LEAST_GROWTH * targets.std(axis=0), _SIGMAS * grown.std(axis=0) / len(grown) ** 0.5
        )
        growth = np.where(other - mae > least, other / np.maximum(mae, 1e-30), 1.0)
        worst = int(np.argmax(growth))
        findings = []
        if growth[worst] > GROWTH_LIMITS[0]:
            which = f" of target {worst}" if len(mae) > 1 else ""
            text = (
                f"by the labels the mean absolute error{which} is {mae[worst]:.4g} in float and "
                f"{other[worst]:.4g} in this model, {growth[worst]:.1f} times as large, on "
                f"{len(errors)} samples"
            )
            level = BAD if growth[worst] >= GROWTH_LIMITS[1] else DOUBTFUL
            findings.append(Finding(TARGET_ERROR, level, "", text))
        return TargetCheck(len(errors), tuple(mae.tolist()), tuple(other.tolist()), tuple(findings))
