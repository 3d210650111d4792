# SPDX-License-Identifier: Apache-2.0
"""MoveNet: key points of one person or several, as the network returns them.

Single pose: (1, 1, 17, 3) with rows of (y, x, score). Multi pose: (1, people, 56), each with the
same 51 numbers, a box and a score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.tasks.pose import NUM_KEYPOINTS, Poses

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALUES = 3 * NUM_KEYPOINTS
MULTI_VALUES = _VALUES + 5  # a box (4) and its score
_MOST_PEOPLE = 20  # six in Google's
_LEAST_PERSON = 0.1  # rows of the multi pose network with a lower score are empty


def is_movenet(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether outputs of these shapes are MoveNet's."""
    if len(shapes) != 1:
        return False
    shape = tuple(shapes[0])
    is_multi = len(shape) == 3 and shape[2] == MULTI_VALUES and shape[1] <= _MOST_PEOPLE
    return is_multi or shape == (1, 1, NUM_KEYPOINTS, 3)


def decode_movenet(output: NDArray[Any], least_score: float = _LEAST_PERSON) -> Poses:
    """Return the people in MoveNet's output.

    Args:
        output: Real values, (1, 1, 17, 3) or (1, people, 56).
        least_score: People of the multi pose network below it are left out. The single pose network
            has no score for the person; the mean of the key points' scores is used.
    """
    rows = np.asarray(output, np.float32)[0]
    is_multi = rows.shape[-1] == MULTI_VALUES
    points = rows[:, :_VALUES].reshape(-1, NUM_KEYPOINTS, 3) if is_multi else rows
    scores = rows[:, -1] if is_multi else points[..., 2].mean(axis=1)
    order = np.argsort(-scores, kind="stable")
    if is_multi:
        order = order[scores[order] >= least_score]
    return Poses(points[order, :, :2], points[order, :, 2], scores[order])
