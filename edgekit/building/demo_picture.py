# SPDX-License-Identifier: Apache-2.0
"""Draw the demo's picture: test images with the answers of the float and the integer model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgekit import files
from edgekit.extras import require

if TYPE_CHECKING:
    from PIL import Image

_ZOOM = 4
_COLUMNS = 8
_MARGIN = 10
_CAPTION = 34
_PAPER, _INK, _RIGHT, _WRONG = (255, 255, 255), (32, 32, 32), (0, 110, 60), (190, 30, 30)


def draw_answers(
    path: Path,
    images: NDArray[np.uint8],
    labels: Sequence[int] | NDArray[np.int64],
    answers: Sequence[Sequence[int]],
) -> None:
    """Write a PNG with one cell per image: the image, its label, and each model's answer.

    Args:
        path: The PNG.
        images: (N, H, W) uint8.
        labels: (N,) true classes.
        answers: The float model's classes, then the integer model's, each (N,).
    """
    height, width = images.shape[1] * _ZOOM, images.shape[2] * _ZOOM
    rows = -(-len(images) // _COLUMNS)
    cell_height = height + _CAPTION + _MARGIN
    size = (_COLUMNS * (width + _MARGIN) + _MARGIN, rows * cell_height + _MARGIN)
    canvas = require("PIL.Image", extra="host", purpose="draw the picture").new("RGB", size, _PAPER)
    for index, image in enumerate(images):
        left = _MARGIN + index % _COLUMNS * (width + _MARGIN)
        top = _MARGIN + index // _COLUMNS * cell_height
        _draw_cell(canvas, (left, top), image, int(labels[index]), [a[index] for a in answers])
    with files.replacing(path) as temporary:
        canvas.save(temporary, format="PNG")


def _draw_cell(
    canvas: Image.Image,
    corner: tuple[int, int],
    image: NDArray[np.uint8],
    label: int,
    answers: Sequence[int],
) -> None:
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - loaded by the caller

    left, top = corner
    enlarged = np.kron(image, np.ones((_ZOOM, _ZOOM), np.uint8))
    canvas.paste(Image.fromarray(enlarged), corner)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(13)
    below = top + enlarged.shape[0] + 2
    draw.text((left, below), f"label {label}", _INK, font)
    for row, (name, answer) in enumerate(zip(("float", "int8"), answers, strict=True)):
        place = (left + 52, below + row * 15)
        draw.text(place, f"{name} {answer}", _RIGHT if answer == label else _WRONG, font)
