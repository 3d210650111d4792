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
# What Pillow raises on damaged EXIF data.
_DAMAGED_EXIF = (ArithmeticError, LookupError, SyntaxError, TypeError, ValueError, struct.error)


MOST_IMAGE_BYTES = 512 << 20
_MOST_PIXELS = 128 << 20  # three copies of 4 bytes a pixel stay below 2 GiB


@contextlib.contextmanager
def open_image(source: Any) -> Iterator[Image.Image]:  # noqa: ANN401 - whatever Pillow opens
    """An image of at most 134 million pixels; ``source`` is a path, a stream or the content.

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


def upright(image: Image.Image) -> Image.Image:
    """``image`` turned and mirrored as its EXIF orientation says; unchanged if it has none.

    Cameras store a photo as the sensor saw it, and in EXIF how the camera was held. Programs that
    show pictures, OpenCV's ``imread`` and Ultralytics turn it; TensorFlow's ``decode_jpeg`` does
    not.
    """
    image.load()  # Pillow turns TIFF files by itself, then
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _DAMAGED_EXIF:
        return image
    method = _TRANSPOSES.get(orientation) if isinstance(orientation, int) else None
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
