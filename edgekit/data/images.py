# SPDX-License-Identifier: Apache-2.0
"""Read image files as Pillow images: upright, in the mode of the network."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

_ORIENTATION = 0x0112  # Exif 2.32, 4.6.4 A
# Pillow's numbers of Image.transpose, the same in all its versions: they turn an image that is
# stored with an orientation of 2 to 8 upright.
_TRANSPOSES = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_INVERSES = {6: 8, 8: 6}  # the others are their own inverses
_FIRST_QUARTER = 5  # from this orientation on, width and height are exchanged
# What Pillow raises on damaged EXIF data.
_DAMAGED_EXIF = (ArithmeticError, LookupError, SyntaxError, TypeError, ValueError, struct.error)


MOST_IMAGE_BYTES = 160 << 20
_MOST_PIXELS = 112 << 20  # with the file and up to 16 bytes a pixel, the memory stays below 2 GiB


class ImageSizeError(ValueError):
    """An image has too many pixels or too many bytes."""


@contextlib.contextmanager
def open_image(
    source: Any,  # noqa: ANN401 - anything that Pillow opens
    most_pixels: int = _MOST_PIXELS,
) -> Iterator[Image.Image]:
    """Open an image of at most ``most_pixels`` (117 million).

    For a damaged file, Pillow's decoders raise `edgekit.formats.damage.IMAGE_DAMAGE`.

    Args:
        source: A path, a stream or the content.
        most_pixels: A larger image is refused before it is decoded.

    Raises:
        ImageSizeError: It has too many pixels or too many bytes.
    """
    from PIL import Image  # noqa: PLC0415 - only images need Pillow

    given = io.BytesIO(source) if isinstance(source, bytes) else source
    if isinstance(given, (str, os.PathLike)) and os.path.getsize(given) > MOST_IMAGE_BYTES:  # noqa: PTH202
        raise ImageSizeError(f"it has more than {MOST_IMAGE_BYTES} bytes")
    try:
        opened = Image.open(given)
    except Image.DecompressionBombError as error:
        raise ImageSizeError(str(error)) from error
    with opened as image:
        if image.width * image.height > most_pixels:
            raise ImageSizeError(f"it has {image.width} x {image.height} pixels")
        yield image


def upright(
    image: Image.Image, *, ignore: bool = False, truth_size: tuple[int, int] | None = None
) -> Image.Image:
    """Return ``image``, which is not loaded yet, turned and mirrored by its EXIF orientation.

    Cameras store a photo as the sensor recorded it, and in EXIF how the camera was held. Programs
    that show pictures, OpenCV's ``imread`` and Ultralytics turn it; TensorFlow's ``decode_jpeg``
    does not.

    Args:
        image: The image that Pillow opened.
        ignore: Return it as the file stores it.
        truth_size: Width and height of what belongs to the image, such as a mask. An image that
            has this size as the file stores it, and another one upright, is returned as stored.
    """
    orientation = _orientation(image)
    image.load()
    to_upright, to_stored = orientation, 1
    if image.format == "TIFF":  # it was turned when it was loaded
        to_upright, to_stored = 1, _INVERSES.get(orientation, orientation)
    is_truth = _size(image, to_stored) == truth_size != _size(image, to_upright)
    return _transposed(image, to_stored if ignore or is_truth else to_upright)


def _orientation(image: Image.Image) -> int:
    """Return 1 to 8; 1 if the file does not state it, or it cannot be read."""
    try:
        # Pillow's TIFF files lose it when they are loaded.
        tags: Any = image.getexif() if image.format != "TIFF" else getattr(image, "tag_v2", {})
        orientation = tags.get(_ORIENTATION)
    except _DAMAGED_EXIF:
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TRANSPOSES else 1


def _size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """Width and height of ``image`` after `_transposed`."""
    return image.size if orientation < _FIRST_QUARTER else (image.height, image.width)


def _transposed(image: Image.Image, orientation: int) -> Image.Image:
    method = _TRANSPOSES.get(orientation)
    if method is None:
        return image
    turned = image.transpose(method)  # type: ignore[arg-type] # newer Pillow has an enum of these numbers
    turned.format = image.format  # `with_mode` needs it
    return turned


def with_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return ``image`` as ``L`` or ``RGB``; of 16-bit grey values use the upper 8 bits.

    OpenCV and TensorFlow do the same; Pillow's own conversion makes all values above 255 white.

    Raises:
        ValueError: Its pixels have 32 bits; the file does not say which value is white.
    """
    from PIL import Image  # noqa: PLC0415 - only images need Pillow

    # Pillow opens grey PNG and PGM files of 16 bits as I, newer ones PNG as I;16.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        upper: NDArray[np.uint8] = (np.asarray(image) >> 8).astype(np.uint8)
        image = Image.fromarray(upper)
    elif image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode}), expected 8 or 16")
    return image if image.mode == mode else image.convert(mode)
