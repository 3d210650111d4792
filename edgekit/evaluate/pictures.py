# SPDX-License-Identifier: Apache-2.0
"""Answers drawn onto their image: boxes with names, a mask with its legend, skeletons."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.tasks import KEYPOINT_NAMES, SKELETON, Mask, mask_to_image

if TYPE_CHECKING:
    from PIL import Image

    from edgekit.data import Placement
    from edgekit.evaluate.answers import Answer, ObjectBox, Person
    from edgekit.tasks import Meaning

_GOLDEN = 0.61803398875  # steps of the hue that keep neighbours apart
_LEAST_KEYPOINT = 0.3  # key points less certain than that are left out
_SHORTEST_SIDE = 240  # smaller images are enlarged, so that names can be read
_MASK_OPACITY = 0.55


def draw(image: Image.Image, answer: Answer, meaning: Meaning, placement: Placement) -> Image.Image:
    """A copy of ``image`` with ``answer`` on it; small images come back enlarged."""
    factor = max(1, -(-_SHORTEST_SIDE // min(image.size)))
    canvas = image.convert("RGB").resize((image.size[0] * factor, image.size[1] * factor), 0)
    if isinstance(meaning, Mask):
        canvas = _blend(canvas, mask_to_image(meaning.classes, placement), factor)
    pen = _Pen(canvas)
    for each in answer.objects:
        pen.box(each, factor)
    for index, person in enumerate(answer.people):
        pen.person(person, _colour(index + 1), factor)
    if answer.mask:
        pen.legend([(_colour(m.index), f"{m.label or m.index} {m.share:.0%}") for m in answer.mask])
    if answer.top:
        pen.legend(
            [(_colour(c.index + 1), f"{c.label or c.index} {c.score:.2f}") for c in answer.top]
        )
    return canvas


class _Pen:
    def __init__(self, canvas: Image.Image) -> None:
        from PIL import ImageDraw  # noqa: PLC0415 - only pictures need Pillow

        self._size = canvas.size
        self._draw = ImageDraw.Draw(canvas)
        self._font = _font(max(11, min(canvas.size) // 32))
        self._width = max(2, min(canvas.size) // 200)

    def box(self, found: ObjectBox, factor: int) -> None:
        """A rectangle, cut at the image's edges, with name and score."""
        limits = (*self._size, *self._size)
        left, top, right, bottom = (
            min(max(value * factor, 0), limit - 1)
            for value, limit in zip(found.box_xyxy_px, limits)
        )
        if right < left or bottom < top:
            return
        colour = _colour(found.index + 1)
        self._draw.rectangle((left, top, right, bottom), outline=colour, width=self._width)
        self._tag(left, top, f"{found.label or found.index} {found.score:.2f}", colour)

    def person(self, person: Person, colour: tuple[int, int, int], factor: int) -> None:
        """The bones between key points that are certain enough, and the points."""
        at = {
            KEYPOINT_NAMES.index(point.name): (point.x_px * factor, point.y_px * factor)
            for point in person.keypoints
            if point.score >= _LEAST_KEYPOINT
        }
        for start, end in SKELETON:
            if start in at and end in at:
                self._draw.line((*at[start], *at[end]), fill=colour, width=self._width)
        radius = self._width + 1
        for x, y in at.values():
            corners = (x - radius, y - radius, x + radius, y + radius)
            self._draw.ellipse(corners, fill=colour, outline=(255, 255, 255))

    def legend(self, rows: Sequence[tuple[tuple[int, int, int], str]]) -> None:
        """Names on their colours, one below the other at the left edge."""
        y = 2.0
        for colour, text in rows:
            y = self._tag(2, y, text, colour, below=True)

    def _tag(
        self, x: float, y: float, text: str, colour: tuple[int, int, int], *, below: bool = False
    ) -> float:
        width, height = self._measure(text)
        top = y if below or y < height else y - height
        left = max(0.0, min(x, self._size[0] - width))
        self._draw.rectangle((left, top, left + width, top + height), fill=colour)
        is_light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
        ink = (0, 0, 0) if is_light else (255, 255, 255)
        self._draw.text((left + 3, top + 1), text, fill=ink, font=self._font)
        return top + height

    def _measure(self, text: str) -> tuple[float, float]:
        if hasattr(self._draw, "textbbox"):
            left, top, right, bottom = self._draw.textbbox((0, 0), text, font=self._font)
            return right - left + 6, bottom + top + 2
        width, height = self._draw.textsize(text, font=self._font)  # type: ignore[attr-defined] # Pillow below 8
        return width + 6, height + 4


def _font(size: int) -> Any:  # noqa: ANN401 - Pillow's two kinds of fonts
    from PIL import ImageFont  # noqa: PLC0415

    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1 has one size
        return ImageFont.load_default()


def _blend(canvas: Image.Image, mask: Any, factor: int) -> Image.Image:  # noqa: ANN401
    from PIL import Image  # noqa: PLC0415

    colours = np.array([_colour(i) for i in range(int(mask.max()) + 1)], np.uint8)
    over = colours[mask].repeat(factor, axis=0).repeat(factor, axis=1)
    return Image.blend(canvas, Image.fromarray(over), _MASK_OPACITY)


def _colour(index: int) -> tuple[int, int, int]:
    """A colour that stays the same for a class; dark grey for the first, often the background."""
    if index == 0:
        return 60, 60, 60
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1.0, 0.75, 0.95)
    return int(red * 255), int(green * 255), int(blue * 255)
