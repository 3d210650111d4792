# SPDX-License-Identifier: Apache-2.0
"""Fields of a COCO JSON with a type that edgekit does not expect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgekit.data import coco
from edgekit.data.coco import read_coco
from edgekit.errors import DataError


def _document() -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 3,
                "bbox": [0, 0, 2.5, 2],
                "area": 5.0,
                "iscrowd": 0,
                "segmentation": [[0, 0, 2, 0, 2, 2]],
                "keypoints": [1, 1, 2],
                "num_keypoints": 1,
            }
        ],
        "categories": [{"id": 3, "name": "cat"}],
    }


def _read(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    path.write_text(json.dumps(document))
    return read_coco(path)


def test_the_fields_of_cocos_own_files_are_accepted(tmp_path: Path) -> None:
    document = _document()
    document["images"][0]["id"] = document["annotations"][0]["image_id"] = "one"
    found = _read(tmp_path / "c.json", document)
    del document["annotations"][0]["segmentation"]  # boxes and key points are scored, not masks
    assert found == document


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("images", "id", None),
        ("images", "id", [1]),
        ("images", "file_name", 7),
        ("images", "file_name", "a\0.png"),
        ("images", "file_name", "n" * 300),
        ("images", "width", "wide"),
        ("annotations", "image_id", {}),
        ("annotations", "category_id", "three"),
        ("annotations", "category_id", 3.5),
        ("annotations", "bbox", [1, 2, 3]),
        ("annotations", "bbox", [1, 2, 3, None]),
        ("annotations", "bbox", [1, 2, 3, float("nan")]),
        ("annotations", "bbox", "0 0 1 1"),
        ("annotations", "area", []),
        ("annotations", "iscrowd", "yes"),
        ("annotations", "segmentation", 5),
        ("annotations", "keypoints", [1, 2]),
        ("annotations", "num_keypoints", None),
        ("categories", "id", "cat"),
        ("categories", "id", True),
        ("categories", "name", None),
    ],
)
def test_another_type_is_a_data_error_with_its_place(
    tmp_path: Path, part: str, name: str, value: object
) -> None:
    document = _document()
    document[part][0][name] = value
    with pytest.raises(DataError, match=f"{name} is ") as caught:
        _read(tmp_path / "c.json", document)
    assert f"{part}[0]" in caught.value.where


def test_an_image_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    document = _document()
    document["images"] *= 2
    with pytest.raises(DataError, match="two images have the same id"):
        _read(tmp_path / "c.json", document)


def test_fields_that_are_not_used_do_not_stay_in_memory(tmp_path: Path) -> None:
    document = _document()
    document["licenses"], document["videos"] = [{"url": "x"}], {"a": [1, {"b": []}]}
    document["annotations"][0]["attributes"] = {"occluded": True}
    found = _read(tmp_path / "c.json", document)
    assert sorted(found) == ["annotations", "categories", "images"]
    assert "attributes" not in found["annotations"][0]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "5",
        '{"images": 5, "annotations": [], "categories": []}',
        '{"images": [5], "annotations": [], "categories": []}',
        '{"images": [[]], "annotations": [], "categories": []}',
        '{"images": [{"id": 1, "file_name": "a"}]}',
        '{"images": [], "annotations": [], "categories": []} {',
        '{"images": [], "annotations": [], "categories": []',
        '{"images": [{"id": 1' + "0" * 5000 + ', "file_name": "a"}]}',
        '{"images": ' + "[" * 100_000,
        '{"info": ' + '{"a":' * 100_000,
        '{"images": [{"id": 1, "file_name": "a", "width": 1e999}]}',
        '{"images": [{"id": 1, "file_name": "a", "width": NaN}]}',
    ],
)
def test_extreme_documents_are_data_errors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(DataError):
        read_coco(path)


def test_rows_that_need_too_much_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco, "MOST_MEMORY_BYTES", 100_000)
    document = _document()
    document["images"] = [{"id": i, "file_name": "a.png"} for i in range(1000)]
    with pytest.raises(DataError, match="of memory"):
        _read(tmp_path / "c.json", document)
