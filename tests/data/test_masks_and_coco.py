# SPDX-License-Identifier: Apache-2.0
"""Images with masks, and COCO's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data import (
    CocoDataset,
    InputSpec,
    MaskDataset,
    Preprocess,
    iter_chunks,
    open_dataset,
)
from edgekit.errors import DataError

_RGB = (InputSpec("x", (1, 4, 6, 3)),)


def _image(path: Path, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 9, 9)).save(str(path))


def _mask(path: Path, value: int, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(str(path))


@pytest.mark.parametrize("folders", [("images", "masks"), ("JPEGImages", "SegmentationClass")])
def test_images_and_masks_share_their_stems(tmp_path: Path, folders: tuple[str, str]) -> None:
    for index in range(3):
        _image(tmp_path / folders[0] / f"{index}.png")
        _mask(tmp_path / folders[1] / f"{index}.png", index)
    dataset = open_dataset(tmp_path, inputs=_RGB, masks=True)
    (chunk,) = iter_chunks(dataset, 8)
    assert [int(mask.max()) for mask in chunk.load().targets] == [0, 1, 2]


def test_masks_may_be_next_to_their_images(tmp_path: Path) -> None:
    _image(tmp_path / "bird.png")
    _mask(tmp_path / "bird_mask.png", 3)
    dataset = open_dataset(tmp_path, inputs=_RGB, masks=True)
    assert dataset.num_samples == 1


def test_images_without_a_mask_or_with_a_coloured_one_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        _image(tmp_path / "images" / f"{name}.png")
    _mask(tmp_path / "masks" / "a.png", 1)
    _image(tmp_path / "masks" / "b.png")
    dataset = open_dataset(tmp_path, inputs=_RGB, masks=True)
    (chunk,) = iter_chunks(dataset, 8)
    reasons = {Path(each.source).stem: each.reason for each in chunk.load().unreadable}
    assert reasons["c"] == "it has no mask"
    assert "colours" in reasons["b"]
    assert set(reasons) == {"b", "c"}


def test_a_folder_without_masks_is_refused(tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    with pytest.raises(DataError, match="no image with a mask"):
        open_dataset(tmp_path, inputs=_RGB, masks=True)


def _document(**changes: object) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 2, 2]}],
        "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}],
        **changes,
    }


@pytest.mark.parametrize("place", ["", "val2017", "../val2017"])
def test_images_are_found_where_coco_puts_them(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "annotations"
    for name in ("a.png", "b.png"):
        _image((folder / place).resolve() / name)
    folder.mkdir(exist_ok=True)
    path = folder / "instances.json"
    path.write_text(json.dumps(_document()))
    dataset = open_dataset(path, inputs=_RGB)
    assert isinstance(dataset, CocoDataset)
    assert dataset.categories == {1: "person", 3: "car"}
    (chunk,) = iter_chunks(dataset, 8)
    assert chunk.load().targets == (7, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read the JSON"),
        (json.dumps(_document(images=[])), "lists no image"),
        (json.dumps(_document(annotations=[{"id": 1}])), "no list of annotations"),
        (json.dumps([]), "no list of images"),
        (json.dumps(_document()), "images of the JSON are not found"),
    ],
)
def test_a_json_that_is_not_coco_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        open_dataset(path, inputs=_RGB)


def test_folders_named_by_numbers_are_labels(tmp_path: Path) -> None:
    for number in ("281", "7", "1000"):
        _image(tmp_path / number / "a.png")
    samples = list(open_dataset(tmp_path, inputs=_RGB))
    assert sorted(sample.label or 0 for sample in samples) == [7, 281, 1000]


def test_chunks_are_the_samples_from_any_start(tmp_path: Path) -> None:
    for index in range(7):
        _image(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    dataset = open_dataset(tmp_path, inputs=_RGB)
    for start, size in ((0, 3), (2, 2), (5, 10)):
        batches = [chunk.load() for chunk in iter_chunks(dataset, size, start, 6)]
        names = [Path(source).stem for batch in batches for source in batch.sources]
        assert names == [str(i) for i in range(start, 6) if i != 3]


def test_an_iterable_is_read_from_the_requested_start() -> None:
    arrays = [np.full((4, 6, 3), i, np.float32) for i in range(5)]
    dataset = open_dataset([(array, i) for i, array in enumerate(arrays)], inputs=_RGB)
    labels = [chunk.load().labels for chunk in iter_chunks(dataset, 2, 1)]
    assert labels == [[1, 2], [3, 4]]


def test_two_images_of_a_coco_json_may_be_one_file(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(str(tmp_path / "a.png"))
    names = ("a.png", "missing.png", "a.png")
    images = [{"id": 7 + i, "file_name": name} for i, name in enumerate(names)]
    document = {"images": images, "annotations": [], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(document))
    dataset = CocoDataset(tmp_path / "a.json", _RGB, Preprocess())
    assert dataset.chunk(0, 3).targets == (7, 9)


def test_another_ground_truth_is_another_data_set(tmp_path: Path) -> None:
    """A journal distinguishes other annotations of the same images and masks of another size."""
    Image.new("RGB", (6, 4)).save(str(tmp_path / "a.png"))
    Image.new("L", (6, 4)).save(str(tmp_path / "a_mask.png"))
    document = {"images": [{"id": 7, "file_name": "a.png"}], "annotations": [], "categories": []}
    seen = []
    for category in (1, 2):
        row = {"id": 1, "image_id": 7, "category_id": category}
        (tmp_path / "a.json").write_text(json.dumps({**document, "annotations": [row]}))
        seen.append(CocoDataset(tmp_path / "a.json", _RGB, Preprocess()).identity(1))
    assert seen[0] != seen[1]
    before = MaskDataset(tmp_path, _RGB, Preprocess()).identity(1)
    assert MaskDataset(tmp_path, _RGB, Preprocess()).identity(1) == before
    Image.new("L", (60, 40)).save(str(tmp_path / "a_mask.png"))
    assert MaskDataset(tmp_path, _RGB, Preprocess()).identity(1) != before
