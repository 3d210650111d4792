# SPDX-License-Identifier: Apache-2.0
"""What an Ultralytics head computes before it decodes, and the decoding itself.

A box is a distance from the centre of its cell to each side, in cells. The network gives each
distance as scores of ``bins`` whole numbers, whose mean is the distance (the distribution of
"Generalized Focal Loss", arXiv:2006.04388), or with one bin as the distance itself. The rows are
those of `grid_centres`: the finest grid first, row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.tasks.yolo_columns import BOX

if TYPE_CHECKING:
    from numpy.typing import NDArray

RAW_KEY = "raw_head"  # in the metadata of a .tflite
KEYPOINTS_FROM_CORNER, KEYPOINTS_FROM_CENTRE = "corner", "centre"
# Doubled offsets from the corner of the cell (v8, 11), or offsets from its centre (26).
KEYPOINT_FORMS = (KEYPOINTS_FROM_CORNER, KEYPOINTS_FROM_CENTRE)
_MOST_BINS = 64


@dataclass(frozen=True)
class RawHead:
    """How to decode a head that ends before its decoding."""

    bins: int  # for each side of a box; 1 if it is a distance
    keypoints: str = ""  # one of KEYPOINT_FORMS; empty if they are decoded, or if there are none
    keypoint_values: int = 0  # 3 with a certainty (before its sigmoid), else 2

    @property
    def num_values(self) -> int:
        """The number of values of a box in the network's output."""
        return BOX * self.bins

    def to_metadata(self) -> dict[str, Any]:
        """Return plain values, for `read_raw_head`."""
        return {
            "bins": self.bins,
            "keypoints": self.keypoints,
            "keypoint_values": self.keypoint_values,
        }


def read_raw_head(metadata: Mapping[str, Any]) -> RawHead | None:
    """Return what the metadata of a .tflite state about a head that is not decoded; else None."""
    values = metadata.get(RAW_KEY)
    if not isinstance(values, dict):
        return None
    bins, form, each = (values.get(key) for key in ("bins", "keypoints", "keypoint_values"))
    if type(bins) is not int or not 1 <= bins <= _MOST_BINS:
        return None
    if form in KEYPOINT_FORMS and each in (2, 3):
        return RawHead(bins, form, each)
    return RawHead(bins)


def decode_boxes(
    raw: NDArray[Any], cells: NDArray[Any], strides: NDArray[Any]
) -> NDArray[np.float32]:
    """Return (places, 4) centre and size of boxes in pixels of the input.

    Args:
        raw: (places, 4 * bins) real values: left, top, right, bottom, ``bins`` scores each.
        cells: (places, 2) column and row of each place in its grid.
        strides: (places, 1) pixels per cell.
    """
    scores = raw.reshape(len(raw), BOX, -1).astype(np.float32)
    distances = scores[..., 0]
    if scores.shape[-1] > 1:
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        distances = weights @ np.arange(scores.shape[-1], dtype=np.float32)
    centres = cells + 0.5
    low, high = centres - distances[:, :2], centres + distances[:, 2:]
    boxes: NDArray[np.float32] = np.concatenate([(low + high) / 2, high - low], axis=1) * strides
    return boxes


def decode_keypoints(
    raw: NDArray[Any],
    form: str,
    values_each: int,
    cells: NDArray[Any],
    strides: NDArray[Any],
) -> NDArray[np.float32]:
    """Return (places, count * values_each) key points: x and y in pixels, then the certainty.

    Args:
        raw: (places, count * values_each) real values.
        form: One of `KEYPOINT_FORMS`.
        values_each: 3 with a certainty, before its sigmoid; else 2.
        cells: (places, 2) column and row of each place in its grid.
        strides: (places, 1) pixels per cell.
    """
    points = raw.reshape(len(raw), -1, values_each).astype(np.float32)
    places, steps = cells[:, None, :], strides[:, None, :]
    offsets = points[..., :2]
    found = offsets * 2 + places if form == KEYPOINTS_FROM_CORNER else offsets + places + 0.5
    with np.errstate(over="ignore"):
        certain = 1 / (1 + np.exp(-points[..., 2:]))
    decoded: NDArray[np.float32] = np.concatenate([found * steps, certain], axis=2)
    return decoded.reshape(len(raw), -1)


def decode_parts(
    head: RawHead,
    parts: Sequence[NDArray[Any]],
    cells: NDArray[Any],
    strides: NDArray[Any],
) -> list[NDArray[Any]]:
    """Return the parts of a head, (places, values) each, with decoded boxes and key points.

    Boxes are the first part; key points that are not decoded are the last one.
    """
    decoded = [decode_boxes(parts[0], cells, strides), *parts[1:]]
    if head.keypoints:
        decoded[-1] = decode_keypoints(
            parts[-1], head.keypoints, head.keypoint_values, cells, strides
        )
    return decoded
