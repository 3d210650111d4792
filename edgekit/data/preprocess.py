# SPDX-License-Identifier: Apache-2.0
"""Pixels to a network's input: the one code path of calibration, evaluation and the device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL import Image

SCALES = ("raw", "unit", "tf")
RESIZES = ("stretch", "crop", "pad")
COLOURS = ("rgb", "bgr")
# Pillow's filters by the numbers that all its versions share.
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
_PIXEL_MAX = 255.0


@dataclass(frozen=True)
class Preprocess:
    """How pixels (uint8, 0..255) become the input of a network.

    In this order: decode, colour order, resize to the input's height and width, scale. Arrays of
    real numbers are data that was preprocessed before and pass unchanged, unless ``scale`` or
    ``mean`` is set by name.

    ``scale``: ``raw`` keeps 0..255, ``unit`` is ``x / 255``, ``tf`` is ``x / 127.5 - 1``; with
    ``mean`` and ``std`` (one value, or one a channel, in pixel units) it is ``(x - mean) / std``.
    ``resize``: ``stretch`` ignores the aspect ratio, ``crop`` scales the shorter side and cuts the
    middle, ``pad`` scales the longer side and fills with zero pixels on the right and below.
    """

    scale: str = "unit"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: str = "stretch"
    filter: str = "bilinear"
    colour: str = "rgb"
    is_default: bool = False  # nobody asked for it by name

    def __str__(self) -> str:
        if self.mean or self.std:
            parts = ["mean=" + "/".join(f"{v:g}" for v in self.mean or (0.0,))]
            parts.append("std=" + "/".join(f"{v:g}" for v in self.std or (1.0,)))
        else:
            parts = [self.scale]
        parts += [f"resize={self.resize}", f"filter={self.filter}", f"colour={self.colour}"]
        return ",".join(parts)

    @property
    def promised_range(self) -> tuple[float, float]:
        """The lowest and highest value that a pixel can become."""
        ends = self.scale_pixels(np.array([[0], [255]], np.uint8).repeat(max(1, len(self.mean)), 1))
        return float(ends.min()), float(ends.max())

    def scale_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels of any shape (channels last) to float32, by ``scale`` or ``mean`` and ``std``."""
        real = pixels.astype(np.float32)
        if self.mean or self.std:
            mean = np.asarray(self.mean or (0.0,), np.float32)
            std = np.asarray(self.std or (1.0,), np.float32)
            result: NDArray[np.float32] = (real - mean) / std
        elif self.scale == "unit":
            result = real / np.float32(_PIXEL_MAX)
        elif self.scale == "tf":
            result = real / np.float32(_PIXEL_MAX / 2) - np.float32(1)
        else:
            result = real
        return result

    def image(self, path: Path, shape: Sequence[int]) -> NDArray[np.float32]:
        """Read an image file for an input of ``shape`` (without the batch): (H, W, C) or (H, W).

        Raises:
            DataError: The file is no image that Pillow reads, or ``shape`` is no image's.
        """
        return self.scale_pixels(self.pixels(path, shape))

    def pixels(self, path: Path, shape: Sequence[int]) -> NDArray[np.uint8]:
        """Like `image`, before scaling."""
        from PIL import Image  # noqa: PLC0415 - only images need Pillow

        try:
            with Image.open(str(path)) as image:
                return self._fit(image, shape)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"cannot read the image: {error}", where=str(path)) from error

    def array(self, values: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
        """An array from an .npz, .npy or a Python iterable for an input of ``shape`` (no batch).

        uint8 arrays are pixels: they are resized where the size differs, and scaled. Other types
        pass unchanged unless scaling was asked for by name.

        Raises:
            DataError: The shape does not fit and no resizing makes it fit.
        """
        wanted = tuple(shape)
        if values.dtype == np.uint8 and values.ndim in (2, 3) and not _fits(values.shape, wanted):
            from PIL import Image  # noqa: PLC0415

            flat = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
            values = self._fit(Image.fromarray(flat), wanted)
        if not _fits(values.shape, wanted):
            raise DataError(
                f"a sample has shape {tuple(values.shape)}, expected {wanted}",
                fix="reshape the data, or give the model's real shape with --input-shape",
            )
        return self.scale_if_asked(values.reshape(wanted))

    def scale_if_asked(self, values: NDArray[Any]) -> NDArray[Any]:
        """Scale pixels (uint8); other types only where scaling was asked for by name."""
        by_name = not self.is_default and (self.scale != "raw" or bool(self.mean or self.std))
        return self.scale_pixels(values) if values.dtype == np.uint8 or by_name else values

    def _fit(self, image: Image.Image, shape: Sequence[int]) -> NDArray[np.uint8]:
        height, width, channels = _image_shape(shape)
        image = image.convert("L" if channels == 1 else "RGB")
        resized = _resize(image, width, height, self.resize, FILTERS[self.filter])
        pixels: NDArray[np.uint8] = np.asarray(resized, np.uint8)
        if channels == 3 and self.colour == "bgr":
            pixels = pixels[..., ::-1]
        return pixels.reshape(tuple(shape))


def parse_preprocess(text: str | Preprocess | None) -> Preprocess:
    """``--preprocess`` text to `Preprocess`.

    The text is a comma-separated list of: a scale (``raw``, ``unit``, ``tf``), ``mean=`` and
    ``std=`` (``127.5`` or ``123.7/116.8/103.9``), ``resize=``, ``filter=``, ``colour=``.

    Raises:
        UsageError: An unknown word; the message lists the known ones.
    """
    if isinstance(text, Preprocess):
        return text
    if not text:
        return Preprocess(is_default=True)
    result = Preprocess()
    named_scale = False
    for word in text.split(","):
        key, separator, value = word.strip().partition("=")
        if not separator and key in SCALES:
            result, named_scale = replace(result, scale=key), True
        elif key == "mean":
            result = replace(result, mean=_numbers(word, value))
        elif key == "std":
            result = replace(result, std=_numbers(word, value))
        elif (key, value) in _CHOICES:
            change: dict[str, Any] = {key: value}
            result = replace(result, **change)
        else:
            raise UsageError(f"--preprocess does not know {word.strip()!r}", fix=_KNOWN)
    if named_scale and (result.mean or result.std):
        raise UsageError(
            f"--preprocess names both {result.scale} and mean or std", fix="give one of the two"
        )
    if any(value == 0 for value in result.std):
        raise UsageError("--preprocess divides by std=0", fix="give a std above zero")
    return result


def preprocess_or(asked: str | Preprocess | None, noted: str) -> Preprocess:
    """What was asked for, else what the model's file notes, else the default.

    What is only noted is about pixels: real numbers still pass unchanged.

    Raises:
        UsageError: An unknown word.
    """
    if asked is None and noted:
        return replace(parse_preprocess(noted), is_default=True)
    return parse_preprocess(asked)


_CHOICES = {
    (key, value)
    for key, values in (("resize", RESIZES), ("filter", FILTERS), ("colour", COLOURS))
    for value in values
}
_KNOWN = (
    "use raw, unit (0..1), tf (-1..1), or mean=..,std=.. (one value, or one a channel: 1/2/3); "
    f"and resize={'|'.join(RESIZES)}, filter={'|'.join(FILTERS)}, colour={'|'.join(COLOURS)}"
)


def _numbers(word: str, value: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in value.split("/"))
    except ValueError as error:
        raise UsageError(f"--preprocess has no number in {word.strip()!r}", fix=_KNOWN) from error
    if len(numbers) not in (1, 3) or not np.isfinite(numbers).all():
        raise UsageError(f"--preprocess wants one or three numbers in {word.strip()!r}", fix=_KNOWN)
    return numbers


def _fits(given: Sequence[int], wanted: Sequence[int]) -> bool:
    """Equal but for dimensions of size 1: (28, 28) fits (28, 28, 1)."""
    return [size for size in given if size != 1] == [size for size in wanted if size != 1]


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) == 3 and shape[2] in (1, 3):
        return shape[0], shape[1], shape[2]
    if len(shape) == 2:
        return shape[0], shape[1], 1
    raise DataError(
        f"an input of shape {tuple(shape)} cannot be filled from an image",
        why="an image gives (height, width, 1 or 3)",
        fix="give the samples as .npy or .npz, in the input's shape",
    )


def _resize(image: Image.Image, width: int, height: int, mode: str, resample: int) -> Image.Image:
    from PIL import Image, ImageOps  # noqa: PLC0415

    if mode == "stretch" or image.size[0] * height == image.size[1] * width:
        return image if image.size == (width, height) else image.resize((width, height), resample)
    if mode == "crop":
        return ImageOps.fit(image, (width, height), resample)
    ratio = min(width / image.size[0], height / image.size[1])
    inner = (max(1, round(image.size[0] * ratio)), max(1, round(image.size[1] * ratio)))
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image.resize(inner, resample), (0, 0))
    return canvas
