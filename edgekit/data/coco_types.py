# SPDX-License-Identifier: Apache-2.0
"""The types of a COCO JSON's fields that edgekit and pycocotools need."""

from __future__ import annotations

import math
import sys
from typing import Any, Callable, Mapping, NamedTuple

from edgekit.errors import DataError

_LONGEST_NAME_BYTES = 255  # the limit of file systems


class _Field(NamedTuple):
    expected: str
    accepts: Callable[[Any], bool]
    is_required: bool = True
    is_kept: bool = True


def _is_number(value: Any) -> bool:  # noqa: ANN401 - a JSON value
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
        "keypoints": _Field("numbers, three per point", _is_keypoints, False),
        "num_keypoints": _Field("a whole number", _is_whole, False),
        "area": _Field("a number", _is_number, False),
        "iscrowd": _Field("0 or 1", lambda value: value in (0, 1), False),
        "segmentation": _Field(
            "polygons or runs", lambda value: isinstance(value, (list, dict)), False, is_kept=False
        ),
    },
    "categories": {"id": _WHOLE, "name": _Field("a text", _is_name)},
}


PARTS = tuple(_FIELDS)
_REQUIRED = {
    part: [name for name, field in fields.items() if field.is_required]
    for part, fields in _FIELDS.items()
}


def checked_row(part: str, index: int, row: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
    """Check one row of images, annotations or categories; return the fields that edgekit uses.

    Args:
        part: A name in `PARTS`.
        index: The row's place in its list, for the message.
        row: The row of the JSON.
        where: The file, for the message.

    Raises:
        DataError: A field is missing or of another type; the message names its place.
    """
    if not isinstance(row, dict) or not all(name in row for name in _REQUIRED[part]):
        raise _missing(part, where)
    kept = {}
    for name, field in _FIELDS[part].items():
        if name not in row:
            continue
        value = row[name]
        if not field.accepts(value):
            raise DataError(
                f"{name} is {str(value)[:60]!r}, expected {field.expected}",
                where=f"{where}, {part}[{index}]",
                fix="export the annotations again",
            )
        if field.is_kept:
            kept[name] = value
    return kept


def memory_of(row: Mapping[str, Any]) -> int:
    """Estimate the bytes of memory of a row from `checked_row`."""
    size = sys.getsizeof(row)
    for value in row.values():
        size += sys.getsizeof(value) + (32 * len(value) if isinstance(value, list) else 0)
    return size


def check_document(document: Mapping[str, Any], where: str) -> None:
    """Check what single rows cannot show.

    Raises:
        DataError: A list is missing, or two images have the same id.
    """
    for part in PARTS:
        if part not in document:
            raise _missing(part, where)
    ids = [image["id"] for image in document["images"]]
    if len(set(ids)) != len(ids):
        raise DataError("two images have the same id", where=where)
    if len({type(each) for each in ids}) > 1:
        raise DataError("the images' ids are partly numbers, partly texts", where=where)


def _missing(part: str, where: str) -> DataError:
    return DataError(
        f"the JSON has no list of {part} with {', '.join(_REQUIRED[part])}",
        where=where,
        fix="give a COCO JSON of instances or person key points",
    )
