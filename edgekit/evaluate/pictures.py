# SPDX-License-Identifier: Apache-2.0
"""Draw answers onto their image: boxes with names, a mask with its legend, skeletons."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.tasks import KEYPOINT_NAMES, SKELETON, Detections, Mask, mask_to_image

if TYPE_CHECKING:
    from PIL import Image

    from edgekit.data import Placement
    from edgekit.evaluate.answers import Answer, ObjectBox, Person
    from edgekit.tasks import Meaning

_GOLDEN = 0.61803398875  # a step of the hue that makes neighbouring colours different
_LEAST_KEYPOINT = 0.3  # key points less certain than that are left out
_SHORTEST_SIDE = 240  # smaller images are enlarged, so that names can be read
_MASK_OPACITY = 0.55
_MANY_POINTS = 40  # for more points, dots are drawn small


def draw(image: Image.Image, answer: Answer, meaning: Meaning, placement: Placement) -> Image.Image:
    """Return a copy of ``image`` with ``answer`` on it; small images are enlarged."""
    factor = max(1, -(-_SHORTEST_SIDE // min(image.size)))
    canvas = image.convert("RGB").resize((image.size[0] * factor, image.size[1] * factor), 0)
    if isinstance(meaning, Mask):
        canvas = _blend(canvas, mask_to_image(meaning.classes, placement), factor)
    if isinstance(meaning, Detections) and meaning.masks is not None:
        canvas = _blend_objects(canvas, meaning, placement, factor)
    pen = _Pen(canvas)
    for each in answer.objects:
        pen.object(each, factor)
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

    def object(self, found: ObjectBox, factor: int) -> None:
        """Draw a box, rotated or cut at the image's edges, with name, score and key points."""
        colour = _colour(found.index + 1)
        text = f"{found.label or found.index} {found.score:.2f}"
        if found.corners_xy_px:
            corners = [(x * factor, y * factor) for x, y in found.corners_xy_px]
            self._draw.line([*corners, corners[0]], fill=colour, width=self._width)
            self._tag(*min(corners, key=lambda corner: corner[1]), text, colour)
        else:
            self._box(found.box_xyxy_px, text, colour, factor)
        self._points([(p.x_px * factor, p.y_px * factor) for p in found.keypoints], colour)

    def _box(
        self,
        box_xyxy_px: Sequence[float],
        text: str,
        colour: tuple[int, int, int],
        factor: int,
    ) -> None:
        limits = (*self._size, *self._size)
        left, top, right, bottom = (
            min(max(value * factor, 0), limit - 1) for value, limit in zip(box_xyxy_px, limits)
        )
        if right < left or bottom < top:
            return
        self._draw.rectangle((left, top, right, bottom), outline=colour, width=self._width)
        self._tag(left, top, text, colour)

    def person(self, person: Person, colour: tuple[int, int, int], factor: int) -> None:
        """Draw the key points that are certain enough, and the lines between them."""
        at = {
            index: (point.x_px * factor, point.y_px * factor)
            for index, point in enumerate(person.keypoints)
            if point.score >= _LEAST_KEYPOINT
        }
        for start, end in SKELETON if len(person.keypoints) == len(KEYPOINT_NAMES) else ():
            if start in at and end in at:
                self._draw.line((*at[start], *at[end]), fill=colour, width=self._width)
        self._points(list(at.values()), colour)
        if person.box_xyxy_px is not None:
            text = f"{person.label} {person.score:.2f}".strip()
            self._box(person.box_xyxy_px, text, colour, factor)

    def _points(self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int]) -> None:
        is_sparse = len(points) < _MANY_POINTS
        radius = self._width + 1 if is_sparse else 1
        for x, y in points:
            corners = (x - radius, y - radius, x + radius, y + radius)
            self._draw.ellipse(corners, fill=colour, outline=(255, 255, 255) if is_sparse else None)

    def legend(self, rows: Sequence[tuple[tuple[int, int, int], str]]) -> None:
        """Draw names on their colours, one below the other at the left edge."""
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


def _blend_objects(
    canvas: Image.Image, found: Detections, placement: Placement, factor: int
) -> Image.Image:
    """Draw each object's pixels in the colour of its class, the best object on top."""
    from PIL import Image  # noqa: PLC0415

    over = np.asarray(canvas).copy()
    if found.masks is not None:
        for index in range(len(found.scores) - 1, -1, -1):
            mask = found.masks.in_image(index, placement)
            colour = _colour(int(found.class_indices[index]) + 1)
            over[mask.repeat(factor, axis=0).repeat(factor, axis=1)] = colour
    return Image.blend(canvas, Image.fromarray(over), _MASK_OPACITY)


def _colour(index: int) -> tuple[int, int, int]:
    """Return the same colour for each use of a class; dark grey for the first, often background."""
    if index == 0:
        return 60, 60, 60
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1.0, 0.75, 0.95)
    return int(red * 255), int(green * 255), int(blue * 255)
