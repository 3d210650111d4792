# SPDX-License-Identifier: Apache-2.0
"""Masks of single objects, composed of prototypes as in YOLO's and YOLACT's segmentation heads.

Source:
    Bolya et al., "YOLACT: Real-time Instance Segmentation", arXiv:1904.02689, section 3.2: a mask
    is the sign of a weighted sum of prototypes, cropped to the object's box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Placement


@dataclass(frozen=True)
class InstanceMasks:
    """One mask per object, stored as weights and computed when needed."""

    prototypes: NDArray[np.float32]  # (n, h, w), over the whole input of the network
    weights: NDArray[np.float32]  # (objects, n)
    boxes_yxyx: NDArray[np.float64]  # (objects, 4), 0..1 of the network's input

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, indices: NDArray[np.integer]) -> InstanceMasks:
        """Return the masks at ``indices``, in that order."""
        return replace(self, weights=self.weights[indices], boxes_yxyx=self.boxes_yxyx[indices])

    def in_image(self, index: int, placement: Placement) -> NDArray[np.bool_]:
        """Return the pixels of object ``index`` in the image, (height, width).

        Weighted sums of prototypes are interpolated between the four nearest places; a pixel
        belongs to the object if the sum is positive and its upper left corner is in the box.
        """
        mask = np.zeros((placement.image_height, placement.image_width), np.bool_)
        corners = self.boxes_yxyx[index].reshape(2, 2)[:, ::-1]
        (left, top), (right, bottom) = placement.to_image(corners[None])[0]
        columns = np.arange(*_within(left, right, placement.image_width))
        rows = np.arange(*_within(top, bottom, placement.image_height))
        if not len(columns) or not len(rows):
            return mask
        total = np.tensordot(self.weights[index], self.prototypes, 1)
        y = ((rows + 0.5) * placement.scale_y + placement.offset_y) / placement.input_height
        x = ((columns + 0.5) * placement.scale_x + placement.offset_x) / placement.input_width
        sums = _interpolated(_interpolated(total, y).T, x).T
        mask[rows[:, None], columns[None, :]] = sums > 0
        return mask


def _within(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the range of whole numbers from ``low`` to below ``high``, within 0..size."""
    # Boxes are shares of the input: rounding moves a corner away from a pixel's edge.
    first, end = (int(np.ceil(round(float(each), 5))) for each in (low, high))
    return max(0, first), min(size, end)


def _interpolated(table: NDArray[Any], at: NDArray[Any]) -> NDArray[Any]:
    """Return rows of ``table`` at the shares ``at`` of its height, as in bilinear resizing."""
    place = np.clip(at * len(table) - 0.5, 0, len(table) - 1)
    low = np.minimum(place.astype(np.intp), max(0, len(table) - 2))
    part = (place - low)[:, None]
    result: NDArray[Any] = (
        table[low] * (1 - part) + table[np.minimum(low + 1, len(table) - 1)] * part
    )
    return result
