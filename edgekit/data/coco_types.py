# SPDX-License-Identifier: Apache-2.0
"""What the fields of a COCO JSON must be, as far as edgekit and pycocotools rely on them."""

from __future__ import annotations

import math
from typing import Any, Callable, Mapping, NamedTuple

from edgekit.errors import DataError

_LONGEST_NAME_BYTES = 255  # of what a file system takes


class _Field(NamedTuple):
    expected: str
    accepts: Callable[[Any], bool]
    is_required: bool = True


def _is_number(value: Any) -> bool:  # noqa: ANN401 - whatever the JSON holds
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and abs(value) < 1 << 53 and math.isfinite(value)


def _is_id(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) or _is_whole(value)


def _is_whole(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, int) and _is_number(value)


def _is_name(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str)


def _is_path(value: Any) -> bool:  # noqa: ANN401
    if not isinstance(value, str) or "\0" in value:
        return False
    names = value.encode("utf-8", "surrogatepass").split(b"/")
    return max(map(len, names)) <= _LONGEST_NAME_BYTES and len(names) < _LONGEST_NAME_BYTES


def _is_box(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_keypoints(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, list) and len(value) % 3 == 0 and all(map(_is_number, value))


_ID = _Field("a whole number or a text", _is_id)
_WHOLE = _Field("a whole number", _is_whole)
_SIZE = _Field("a number or null", lambda value: value is None or _is_number(value), False)
_FIELDS: Mapping[str, Mapping[str, _Field]] = {
    "images": {
        "id": _ID,
        "file_name": _Field("a file's name", _is_path),
        "width": _SIZE,
        "height": _SIZE,
    },
    "annotations": {
        "id": _ID,
        "image_id": _ID,
        "category_id": _WHOLE,
        "bbox": _Field("four numbers", _is_box, False),
        "keypoints": _Field("numbers, three a point", _is_keypoints, False),
        "num_keypoints": _Field("a whole number", _is_whole, False),
        "area": _Field("a number", _is_number, False),
        "iscrowd": _Field("0 or 1", lambda value: value in (0, 1), False),
        "segmentation": _Field(
            "polygons or runs", lambda value: isinstance(value, (list, dict)), False
        ),
    },
    "categories": {"id": _WHOLE, "name": _Field("a text", _is_name)},
}


def check_types(document: Any, where: str) -> None:  # noqa: ANN401
    """Check every row of images, annotations and categories.

    Raises:
        DataError: A list or a field is missing or of another type; the message names its place.
    """
    for part, fields in _FIELDS.items():
        rows = document.get(part) if isinstance(document, dict) else None
        needed = [name for name, field in fields.items() if field.is_required]
        if not isinstance(rows, list) or not all(_has(row, needed) for row in rows):
            raise DataError(
                f"the JSON has no list of {part} with {', '.join(needed)}",
                where=where,
                fix="give a COCO JSON of instances or person key points",
            )
        for index, row in enumerate(rows):
            for name, field in fields.items():
                if name in row and not field.accepts(row[name]):
                    raise DataError(
                        f"{name} is {str(row[name])[:60]!r}, expected {field.expected}",
                        where=f"{where}, {part}[{index}]",
                        fix="export the annotations again",
                    )
    ids = [image["id"] for image in document["images"]]
    if len(set(ids)) != len(ids):
        raise DataError("two images have the same id", where=where)
    if len({type(each) for each in ids}) > 1:
        raise DataError("the images' ids are partly numbers, partly texts", where=where)


def _has(row: Any, names: list[str]) -> bool:  # noqa: ANN401
    return isinstance(row, Mapping) and all(name in row for name in names)
