# SPDX-License-Identifier: Apache-2.0
"""Shares of right answers, their confidence intervals, and the paired difference of two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Interval = Tuple[float, float]
_Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def ranks(scores: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes each sample's true class stands behind; 0 is a right answer.

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
        only_first: Samples that only the first model answers rightly.
        only_second: Samples that only the second one does.
        count: All samples.

    Source:
        A. Agresti, Y. Min, Simple improved confidence intervals for comparing matched proportions
        (2005): Wald's interval with one half added to each of the four cells. Without that, two
        models that never differ would get an interval of no width.
    """
    first, second, total = only_first + 0.5, only_second + 0.5, count + 2.0
    difference = (first - second) / total
    half = _Z95 * math.sqrt(first + second - (first - second) ** 2 / total) / total
    return max(-1.0, difference - half), min(1.0, difference + half)
