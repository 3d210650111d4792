# SPDX-License-Identifier: Apache-2.0
"""Classifiers: one output with one score a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.quant import QuantParams

_LARGEST_LOGIT = 50.0
_FAR = 1.0  # standard deviations of the numbers that their mean is away from 0


def is_classifier(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether outputs of these shapes are (batch, classes), or (batch, 1, 1, classes)."""
    return (
        len(shapes) == 1
        and len(shapes[0]) > 1
        and shapes[0][-1] > 0
        and all(size == 1 for size in shapes[0][1:-1])
    )


def may_be_far(params: QuantParams) -> bool:
    """Whether a quantized output can hold numbers further from 0 than logits are."""
    return max(-params.real_min, params.real_max) > _LARGEST_LOGIT


def are_scores(values: NDArray[Any]) -> bool:
    """Whether real outputs may be probabilities or logits, rather than numbers of a regression.

    Training by softmax leaves the mean of the logits where the first weights put it, near 0: its
    gradients add up to 0 over the classes. Coordinates in pixels lie far to one side.
    """
    if np.abs(values).max(initial=0) <= _LARGEST_LOGIT:
        return True
    return bool(abs(values.mean()) <= _FAR * values.std())


def class_scores(output: NDArray[Any], params: QuantParams | None) -> NDArray[Any]:
    """The score of each class, flat: in float64 where ``output`` is quantized, else as it is.

    One product, exact for quantized outputs of 8 and 16 bits; the same numbers bit for bit as
    pycoral's ``classify.get_scores``.
    """
    flat = output.reshape(-1)
    if params is None:
        return flat
    real: NDArray[Any] = params.scale * (flat.astype(np.int64) - params.zero_point)
    return real


def top_classes(scores: NDArray[Any], most: int, least_score: float = -np.inf) -> list[int]:
    """Indices of the best classes, best first.

    Which of equal scores come first, and make it into the last places, is what
    ``numpy.argpartition`` says: the answer is then that of pycoral's ``classify.get_classes`` for
    the same scores, class by class.

    Args:
        scores: (classes,), quantized or real.
        most: How many at most; above zero.
        least_score: Classes below it are left out; in the units of ``scores``.
    """
    most = min(most, len(scores))
    best = [int(i) for i in np.argpartition(scores, -most)[-most:] if scores[i] >= least_score]
    return sorted(best, key=lambda index: float(scores[index]), reverse=True)
