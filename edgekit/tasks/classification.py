# SPDX-License-Identifier: Apache-2.0
"""Classifiers: one output with one score a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_classifier(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether outputs of these shapes are (batch, classes), or (batch, 1, 1, classes)."""
    return (
        len(shapes) == 1
        and len(shapes[0]) > 1
        and shapes[0][-1] > 0
        and all(size == 1 for size in shapes[0][1:-1])
    )


def top_classes(scores: NDArray[Any], most: int, least_score: float = -np.inf) -> list[int]:
    """Indices of the best classes, best first; among equal scores the lower index comes first.

    Google's pycoral returns the same classes but leaves the order of equal scores, and which of
    them make it into the last places, to ``numpy.argpartition``.

    Args:
        scores: (classes,), quantized or real.
        most: How many at most.
        least_score: Classes below it are left out; in the units of ``scores``.
    """
    order = np.argsort(-scores.astype(np.float64), kind="stable")[:most]
    return [int(index) for index in order if scores[index] >= least_score]
