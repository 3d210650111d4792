# SPDX-License-Identifier: Apache-2.0
"""Where an image lies in the network's input, and the way back to the image's pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Placement:
    """``input_px = image_px * scale + offset``, for x and for y."""

    image_width: int
    image_height: int
    input_width: int
    input_height: int
    inner_width: int  # of the image in input pixels; what is beyond the input is cut off
    inner_height: int
    scale_x: float
    scale_y: float
    offset_x: float = 0.0
    offset_y: float = 0.0

    def to_image(self, xy: NDArray[Any]) -> NDArray[np.float64]:
        """Points as shares of the input's width and height to pixels of the image.

        Args:
            xy: (..., 2) with x first, 0..1 where the point lies in the input.

        Returns:
            float64 in the same shape; points beside the image get coordinates outside of it.
        """
        # In this order of operations, float64 throughout: as in pycoral's BBox.scale.
        size = np.array([self.input_width / self.scale_x, self.input_height / self.scale_y])
        moved = np.array([self.offset_x / self.scale_x, self.offset_y / self.scale_y])
        points: NDArray[np.float64] = size * xy - moved
        return points


def place(size: tuple[int, int], into: tuple[int, int], mode: str) -> Placement:
    """Where an image of ``size`` comes to lie in an input of size ``into`` (width, height).

    ``pad`` rounds the scaled image's size down, as pycoral's ``set_resized_input``, which loses a
    row where the product in float64 is a hair below (929 * (128 / 929) becomes 127); ``letterbox``
    to the nearest, as Ultralytics. Both scale coordinates by the exact ratio all the same.

    Args:
        size: Width and height of the image.
        into: Width and height of the input.
        mode: One of `RESIZES`: see `Preprocess`.
    """
    if mode.startswith("keras"):
        return _windowed(size, into, keras_window(size, into, mode))
    scale_x, scale_y = into[0] / size[0], into[1] / size[1]
    if mode == "stretch":
        return Placement(*size, *into, *into, scale_x, scale_y)
    scale = max(scale_x, scale_y) if mode == "crop" else min(scale_x, scale_y)
    # round() is Python's: of 106.5 it makes 106, as in Ultralytics.
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
    """The part of an image, or the canvas around it, that Keras resizes: left, top, width, height.

    ``keras-crop`` is ``crop_to_aspect_ratio``, ``keras-pad`` is ``pad_to_aspect_ratio``, where left
    and top are negative. Both are whole pixels, and as many are padded on either side.

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


def _windowed(
    size: tuple[int, int], into: tuple[int, int], window: tuple[int, int, int, int]
) -> Placement:
    left, top, width, height = window
    scale_x, scale_y = into[0] / width, into[1] / height
    inner = round(size[0] * scale_x), round(size[1] * scale_y)
    return Placement(*size, *into, *inner, scale_x, scale_y, -left * scale_x, -top * scale_y)
