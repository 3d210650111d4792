# SPDX-License-Identifier: Apache-2.0
"""Fit an image of any size to the width and height of a network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.data.placement import keras_window, place
from edgekit.data.resample import RESAMPLERS, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from edgekit.data.resample import Box

# Pillow's filters by the numbers that all its versions share.
PILLOW_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
# torchvision uses Pillow for PIL images.
_TORCH = {"torch-bilinear": 2, "torch-bicubic": 3}
PILLOW_FILTERS.update(_TORCH)
FILTERS = (*PILLOW_FILTERS, *RESAMPLERS)
RESIZES = ("stretch", "crop", "pad", "letterbox", "keras-crop", "keras-pad", "tf-pad", "torch-crop")
_LETTERBOX_GREY = 114  # used by Ultralytics to train YOLO


def fit_image(
    image: Image.Image,
    size: tuple[int, int],
    mode: str,
    name: str,
    fill: int | None,
    shorter: int | None = None,
) -> NDArray[np.uint8]:
    """Return ``image`` (L or RGB) as pixels of ``size`` (width, height): (height, width, channels).

    Args:
        image: An upright image, in the mode of the network.
        size: Width and height of the input.
        mode: One of `RESIZES`.
        name: One of `FILTERS`.
        fill: The value of pixels outside the image; None is the default of ``mode``.
        shorter: The shorter side after the resize of ``torch-crop``, see `place`.
    """
    same_form = image.size[0] * size[1] == image.size[1] * size[0]
    if mode == "stretch" or (same_form and mode not in ("pad", "tf-pad", "torch-crop")):
        return _scaled(image, size, name)
    if mode == "crop":
        return _scaled(image, size, name, _middle(image.size, size))
    grey = (_LETTERBOX_GREY if mode == "letterbox" else 0) if fill is None else fill
    if mode.startswith("keras"):
        left, top, width, height = keras_window(image.size, size, mode)
        if mode == "keras-crop":
            part = image.crop((left, top, left + width, top + height))
        else:
            part = _canvas(image, (width, height), grey)
            part.paste(image, (-left, -top))
        return _scaled(part, size, name)
    placement = place(image.size, size, mode, shorter)
    inner = _scaled(image, (placement.inner_width, placement.inner_height), name)
    left, top = int(placement.offset_x), int(placement.offset_y)
    inner = inner[max(0, -top) :, max(0, -left) :][: size[1], : size[0]]
    left, top = max(0, left), max(0, top)
    pixels = np.full((size[1], size[0], inner.shape[2]), grey, np.uint8)
    pixels[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return pixels


def _scaled(
    image: Image.Image, size: tuple[int, int], name: str, box: Box | None = None
) -> NDArray[np.uint8]:
    if name in RESAMPLERS and image.mode == "RGB":
        return resample(_pixels_of_four(image), size, name, box, 3)
    if name in RESAMPLERS:
        return resample(_pixels(image), size, name, box)
    if image.size == size and box is None:
        return _pixels(image)
    left, top, width, height = box or (0.0, 0.0, float(image.width), float(image.height))
    corners = left, top, left + width, top + height
    if name not in _TORCH:
        return _pixels(image.resize(size, PILLOW_FILTERS[name], box=corners))
    return _pixels(_in_two_passes(image, size, PILLOW_FILTERS[name], corners))


def _in_two_passes(
    image: Image.Image, size: tuple[int, int], number: int, corners: Box
) -> Image.Image:
    """Do ``image.resize(size, number, box=corners)`` as in Pillow 13, in every version of Pillow.

    Versions before 13 resize the rows first. 13 resizes the columns first if that is less work,
    by the rule below (270,000 random sizes and boxes are equal); each pass rounds and clips.
    """
    left, top, right, bottom = corners
    if size[1] < image.height and 2 * (image.width - size[0]) < image.height - size[1]:
        part = image.resize((image.width, size[1]), number, box=(0, top, image.width, bottom))
        return part.resize(size, number, box=(left, 0, right, size[1]))
    part = image.resize((size[0], image.height), number, box=(left, 0, right, image.height))
    return part.resize(size, number, box=(0, top, size[0], bottom))


def _middle(size: tuple[int, int], into: tuple[int, int]) -> Box:
    """Return the largest central part with the aspect ratio of ``into``, as `PIL.ImageOps.fit`."""
    ratio = into[0] / into[1]
    if size[0] / size[1] >= ratio:
        width, height = ratio * size[1], float(size[1])
    else:
        width, height = float(size[0]), size[0] / ratio
    return (size[0] - width) * 0.5, (size[1] - height) * 0.5, width, height


def _canvas(image: Image.Image, size: tuple[int, int], grey: int) -> Image.Image:
    from PIL import Image  # noqa: PLC0415 - only images need Pillow

    return Image.new(image.mode, size, (grey,) * len(image.getbands()))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.asarray(image, np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _pixels_of_four(image: Image.Image) -> NDArray[np.uint8]:
    """Return (height, width, 4): red, green, blue and a filler, as in Pillow's memory.

    numpy moves pixels of four bytes several times faster than pixels of three.
    """
    flat = np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8)
    return flat.reshape(image.height, image.width, 4)
