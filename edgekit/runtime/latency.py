# SPDX-License-Identifier: Apache-2.0
"""Statistics of measured times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def percentiles(values: Sequence[float], percents: Sequence[float]) -> NDArray[np.float64]:
    """Return percentiles of ``values``, interpolated linearly between the two nearest.

    As np.percentile, which imports numpy.ma: that takes longer than to evaluate a small model.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    places = np.asarray(percents, np.float64) / 100 * (len(ordered) - 1)
    return np.asarray(np.interp(places, np.arange(len(ordered)), ordered))


def median(values: Sequence[float]) -> float:
    """Return the median of ``values``."""
    return float(percentiles(values, (50,))[0])


def latency_stats(times_s: Sequence[float]) -> dict[str, float]:
    """Min, mean, p50, p90, p95, p99 and standard deviation, in milliseconds.

    Percentiles are interpolated linearly between the two nearest measurements.
    """
    times_ms = np.asarray(times_s, np.float64) * 1e3
    p50, p90, p95, p99 = percentiles(times_s, (50, 90, 95, 99)) * 1e3
    return {
        "min": float(times_ms.min()),
        "mean": float(times_ms.mean()),
        "p50": float(p50),
        "p90": float(p90),
        "p95": float(p95),
        "p99": float(p99),
        "std": float(times_ms.std()),
    }
