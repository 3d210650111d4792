# SPDX-License-Identifier: Apache-2.0
"""Find samples whose values are far larger than those of all others: faults of a sensor.

One such sample sets the range of the quantized input. Compared with it, the error on all other
samples looks small, so it must not take part in a signal-to-noise ratio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAR = 8.0  # times the largest value of all other samples: it costs them 3 of 8 bits
_MOST_SHARE = 0.02  # of the samples; more are not an exception
_MOST_KEPT = 5
_LEAST_SAMPLES = 10


@dataclass(frozen=True)
class FarSamples:
    """How many samples reach far beyond the others, in one input."""

    count: int
    largest: float  # of their absolute values
    next_largest: float  # of all other samples

    def text(self, name: str, total: int) -> str:
        """Describe them in a sentence."""
        who = "1 sample has" if self.count == 1 else f"{self.count} samples have"
        return (
            f"of {total} samples, {who} values up to {self.largest:.4g} in the input {name}, and "
            f"all others up to {self.next_largest:.4g}"
        )


def find_far(sizes: Sequence[float], total: int) -> FarSamples | None:
    """Return how many of the samples are far larger than all others; None without such.

    Args:
        sizes: The largest absolute value of each sample, or those of `largest_sizes`.
        total: The number of samples.
    """
    ordered = sorted(sizes, reverse=True)
    if total < _LEAST_SAMPLES:
        return None
    most = min(_MOST_KEPT, max(1, int(_MOST_SHARE * total)))
    for count in range(1, most + 1):
        if 0 < FAR * ordered[count] <= ordered[count - 1]:
            return FarSamples(count, ordered[0], ordered[count])
    return None


def largest_sizes(sizes: Sequence[float], size: float) -> list[float]:
    """Return the sizes that `find_far` needs, after another sample."""
    return sorted((*sizes, size), reverse=True)[: _MOST_KEPT + 1]


@dataclass(frozen=True)
class _Held:
    sizes: NDArray[np.float64]  # of each input
    rows: Any


class LargestSamples:
    """Holds back the largest samples until it is known whether they are far from all others."""

    def __init__(self, names: Sequence[str]) -> None:
        """Watch the inputs ``names``."""
        self._names = tuple(names)
        self._sizes: list[list[float]] = [[] for _ in names]
        self._count = 0
        self._held: list[_Held] = []

    def are_held(self, inputs: Sequence[NDArray[Any]]) -> list[int]:
        """Return which of these samples belong to the largest so far; call `hold` for each.

        Args:
            inputs: The values for each input, the samples along the first dimension.
        """
        sizes = np.stack([_sizes(each) for each in inputs], axis=1)
        self._count += len(sizes)
        for place, column in enumerate(sizes.T):
            for size in column:
                self._sizes[place] = largest_sizes(self._sizes[place], float(size))
        smallest = [self._smallest(place) for place in range(len(self._names))]
        return [int(row) for row in np.flatnonzero((sizes > smallest).any(axis=1))]

    def hold(self, inputs: Sequence[NDArray[Any]], rows: Any) -> list[Any]:  # noqa: ANN401
        """Hold back one sample; return those that are no longer among the largest.

        Args:
            inputs: Its values for each input.
            rows: Whatever belongs to it.
        """
        self._held.append(_Held(np.concatenate([_sizes(each) for each in inputs]), rows))
        smallest = [self._smallest(place) for place in range(len(self._names))]
        is_needed = [bool((each.sizes >= smallest).any()) for each in self._held]
        free = [each.rows for each, needed in zip(self._held, is_needed) if not needed]
        self._held = [each for each, needed in zip(self._held, is_needed) if needed]
        return free

    def found(self) -> dict[str, FarSamples]:
        """Return what is far, by the name of the input."""
        found = {n: find_far(each, self._count) for n, each in zip(self._names, self._sizes)}
        return {name: far for name, far in found.items() if far is not None}

    def take_near(self) -> list[Any]:
        """Return the samples that were held back and are not far from the others; once."""
        found = self.found()
        limits = [found[name].next_largest if name in found else np.inf for name in self._names]
        is_far = [bool((each.sizes > limits).any()) for each in self._held]
        near = [each.rows for each, far in zip(self._held, is_far) if not far]
        self._held = [each for each, far in zip(self._held, is_far) if far]
        return near

    @property
    def num_held(self) -> int:
        """The number of samples that are held back; after `take_near` all of them are far."""
        return len(self._held)

    def _smallest(self, place: int) -> float:
        """The smallest size that is among the largest in input ``place``."""
        sizes = sorted((float(each.sizes[place]) for each in self._held), reverse=True)
        return sizes[_MOST_KEPT - 1] if len(sizes) >= _MOST_KEPT else -1.0


def _sizes(values: NDArray[Any]) -> NDArray[np.float64]:
    """(samples,) the largest absolute value of each; 0 for NaN."""
    rows = np.asarray(values).reshape(len(values), -1)
    if not rows.shape[1]:
        return np.zeros(len(rows))
    high, low = (each.astype(np.float64) for each in (rows.max(axis=1), rows.min(axis=1)))
    sizes: NDArray[np.float64] = np.nan_to_num(np.maximum(high, -low))
    return sizes
