# SPDX-License-Identifier: Apache-2.0
"""The channels of an output: which are scores, and which outputs contain boxes and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.result import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Where a score output decides: a logit at 0, a probability at 0.5.
LOGIT_DECISION, PROBABILITY_DECISION = 0.0, 0.5
_DECISIONS = (LOGIT_DECISION, PROBABILITY_DECISION)
LEAST_HITS = 10  # above the decision; fewer do not count
_FEW_NUMBERS = 16  # in a row that may contain a box and scores, or targets of several kinds
_MOST_CHANNELS = 1024  # along an axis that may contain boxes and scores
_FAR_APART = 8.0  # if ranges differ by this factor, a shared scale costs the narrow one 3 of 8 bits
_SLACK = 1e-3  # rounding may move a softmax's values out of 0..1
_UNDECIDED = (0.1, 0.9)  # a probability between them is not a clear decision
_MOST_UNDECIDED = 0.3  # of the values, where numbers from 0 to 1 are probabilities
_MOST_OF = 0.5  # of a channel's values above the decision: with more it is a background class
_FEW = 0.05  # of a detector's logits above the decision
_MANY = 500  # logits: with fewer of them, "few above zero" does not show that they are scores
_LEAST_LOGIT = -1.0
_LONG_ROW = 64  # for longer rows, counting row by row is faster


@dataclass(frozen=True)
class Hits(Result):
    """How many values are above the decision, over all samples."""

    decision: float
    reference: int  # of the reference
    found: int  # of those, how many are above it in the model too
    false: int  # above it in the model only
    is_sparse: bool  # whether few values are above it: objects, not a mask or a class
    # Of the channels where the reference has LEAST_HITS or more: the one with the lowest F1.
    worst_channel: int | None = None
    worst_f1: float | None = None

    @property
    def f1(self) -> float:
        """Agreement of the two sets: 1 for equal ones, 0 for disjoint ones."""
        return _f1(self.reference, self.found, self.false)


def _f1(reference: int, found: int, false: int) -> float:
    total = reference + found + false
    return 2 * found / total if total else 1.0


@dataclass(frozen=True)
class PartRecord(Result):
    """Some channels of an output: boxes or scores where both are in one tensor."""

    axis: int  # of the output; its first dimension is 0
    channels: tuple[int, ...]
    reference_range: tuple[float, float]
    centred_snr_db: float | None
    hits: Hits | None


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise), to two digits; None if either is 0 or not finite."""
    if not noise or not signal or not np.isfinite(signal + noise):
        return None
    return round(float(10 * np.log10(signal / noise)), 2)


def rounded(value: float) -> float:
    """Round to six digits: with several threads, sums differ in the last digits."""
    return float(f"{value:.6g}")


class ChannelSums:
    """Ranges and hits of the channels along one axis."""

    def __init__(self, axis: int, shape: Sequence[int]) -> None:
        self.axis, self.num = axis, shape[axis]
        self.low, self.high = np.full(self.num, np.inf), np.full(self.num, -np.inf)
        self._counts = np.zeros((len(_DECISIONS), 3, self.num), np.int64)
        self._undecided = np.zeros(self.num, np.int64)
        self._values = 0  # per channel

    def add(self, reference: NDArray[Any], model: NDArray[Any]) -> None:
        """Add finite real values of both models, of the same shape."""
        rows, others = self._rows(reference), self._rows(model)
        self.low = np.minimum(self.low, rows.min(axis=1))
        self.high = np.maximum(self.high, rows.max(axis=1))
        self._values += rows.shape[1]
        self._undecided += _count((rows > _UNDECIDED[0]) & (rows < _UNDECIDED[1]))
        for counts, decision in zip(self._counts, _DECISIONS):
            true, answer = rows > decision, others > decision
            for row, which in enumerate((true, true & answer, answer & ~true)):
                counts[row] += _count(which)

    def _rows(self, values: NDArray[Any]) -> NDArray[Any]:
        """(channels, values per channel), contiguous."""
        moved: NDArray[Any] = np.ascontiguousarray(np.moveaxis(values, self.axis, 0))
        return moved.reshape(self.num, -1)

    def hits(self, channels: NDArray[np.intp] | None = None) -> Hits | None:
        """Return the hits of all or some channels if they are scores; None if that is not clear.

        Scores are probabilities (0 to 1, nearly all of them close to 0 or 1), or logits of which
        few are positive, as from a detector's heads.
        """
        chosen = np.arange(self.num) if channels is None else np.asarray(channels)
        total = self._values * len(chosen)
        undecided = int(self._undecided[chosen].sum())
        low, high = float(self.low[chosen].min()), float(self.high[chosen].max())
        is_share = low >= -_SLACK and high <= 1 + _SLACK
        counts = self._counts[int(is_share)][:, chosen]
        if len(chosen) > 1:
            is_kept = self._is_no_background(counts[0])
            counts, chosen = counts[:, is_kept], chosen[is_kept]
        reference, found, false = (int(each) for each in counts.sum(axis=1))
        if is_share:
            is_score = undecided <= _MOST_UNDECIDED * total and high > low
        else:
            is_score = reference <= _FEW * total and total >= _MANY and low <= _LEAST_LOGIT
        if not is_score or not counts.size:
            return None
        is_sparse = reference <= _FEW * total
        fares = [
            (_f1(*(int(count) for count in each)), int(channel))
            for channel, each in zip(chosen, counts.T)
            if each[0] >= LEAST_HITS
        ]
        f1, worst = min(fares, default=(None, None))
        return Hits(_DECISIONS[int(is_share)], reference, found, false, is_sparse, worst, f1)

    def _is_no_background(self, hits: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which are not a background class: one is first or last, mostly above the decision."""
        kept: NDArray[np.bool_] = np.ones(len(hits), np.bool_)
        for end in (0, -1):
            kept[end] = hits[end] <= _MOST_OF * self._values
        return kept


def _count(which: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the true values in each row."""
    if which.shape[1] < _LONG_ROW:
        counts: NDArray[np.int64] = which.sum(axis=1)
        return counts
    return np.array([np.count_nonzero(row) for row in which], np.int64)  # 10 times faster


def channel_axes(shape: Sequence[int]) -> list[int]:
    """The axes that may hold channels: the last, and the second where that is the shorter one."""
    last = len(shape) - 1
    candidates = [1, last] if last > 1 and shape[1] < shape[last] else [last]
    fitting = [axis for axis in candidates if shape[axis] <= _MOST_CHANNELS]
    return fitting or candidates[-1:]


def find_parts(
    axes: Sequence[ChannelSums], spread: NDArray[np.float64], noise: NDArray[np.float64]
) -> tuple[PartRecord, ...]:
    """Split the channels of an output into wide and narrow ranges; empty if all are similar."""
    best: tuple[float, ChannelSums, NDArray[np.bool_]] | None = None
    for axis in axes:
        if axis.num < 2 or axis.num == noise.size > _FEW_NUMBERS:
            continue
        gap, is_wide = _gap(np.maximum(np.abs(axis.low), np.abs(axis.high)))
        if gap >= _FAR_APART and (best is None or gap > best[0]):
            best = gap, axis, is_wide
    if best is None:
        return ()
    _, axis, is_wide = best
    parts = []
    for channels in (np.flatnonzero(is_wide), np.flatnonzero(~is_wide)):
        signal, error = (
            float(np.take(each, channels, axis=axis.axis - 1).sum()) for each in (spread, noise)
        )
        parts.append(
            PartRecord(
                axis.axis,
                tuple(int(each) for each in channels),
                (float(axis.low[channels].min()), float(axis.high[channels].max())),
                decibels(signal, error),
                axis.hits(channels),
            )
        )
    return tuple(parts)


def _gap(reach: NDArray[np.float64]) -> tuple[float, NDArray[np.bool_]]:
    """The widest gap between sorted reaches, as a ratio, and which channels lie above it."""
    order = np.sort(np.maximum(reach, 1e-9))
    ratios = order[1:] / order[:-1]
    place = int(ratios.argmax())
    return float(ratios[place]), reach >= order[place + 1]
