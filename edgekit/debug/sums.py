# SPDX-License-Identifier: Apache-2.0
"""Running sums over the samples of one tensor: its range, and the errors of the integer model.

Real values everywhere. ``reference`` are the float network's values, in the order of the integer
model; memory is one float64 for each element, for any number of samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.quant import QuantParams

    Values = NDArray[np.float32]

_KEPT = 2048  # values of each sample, for quantiles
_SEED = 20210721
_KINDS = ("accumulated", "own", "rounding", "weights", "expected")


@dataclass(frozen=True)
class Errors:
    """What one sample shows of one tensor, each in the shape of the tensor.

    ``accumulated``: of the whole integer model. ``rounding``: of the operator alone on the codes of
    the reference, against the float twin on the same codes. ``weights``: of the float twin against
    the reference, on the reference's values. ``expected``: of the float twin with weights that are
    moved at random by half a step at most, against the twin itself: what ``weights`` should be.
    """

    accumulated: Values
    rounding: Values
    weights: Values
    expected: Values

    @property
    def own(self) -> Values:
        """The error that this operator adds."""
        return self.rounding + self.weights


class TensorSums:
    """The sums of one tensor."""

    def __init__(self, shape: tuple[int, ...], params: QuantParams | None) -> None:
        """Count values of this shape; ``params`` are the integer model's."""
        self.params = params
        size = int(np.prod(shape, dtype=np.int64))
        self._channels = shape[-1] if len(shape) > 1 else 1
        count = min(size, _KEPT)
        generator = np.random.default_rng(_SEED)
        self._positions = np.sort(generator.choice(size, count, replace=False))
        self._sum: NDArray[np.float64] = np.zeros(size)
        self._power = self._model_power = self._product = 0.0
        self._noise = dict.fromkeys((*_KINDS, "clipped"), 0.0)
        self._largest = 0.0
        self._outside = 0
        self.count = 0
        self.size = size
        self.ends: list[tuple[float, float]] = []  # the lowest and highest value of each sample
        self._kept: list[Values] = []
        self._lows = np.full(self._channels, np.inf)
        self._highs = np.full(self._channels, -np.inf)

    def add(self, reference: Values, errors: Errors) -> None:
        """Add one sample."""
        flat = reference.reshape(-1)
        self.count += 1
        self._sum += flat
        self._power += _power(flat)
        model = flat + errors.accumulated.reshape(-1)
        self._model_power += _power(model)
        self._product += float((flat * model).sum(dtype=np.float64))
        for name in _KINDS:
            self._noise[name] += _power(getattr(errors, name))
        self._largest = max(self._largest, float(np.abs(errors.accumulated).max(initial=0.0)))
        self.ends.append((float(flat.min()), float(flat.max())))
        self._kept.append(flat[self._positions])
        by_channel = flat.reshape(-1, self._channels)
        self._lows = np.minimum(self._lows, by_channel.min(0))
        self._highs = np.maximum(self._highs, by_channel.max(0))
        if self.params is not None:
            half = self.params.scale / 2
            outside = (flat < self.params.real_min - half) | (flat > self.params.real_max + half)
            self._outside += int(outside.sum())
            beyond = flat - np.clip(flat, self.params.real_min, self.params.real_max)
            self._noise["clipped"] += _power(beyond)

    @property
    def variance(self) -> float:
        """The power of the reference about each element's mean, for one sample."""
        if self.count < 2:
            mean = self._sum.mean()
            return max(self._power - self.size * self.count * float(mean * mean), 0.0)
        centred = self._power - float(np.square(self._sum).sum()) / self.count
        return max(centred, 0.0) / self.count

    @property
    def power(self) -> float:
        """The power of the reference, for one sample."""
        return self._power / max(self.count, 1)

    def noise(self, kind: str) -> float:
        """The power of an error, for one sample: a field of `Errors`, ``own`` or ``clipped``."""
        return self._noise[kind] / max(self.count, 1)

    def rms(self, kind: str) -> float:
        """The root of the mean square of an error, for one value."""
        return math.sqrt(self.noise(kind) / self.size)

    @property
    def cosine(self) -> float | None:
        """The cosine of the angle between the model's values and the reference's."""
        both = math.sqrt(self._power * self._model_power)
        return self._product / both if both else None

    @property
    def largest_error(self) -> float:
        """The largest accumulated error of a value."""
        return self._largest

    @property
    def saturated(self) -> float:
        """The share of the reference's values that the integer model cuts off."""
        return self._outside / max(self.count * self.size, 1)

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value of the reference."""
        return min(low for low, _ in self.ends), max(high for _, high in self.ends)

    @property
    def channel_ranges(self) -> NDArray[np.float64]:
        """The largest magnitude of each channel (of the last axis)."""
        reach: NDArray[np.float64] = np.maximum(np.abs(self._lows), np.abs(self._highs))
        return reach

    @property
    def dead_channels(self) -> float:
        """The share of channels that are the same in all places and samples."""
        width = self._highs - self._lows
        low, high = self.range
        return float((width <= 1e-6 * max(high - low, 1e-30)).mean())

    def quantile(self, share: float) -> float:
        """The magnitude below which this share of the reference's values is, about."""
        return float(np.quantile(np.abs(np.concatenate(self._kept)), share))


def _power(values: NDArray[Any]) -> float:
    return float(np.square(values).sum(dtype=np.float64))


def decibels(signal: float, noise: float) -> float | None:
    """10 log10 of a ratio of powers; None without a signal or without noise."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None
