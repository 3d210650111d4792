# SPDX-License-Identifier: Apache-2.0
"""Image files to Pillow images: upright, in the mode that a network reads."""

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
# Pillow's numbers of Image.transpose, the same in all its versions: what turns an image that is
# stored with an orientation of 2 to 8 upright.
_TRANSPOSES = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_INVERSES = {6: 8, 8: 6}  # the others are their own
_FIRST_QUARTER = 5  # from here on width and height change places
# What Pillow raises on damaged EXIF data.
_DAMAGED_EXIF = (ArithmeticError, LookupError, SyntaxError, TypeError, ValueError, struct.error)


MOST_IMAGE_BYTES = 160 << 20
_MOST_PIXELS = 112 << 20  # with the file, and up to 16 bytes a pixel, it stays below 2 GiB


@contextlib.contextmanager
def open_image(source: Any) -> Iterator[Image.Image]:  # noqa: ANN401 - whatever Pillow opens
    """An image of at most 117 million pixels; ``source`` is a path, a stream or the content.

    What a damaged file makes Pillow's decoders raise is `edgekit.formats.damage.IMAGE_DAMAGE`.

    Raises:
        ValueError: It has more pixels or more bytes than that.
    """
    from PIL import Image  # noqa: PLC0415 - only images need Pillow

    given = io.BytesIO(source) if isinstance(source, bytes) else source
    if isinstance(given, (str, os.PathLike)) and os.path.getsize(given) > MOST_IMAGE_BYTES:  # noqa: PTH202
        raise ValueError(f"it has more than {MOST_IMAGE_BYTES} bytes")
    try:
        opened = Image.open(given)
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from error
    with opened as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"it has {image.width} x {image.height} pixels")
        yield image


def upright(
    image: Image.Image, *, ignore: bool = False, truth_size: tuple[int, int] | None = None
) -> Image.Image:
    """``image``, which nothing has loaded yet, turned and mirrored as its EXIF orientation says.

    Cameras store a photo as the sensor saw it, and in EXIF how the camera was held. Programs that
    show pictures, OpenCV's ``imread`` and Ultralytics turn it; TensorFlow's ``decode_jpeg`` does
    not.

    Args:
        image: As Pillow opened it.
        ignore: Return it as the file stores it.
        truth_size: Width and height of what belongs to the image, such as a mask. An image that
            has this size as the file stores it, and another one upright, is returned as stored.
    """
    orientation = _orientation(image)
    image.load()
    to_upright, to_stored = orientation, 1
    if image.format == "TIFF":  # loading has turned it
        to_upright, to_stored = 1, _INVERSES.get(orientation, orientation)
    is_truth = _size(image, to_stored) == truth_size != _size(image, to_upright)
    return _transposed(image, to_stored if ignore or is_truth else to_upright)


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 if the file does not say, or not readably."""
    try:
        # Pillow's TIFF files forget it when they are loaded.
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
    turned.format = image.format  # `with_mode` goes by it
    return turned


def with_mode(image: Image.Image, mode: str) -> Image.Image:
    """``image`` as ``L`` or ``RGB``, grey values of 16 bits by their upper 8.

    OpenCV and TensorFlow read those so too; Pillow's own conversion makes all above 255 white.

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
