# SPDX-License-Identifier: Apache-2.0
"""Rotated boxes: corners, overlap, and non-maximum suppression.

Source:
    Llerena et al., "Gaussian Bounding Boxes and Probabilistic Intersection-over-Union for Object
    Detection", arXiv:2106.06072: a box is a normal distribution, the overlap of two is 1
    minus their Hellinger distance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_COMPARED = 4096
_BLOCK = 256  # this many boxes at a time are compared with all before them
_TINY = 1e-7


def rotated_corners(xywhr: NDArray[Any]) -> NDArray[Any]:
    """(n, 4, 2) corners as (x, y) of (n, 5) boxes: centre, size, angle in radians."""
    along = 0.5 * xywhr[:, 2, None] * _direction(xywhr[:, 4])
    across = 0.5 * xywhr[:, 3, None] * _direction(xywhr[:, 4] + np.pi / 2)
    centre = xywhr[:, :2]
    corners: NDArray[Any] = np.stack(
        [
            centre + along + across,
            centre + along - across,
            centre - along - across,
            centre - along + across,
        ],
        axis=1,
    )
    return corners


def probabilistic_iou(boxes: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """(n, m) overlaps of (n, 5) with (m, 5) boxes, 0..1."""
    a, b, c = (each[:, None] for each in _covariance(boxes))
    a2, b2, c2 = _covariance(others)
    x = boxes[:, None, 0] - others[None, :, 0]
    y = boxes[:, None, 1] - others[None, :, 1]
    both_a, both_b, both_c = a + a2, b + b2, c + c2
    joint = both_a * both_b - both_c**2
    apart = (both_a * y**2 + both_b * x**2 - 2 * both_c * x * y) / (joint + _TINY) / 4
    alone = np.maximum(a * b - c**2, 0) * np.maximum(a2 * b2 - c2**2, 0)
    shape = 0.5 * np.log(joint / (4 * np.sqrt(alone) + _TINY) + _TINY)
    distance = np.clip(apart + shape, _TINY, 100.0)  # Bhattacharyya's
    overlap: NDArray[Any] = 1 - np.sqrt(1 - np.exp(-distance) + _TINY)
    return overlap


def suppress_rotated(
    xywhr: NDArray[Any],
    classes: NDArray[Any],
    scores: NDArray[Any],
    iou_threshold: float,
    most: int,
) -> NDArray[np.int64]:
    """Return up to ``most`` indices of boxes, best first, that no better one of a class overlaps.

    A removed box still removes others (YOLACT's fast suppression), as in Ultralytics.
    """
    order = np.argsort(-scores, kind="stable")[:_MOST_COMPARED]
    boxes, labels = xywhr[order].astype(np.float64), classes[order]
    kept = np.ones(len(order), np.bool_)
    for start in range(0, len(order), _BLOCK):
        end = min(start + _BLOCK, len(order))
        overlap = probabilistic_iou(boxes[:end], boxes[start:end]) > iou_threshold
        overlap &= labels[:end, None] == labels[None, start:end]
        overlap &= np.arange(end)[:, None] < np.arange(start, end)[None]
        kept[start:end] = ~overlap.any(axis=0)
    return order[kept][:most].astype(np.int64)


def _direction(angle: NDArray[Any]) -> NDArray[Any]:
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _covariance(boxes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Variance along x and y, and covariance, of boxes as uniform areas."""
    along, across = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    return (
        along * cos**2 + across * sin**2,
        along * sin**2 + across * cos**2,
        (along - across) * cos * sin,
    )
