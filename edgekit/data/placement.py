# SPDX-License-Identifier: Apache-2.0
"""The place of an image in the network's input, and the conversion back to the image's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError

_MOST_PIXELS = 128 << 20
_CROP_SHARE = 0.875  # as ImageNet's networks are evaluated: 224 of 256


@dataclass(frozen=True)
class Placement:
    """``input_px = image_px * scale + offset``, for x and for y."""

    image_width: int
    image_height: int
    input_width: int
    input_height: int
    inner_width: int  # of the image in input pixels; parts outside the input are cut off
    inner_height: int
    scale_x: float
    scale_y: float
    offset_x: float = 0.0
    offset_y: float = 0.0

    def to_image(self, xy: NDArray[Any]) -> NDArray[np.float64]:
        """Convert points from shares of the input's width and height to pixels of the image.

        Args:
            xy: (..., 2) with x first, 0..1 for points inside the input.

        Returns:
            float64 in the same shape; points outside the image get coordinates outside of it.
        """
        # In this order of operations, float64 throughout: as in pycoral's BBox.scale.
        size = np.array([self.input_width / self.scale_x, self.input_height / self.scale_y])
        moved = np.array([self.offset_x / self.scale_x, self.offset_y / self.scale_y])
        points: NDArray[np.float64] = size * xy - moved
        return points


def place(
    size: tuple[int, int], into: tuple[int, int], mode: str, shorter: int | None = None
) -> Placement:
    """Return the place of an image of ``size`` in an input of size ``into`` (width, height).

    ``pad`` rounds the scaled image's size down, as pycoral's ``set_resized_input``, which loses a
    row if the product in float64 is slightly too small (929 * (128 / 929) becomes 127);
    ``letterbox`` rounds to the nearest, as Ultralytics. Both scale coordinates by the exact ratio.

    Args:
        size: Width and height of the image.
        into: Width and height of the input.
        mode: One of `RESIZES`: see `Preprocess`.
        shorter: The shorter side after the resize of ``torch-crop``, before its crop; by default
            8/7 of the input's shorter side: 256 for 224.

    Raises:
        DataError: ``torch-crop`` would resize a narrow image to more than 134 million pixels.
    """
    if mode == "torch-crop":
        return _torch_cropped(size, into, shorter or int(min(into) / _CROP_SHARE))
    if mode.startswith("keras"):
        return _windowed(size, into, keras_window(size, into, mode))
    if mode == "tf-pad":
        return _tf_padded(size, into)
    scale_x, scale_y = into[0] / size[0], into[1] / size[1]
    if mode == "stretch":
        return Placement(*size, *into, *into, scale_x, scale_y)
    scale = max(scale_x, scale_y) if mode == "crop" else min(scale_x, scale_y)
    # Python's round() returns 106 for 106.5, as in Ultralytics.
    to_int = int if mode == "pad" else round
    inner = max(1, to_int(size[0] * scale)), max(1, to_int(size[1] * scale))
    left, top = 0.0, 0.0
    if mode == "crop":
        left, top = (into[0] - size[0] * scale) / 2, (into[1] - size[1] * scale) / 2
    elif mode == "letterbox":
        left, top = float((into[0] - inner[0]) // 2), float((into[1] - inner[1]) // 2)
    return Placement(*size, *into, *inner, scale, scale, left, top)


def keras_window(
    size: tuple[int, int], into: tuple[int, int], mode: str
) -> tuple[int, int, int, int]:
    """Return the part of an image, or canvas around it, for Keras: left, top, width, height.

    ``keras-crop`` is ``crop_to_aspect_ratio``, ``keras-pad`` is ``pad_to_aspect_ratio``, where left
    and top are negative. Both are whole pixels, with the same padding on both sides.

    Source:
        keras/src/backend/tensorflow/image.py, resize; float32 as there.
    """
    wide = int(np.float32(size[1] * into[0]) / np.float32(into[1]))
    high = int(np.float32(size[0] * into[1]) / np.float32(into[0]))
    if mode == "keras-crop":
        width, height = max(1, min(size[0], wide)), max(1, min(size[1], high))
        return (size[0] - width) // 2, (size[1] - height) // 2, width, height
    left, top = (max(size[0], wide) - size[0]) // 2, (max(size[1], high) - size[1]) // 2
    return -left, -top, size[0] + 2 * left, size[1] + 2 * top


def _tf_padded(size: tuple[int, int], into: tuple[int, int]) -> Placement:
    """``tf.image.resize_with_pad``, which rounds the image's sides and the bars down.

    In float32 as there: 341 / (341 / 224) is below 224, and becomes 223.

    Source:
        tensorflow/python/ops/image_ops_impl.py, _resize_image_with_pad_common.
    """
    ratio = max(
        np.float32(size[0]) / np.float32(into[0]), np.float32(size[1]) / np.float32(into[1])
    )
    sides = np.float32(size[0]) / ratio, np.float32(size[1]) / ratio
    inner = max(1, int(sides[0])), max(1, int(sides[1]))
    left, top = (
        float(max(0, int((np.float32(outer) - side) / 2))) for side, outer in zip(sides, into)
    )
    return Placement(*size, *into, *inner, inner[0] / size[0], inner[1] / size[1], left, top)


def _torch_cropped(size: tuple[int, int], into: tuple[int, int], shorter: int) -> Placement:
    """``Resize(shorter)`` and ``CenterCrop``; an image that is smaller than the input gets bars.

    Source:
        torchvision/transforms/functional.py, _compute_resized_output_size and center_crop.
    """
    longer = int(shorter * max(size) / min(size))
    inner = (shorter, longer) if size[0] <= size[1] else (longer, shorter)
    if inner[0] * inner[1] > _MOST_PIXELS:
        raise DataError(
            f"an image of {size[0]} x {size[1]} pixels is too narrow for resize=torch-crop",
            why=f"with a shorter side of {shorter} it has {inner[0]} x {inner[1]}",
            fix="remove it from the data, or use resize=crop, which resizes only the middle",
        )
    left, top = (
        float((outer - each) // 2) if each < outer else -float(round((each - outer) / 2))
        for each, outer in zip(inner, into)
    )
    return Placement(*size, *into, *inner, inner[0] / size[0], inner[1] / size[1], left, top)


def _windowed(
    size: tuple[int, int], into: tuple[int, int], window: tuple[int, int, int, int]
) -> Placement:
    left, top, width, height = window
    scale_x, scale_y = into[0] / width, into[1] / height
    inner = round(size[0] * scale_x), round(size[1] * scale_y)
    return Placement(*size, *into, *inner, scale_x, scale_y, -left * scale_x, -top * scale_y)
