# SPDX-License-Identifier: Apache-2.0
"""Shares of right answers, their confidence intervals, and the paired difference of two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Sequence, Tuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Interval = Tuple[float, float]
ERRORS = frozenset(("mae", "rmse"))  # lower is better; in the unit of the targets
NO_SHARES = ERRORS | {"r2"}  # without a fixed range: not written in percent
_Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution
_ROUNDING_POINTS = 1e-10  # a larger difference of two drops is not a rounding error


def metric_text(name: str, value: float) -> str:
    """Return a metric as text: shares in percent."""
    return f"{value:.4g}" if name in NO_SHARES else f"{value:.2%}"


def difference_text(name: str, value: float) -> str:
    """Return a signed difference of two metrics as text: of shares in percentage points."""
    return f"{value:+.4g}" if name in NO_SHARES else f"{value * 100:+.2f}"


def drop_points(name: str, difference: float, reference: float) -> float:
    """Return how much worse a metric is than the reference, in percentage points.

    Of an error (mae, rmse), which has no fixed range, in percent of the reference.

    Args:
        name: The metric.
        difference: The metric minus the reference.
        reference: The other model's metric.
    """
    if name not in ERRORS:
        return 0.0 - 100 * difference  # not -0.0
    if reference:
        return 100 * difference / reference
    return math.copysign(math.inf, difference) if difference else 0.0


def is_above(drop: float, most: float) -> bool:
    """Whether a drop from `drop_points` is above the limit, and not by a rounding error."""
    return drop > most + _ROUNDING_POINTS


def drop_text(name: str, drop: float) -> str:
    """Return how much worse or better a metric is as text, from `drop_points`."""
    if name in ERRORS:
        return f"{'rose' if drop > 0 else 'fell'} by {abs(drop):.2f} %"
    return f"{'dropped' if drop > 0 else 'rose'} by {abs(drop):.2f} points"


def ranks(scores: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes rank above each sample's true class; 0 is a correct answer.

    Among equal scores the lower class index comes first, as in ``argmax``.

    Args:
        scores: (samples, classes), quantized or real; only their order matters.
        labels: (samples,) class indices.
    """
    rows = np.arange(len(labels))
    own = scores[rows, labels][:, None]
    before = np.arange(scores.shape[1])[None, :] < labels[:, None]
    ahead = (scores > own) | ((scores == own) & before)
    count: NDArray[np.int64] = ahead.sum(axis=1)
    return count


def share_ci95(hits: int, count: int) -> Interval:
    """The 95 % confidence interval of the share ``hits / count``.

    Source:
        E. B. Wilson, Probable inference, the law of succession, and statistical inference (1927):
        the score interval, which holds its level near 0 and 1, where accuracies lie.
    """
    share, z2 = hits / count, _Z95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def difference_ci95(only_first: int, only_second: int, count: int) -> Interval:
    """The 95 % confidence interval of the difference of two shares on the same samples.

    Args:
        only_first: The number of samples that only the first model answers correctly.
        only_second: The number of samples that only the second model answers correctly.
        count: The number of all samples.

    Source:
        A. Agresti, Y. Min, Simple improved confidence intervals for comparing matched proportions
        (2005): Wald's interval with one half added to each of the four cells. Without that, two
        models that never differ would get an interval of zero width.
    """
    first, second, total = only_first + 0.5, only_second + 0.5, count + 2.0
    difference = (first - second) / total
    half = _Z95 * math.sqrt(first + second - (first - second) ** 2 / total) / total
    return max(-1.0, difference - half), min(1.0, difference + half)


# Samples are divided into this many groups; leaving out one group at a time shows how much a metric
# depends on the samples, for metrics that are not shares.
NUM_GROUPS = 20
# The 97.5 % quantile of Student's t with 1 to NUM_GROUPS - 1 degrees of freedom.
_T95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)


def jackknife_half(left_out: Sequence[float]) -> float:
    """Return half the 95 % confidence interval of a metric, from its values without each group.

    For the differences of two models' values this is a paired interval.

    Source:
        J. Shao, D. Tu, The Jackknife and Bootstrap (1995), section 2.3: the delete-a-group
        jackknife.
    """
    groups = len(left_out)
    if groups < 2:
        return math.inf
    values = np.asarray(left_out, np.float64)
    variance = (groups - 1) / groups * float(((values - values.mean()) ** 2).sum())
    return _T95[min(groups - 1, len(_T95)) - 1] * math.sqrt(variance)


def around(value: float, half: float, low: float = 0.0, high: float = 1.0) -> Interval:
    """Return the interval ``value`` plus and minus ``half``, within ``low`` to ``high``."""
    return max(low, value - half), min(high, value + half)
