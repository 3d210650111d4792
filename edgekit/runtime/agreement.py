# SPDX-License-Identifier: Apache-2.0
"""How far a model's outputs are from those of a reference, usually its float original.

Everything is added up sample by sample: memory is three float64 values for each element of an
output, for any number of samples.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, List, Tuple

import numpy as np

from edgekit.result import Result
from edgekit.runtime.channels import (
    ChannelSums,
    Hits,
    PartRecord,
    channel_axes,
    decibels,
    find_parts,
    rounded,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.runtime.base import TensorInfo

    _Targets = List[Tuple[NDArray[Any], NDArray[Any]]]  # the reference's and the model's

_FEW_COLUMNS = 16
FEW_NUMBERS = 16  # in a row: each may be a target by itself, as in a regression
_MOST_KEPT = 1024  # keep the targets of so many samples, for their logarithms
_LONG_TAIL = 16.0  # times the median: positive targets that reach further are of several sizes
_FLOOR = 0.1  # of the median: added to each value before its logarithm
_SLACK = 0.02  # of an input's range: values outside it by less lose little
_SUM_SLACK = 1e-3  # of the sum of a float network's probabilities
_LEAST_SPREAD = 1e-4  # of the largest one; a value that varies less counts as constant


@dataclass(frozen=True)
class OutputDifference(Result):
    """One output of a model against the same output of the reference, in real values.

    ``snr_db`` is 10 log10 of the reference's power divided by the power of the difference; None if
    there is no difference or no signal.
    """

    name: str
    num_samples: int
    num_not_finite: int  # samples left out: one of the two models returned NaN or infinity
    identical: bool  # also in samples that were left out; false if all were
    snr_db: float | None
    argmax: float | None  # share of positions with the same largest value on the last axis
    step: float | None  # between neighbouring values of the model's output; None if it is float
    largest_difference: float  # of a value
    largest_step: float | None  # the same in steps


@dataclass(frozen=True)
class OutputRecord(OutputDifference):
    """The difference of an output, and what shows whether it matters.

    ``centred_snr_db`` uses the reference's power about each element's mean over the samples, so
    that a part that is the same for every input does not count; None if there is no difference or
    no signal. ``spread`` is the square root of that centred power per value.
    """

    shape: tuple[int, ...]
    centred_snr_db: float | None
    spread: float
    noise: float  # root mean square of the difference
    saturated: float  # share of values at an end of the model's range, the reference's beyond it
    reference_range: tuple[float, float]
    model_range: tuple[float, float]
    hits: Hits | None  # of outputs that contain scores, few of them above the decision
    parts: tuple[PartRecord, ...] = ()
    # For a row of few numbers: the centred ratio of each, in dB; None for one that does not vary.
    elements_snr_db: tuple[float | None, ...] = ()
    # For such a row: the share of the samples in which the same number is the largest.
    same_largest: float | None = None
    # For such a row: 20 log10 of the mean absolute variation about the mean, divided by the mean
    # absolute error. Few values with a large error count less than in ``centred_snr_db``.
    absolute_snr_db: float | None = None
    # Whether such a row is the reference's probabilities of classes, by softmax.
    adds_to_one: bool = False
    # For positive targets of very different sizes: the centred ratio of their logarithms, in dB.
    log_snr_db: float | None = None
    # For targets if it decides: the mean absolute part of the reference's answers that those to the
    # other samples do not predict, divided by the mean absolute error; of several, the lowest.
    irregularity: float | None = None

    @property
    def noise_steps(self) -> float | None:
        """The noise in steps; rounding alone causes 0.29 steps."""
        return self.noise / self.step if self.step else None


class DifferenceSums:
    """Running sums over the samples of how far an output is from the reference's."""

    def __init__(self, info: TensorInfo) -> None:
        """Compare outputs of the model whose output is ``info`` with the reference's."""
        self._info = info
        self._count = self._not_finite = self._same = self._positions = 0
        self._power = self._largest = 0.0
        self._equal = True
        self._noise: NDArray[np.float64] = np.zeros(())  # of each element

    def add(self, expected: NDArray[Any], actual: NDArray[Any]) -> None:
        """Add real values, the samples along the first dimension.

        Args:
            expected: (samples, ...) of the reference.
            actual: The same number of values of the model; reshaped if the shape differs.
        """
        reference = expected if expected.ndim > 1 else expected.reshape(expected.size, 1)
        model = actual.reshape(reference.shape)
        finite = _finite_rows(reference) & _finite_rows(model)
        if not finite.all():
            self._not_finite += int((~finite).sum())
            self._equal = self._equal and _same(reference[~finite], model[~finite])
            reference, model = reference[finite], model[finite]
        if reference.size:
            self._add(reference, model)

    def _add(self, reference: NDArray[Any], model: NDArray[Any]) -> None:
        """Add finite values of equal shape."""
        self._add_powers(reference.astype(np.float64), model.astype(np.float64))
        if reference.shape[-1] > 1:
            same = reference.argmax(-1) == model.argmax(-1)
            self._same += int(same.sum())
            self._positions += same.size

    def _add_powers(self, reference: NDArray[np.float64], model: NDArray[np.float64]) -> None:
        self._count += len(reference)
        self._power += float(np.vdot(reference, reference))
        difference = model - reference
        np.square(difference, out=difference)
        self._largest = max(self._largest, float(np.sqrt(difference.max())))
        self._equal = self._equal and not self._largest
        self._noise = self._noise + difference.sum(axis=0)

    def record(self) -> OutputDifference:
        """The record of all samples so far."""
        return OutputDifference(**self._record())

    def _record(self) -> dict[str, Any]:
        step = self._info.scale
        return {
            "name": self._info.name,
            "num_samples": self._count,
            "num_not_finite": self._not_finite,
            "identical": self._equal and (self._count > 0 or not self._not_finite),
            "snr_db": decibels(self._power, float(self._noise.sum())),
            "argmax": self._same / self._positions if self._positions else None,
            "step": step,
            "largest_difference": self._largest,
            "largest_step": round(self._largest / step, 3) if step else None,
        }


class OutputSums(DifferenceSums):
    """Running sums of one output over the samples, with its spread, ranges, channels and scores."""

    def __init__(self, info: TensorInfo) -> None:
        """Compare outputs of the model whose output is ``info`` with the reference's."""
        super().__init__(info)
        self._saturated = 0
        self._mean = self._spread = np.zeros(())
        self._low = self._model_low = np.inf
        self._high = self._model_high = -np.inf
        self._axes: tuple[ChannelSums, ...] = ()
        self._targets: _Targets = []
        self._largest_at: Counter[int] = Counter()  # places of the reference's largest number

    def _add(self, reference: NDArray[Any], model: NDArray[Any]) -> None:
        if not self._count:
            shape = reference.shape
            self._mean, self._spread, self._noise = (np.zeros(shape[1:]) for _ in range(3))
            self._axes = tuple(ChannelSums(axis, shape) for axis in channel_axes(shape))
        super()._add(reference, model)
        self._add_ranges(reference, model)
        if self._mean.size <= FEW_NUMBERS and self._count <= _MOST_KEPT:
            rows = reference.reshape(len(reference), -1)
            self._targets.append((rows, model.reshape(len(model), -1)))
            self._largest_at.update(rows.argmax(axis=1).tolist())
        for axis in self._axes:
            axis.add(reference, model)

    def _add_powers(self, reference: NDArray[np.float64], model: NDArray[np.float64]) -> None:
        # Chan, Golub, LeVeque (1979): means and squares of two groups, joined.
        number = len(reference)
        mean = reference.mean(axis=0)
        shift = mean - self._mean
        total = self._count + number
        if number > 1:
            self._spread += ((reference - mean) ** 2).sum(axis=0)
        self._spread += shift**2 * (self._count * number / total)
        self._mean = self._mean + shift * (number / total)
        super()._add_powers(reference, model)

    def _add_ranges(self, reference: NDArray[Any], model: NDArray[Any]) -> None:
        self._low = min(self._low, float(reference.min()))
        self._high = max(self._high, float(reference.max()))
        self._model_low = min(self._model_low, float(model.min()))
        self._model_high = max(self._model_high, float(model.max()))
        params = self._info.params
        if params is not None:
            half = params.scale / 2
            below = (model < params.real_min + half) & (reference < params.real_min - params.scale)
            above = (model > params.real_max - half) & (reference > params.real_max + params.scale)
            self._saturated += int(below.sum() + above.sum())

    def record(self) -> OutputRecord:
        """The record of all samples so far."""
        values = max(1, self._count * self._mean.size)
        noise = float(self._noise.sum())
        spread = self._spread_power()
        signal = float(spread.sum())
        return OutputRecord(
            **self._record(),
            shape=self._info.shape,
            centred_snr_db=decibels(signal, noise),
            spread=rounded(np.sqrt(signal / values)),
            noise=rounded(np.sqrt(noise / values)),
            saturated=self._saturated / values,
            reference_range=(self._low, self._high) if self._count else (0.0, 0.0),
            model_range=(self._model_low, self._model_high) if self._count else (0.0, 0.0),
            hits=self._axes[-1].hits() if self._axes else None,
            parts=find_parts(self._axes, spread, self._noise),
            elements_snr_db=_elements(spread.reshape(-1), self._noise.reshape(-1)),
            same_largest=self._same_largest(),
            absolute_snr_db=_absolute_ratio(self._targets) if self._targets else None,
            adds_to_one=bool(self._targets) and _adds_to_one(self._targets),
            log_snr_db=_log_ratio(self._targets) if self._targets else None,
        )

    def _same_largest(self) -> float | None:
        counts = self._largest_at.values()
        return max(counts) / sum(counts) if counts else None

    def _spread_power(self) -> NDArray[np.float64]:
        """The power about the mean, corrected for the number of samples."""
        correction = self._count / (self._count - 1) if self._count > 1 else 0.0
        power: NDArray[np.float64] = self._spread * correction
        return power


class InputRanges:
    """The range of each feature (the last axis) of an input, over the samples."""

    def __init__(self, info: TensorInfo) -> None:
        """Gather the ranges of the input ``info``."""
        self.info = info
        self._size, self._count, self._beyond = 0.0, 0, 0
        self._low: NDArray[np.float64] = np.full(1, np.inf)
        self._high: NDArray[np.float64] = np.full(1, -np.inf)

    def add(self, values: NDArray[Any]) -> None:
        """Add real values: (samples, ..., features)."""
        flat = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
        if flat.size:
            low, high = _column_ranges(flat)
            self._size += float(np.abs(flat).sum(dtype=np.float64))
            self._count += flat.size
            self._beyond += self._count_beyond(flat, float(low.min()), float(high.max()))
            self._low = np.minimum(self._low, low)
            self._high = np.maximum(self._high, high)

    @property
    def mean_size(self) -> float:
        """The mean of the absolute values; 0 before the first sample."""
        return rounded(self._size / self._count) if self._count else 0.0

    def _count_beyond(self, flat: NDArray[Any], low: float, high: float) -> int:
        """How many values a quantized input cuts off, by more than `_SLACK` of its range."""
        params = self.info.params
        if params is None:
            return 0
        slack = _SLACK * (params.real_max - params.real_min)
        first, last = params.real_min - slack, params.real_max + slack
        return int(((flat < first) | (flat > last)).sum()) if low < first or high > last else 0

    @property
    def cut_off(self) -> float:
        """The share of the values that are outside a quantized input's range."""
        return self._beyond / self._count if self._count else 0.0

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value of all features; zeros before the first sample."""
        low, high = float(self._low.min()), float(self._high.max())
        return (low, high) if low <= high else (0.0, 0.0)

    @property
    def widths(self) -> NDArray[np.float64]:
        """(features,) the highest minus the lowest value of each; zeros before the first sample."""
        width: NDArray[np.float64] = np.maximum(self._high - self._low, 0.0)
        return np.where(np.isfinite(width), width, 0.0)


def _joined(targets: _Targets) -> list[NDArray[np.float64]]:
    """Return the targets of the reference and those of the model: (samples, targets)."""
    return [np.concatenate(each).astype(np.float64) for each in zip(*targets)]


def _adds_to_one(targets: _Targets) -> bool:
    return all(
        row.shape[1] > 1 and row.min() >= 0 and np.abs(row.sum(axis=1) - 1).max() <= _SUM_SLACK
        for row, _ in targets
    )


def _absolute_ratio(targets: _Targets) -> float | None:
    reference, model = _joined(targets)
    signal = float(np.abs(reference - reference.mean(axis=0)).sum())
    return decibels(signal**2, float(np.abs(model - reference).sum()) ** 2)


def _log_ratio(targets: _Targets) -> float | None:
    """Return the lowest ratio of the targets' logarithms; None if no target has a long tail."""
    reference, model = _joined(targets)
    ratios = []
    for true, answer in zip(reference.T, model.T):
        middle = float(np.median(true))
        if true.min() < 0 or not middle or true.max() <= _LONG_TAIL * middle:
            continue
        logs, others = (np.log(np.maximum(each, 0) + _FLOOR * middle) for each in (true, answer))
        ratios.append(decibels(float(logs.var()), float(((others - logs) ** 2).mean())))
    return min((each for each in ratios if each is not None), default=None)


def _elements(spread: NDArray[np.float64], noise: NDArray[np.float64]) -> tuple[float | None, ...]:
    if not 1 < spread.size <= FEW_NUMBERS:
        return ()
    least = _LEAST_SPREAD**2 * spread.max()
    return tuple(
        decibels(float(signal), float(error)) if signal > least else None
        for signal, error in zip(spread, noise)
    )


def _same(reference: NDArray[Any], model: NDArray[Any]) -> bool:
    """Whether all values are equal, NaN also to NaN."""
    return bool(((reference == model) | (np.isnan(reference) & np.isnan(model))).all())


def _finite_rows(values: NDArray[Any]) -> NDArray[np.bool_]:
    """(samples,) whether all of a sample's values are finite."""
    finite: NDArray[np.bool_] = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return finite


def _column_ranges(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The lowest and highest value of each column."""
    if rows.shape[1] > _FEW_COLUMNS:
        return rows.min(axis=0), rows.max(axis=0)
    columns = [rows[:, index] for index in range(rows.shape[1])]  # 30 times faster for pixels
    return np.array([each.min() for each in columns]), np.array([each.max() for each in columns])
