# SPDX-License-Identifier: Apache-2.0
"""Semantic segmentation: one class per pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Placement

# An output that is coarser than the input by more than this is a feature map, not a mask.
_COARSEST = 16
_BINARY_THRESHOLD = 0.5


def is_segmentation(shapes: Sequence[Sequence[int]], input_shape: Sequence[int]) -> bool:
    """Whether outputs are (1, h, w) or (1, h, w, classes), with the input's aspect ratio."""
    if len(shapes) != 1 or len(shapes[0]) not in (3, 4) or len(input_shape) != 2:
        return False
    height, width = shapes[0][1:3]
    if min(height, width) < 2 or height > 4 * input_shape[0]:
        return False
    same_form = abs(height * input_shape[1] - width * input_shape[0]) <= 2 * max(input_shape)
    return same_form and height * _COARSEST >= input_shape[0]


def decode_mask(output: NDArray[Any], *, is_integer: bool) -> NDArray[np.int64]:
    """Return the class of each pixel, (h, w), at the output's own resolution.

    Args:
        output: (1, h, w) or (1, h, w, 1) with classes, (1, h, w, 1) with one probability, or
            (1, h, w, classes) with scores, quantized or real (only their order matters).
        is_integer: Whether the numbers are classes, not scores.
    """
    plane = output[0]
    if plane.ndim == 3 and plane.shape[-1] > 1:
        best: NDArray[np.int64] = plane.argmax(axis=-1).astype(np.int64)
        return best
    flat = plane.reshape(plane.shape[:2])
    classes: NDArray[Any] = flat if is_integer else flat >= _BINARY_THRESHOLD
    return classes.astype(np.int64)


def num_mask_classes(shape: Sequence[int], *, is_integer: bool) -> int:
    """Return the number of classes of an output of ``shape``; 0 if the shape does not show it."""
    if len(shape) == 4 and shape[-1] > 1:
        return shape[-1]
    return 0 if is_integer else 2


def mask_to_image(mask: NDArray[Any], placement: Placement) -> NDArray[Any]:
    """Return ``mask`` at the image's resolution, by the nearest pixel, without padding.

    Args:
        mask: (h, w), over the whole input of the network.
        placement: Where the image is in that input. Pixels outside a crop get the class at its
            edge.
    """
    height, width = mask.shape
    y = (np.arange(placement.image_height) + 0.5) * placement.scale_y + placement.offset_y
    x = (np.arange(placement.image_width) + 0.5) * placement.scale_x + placement.offset_x
    rows = np.clip(y * (height / placement.input_height), 0, height - 1).astype(np.intp)
    columns = np.clip(x * (width / placement.input_width), 0, width - 1).astype(np.intp)
    scaled: NDArray[Any] = mask[rows[:, None], columns[None, :]]
    return scaled
