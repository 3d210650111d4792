# SPDX-License-Identifier: Apache-2.0
"""Photos that are stored sideways: EXIF turns them, unless exif=ignore is set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from edgekit.data import CocoDataset, InputSpec, MaskDataset, Preprocess, parse_preprocess
from edgekit.data.images import upright

_ORIENTATION = 0x0112
_PICTURE = np.random.default_rng(3).integers(0, 256, (5, 9, 3), np.uint8)
_APPLY, _IGNORE = parse_preprocess("raw"), parse_preprocess("raw,exif=ignore")


def _save(path: Path, orientation: int, pixels: np.ndarray = _PICTURE) -> Path:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    Image.fromarray(pixels).save(str(path), exif=exif)
    return path


# How a stored picture becomes upright: the table of Exif 2.32, 4.6.4 A, in numpy.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
_FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", sorted(_FORMATS))
def test_each_format_is_turned_by_its_exif_orientation(
    tmp_path: Path, form: str, orientation: int
) -> None:
    """The order of a JPEG's pixels is right: they are close to those that were saved."""
    path, exif = tmp_path / "a", Image.Exif()
    exif[_ORIENTATION] = orientation
    stored = np.random.default_rng(4).integers(0, 256, (3, 5), np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(stored).convert("RGB").save(str(path), form, exif=exif, **_FORMATS[form])
    tolerance = 3 if form == "JPEG" else 0
    for how, expected in ((_APPLY, _UPRIGHT[orientation](stored)), (_IGNORE, stored)):
        pixels, placement = how.place_pixels(path, (*expected.shape, 3))
        np.testing.assert_allclose(pixels.astype(int), expected[..., None] + [0] * 3, 0, tolerance)
        assert (placement.image_width, placement.image_height) == expected.shape[::-1]
    stored_size, upright_size = (40, 24), (24, 40) if orientation > 4 else (40, 24)
    for size, wanted in ((stored_size, stored_size), (upright_size, upright_size)):
        placement = _APPLY.place_pixels(path, (8, 8, 3), size)[1]
        assert (placement.image_width, placement.image_height) == wanted


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    path = _save(tmp_path / "a.png", orientation)
    with Image.open(str(path)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(_APPLY.pixels(path, expected.shape), expected)
    placement = _APPLY.place_pixels(path, (4, 4, 3))[1]
    assert (placement.image_width, placement.image_height) == expected.shape[1::-1]


def test_exif_ignore_does_not_turn_the_image(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.png", 6)
    assert np.array_equal(_IGNORE.pixels(path, _PICTURE.shape), _PICTURE)
    assert parse_preprocess(str(_IGNORE)) == _IGNORE


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_exif_does_not_define_changes_nothing(
    tmp_path: Path, value: int
) -> None:
    path = _save(tmp_path / "a.png", value)
    assert np.array_equal(_APPLY.pixels(path, _PICTURE.shape), _PICTURE)


def test_damaged_exif_data_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(_PICTURE).save(str(path), exif=b"Exif\0\0no header of a TIFF file")
    with Image.open(str(path)) as image:
        assert upright(image).size == (9, 5)


def test_grey_values_of_16_bits_are_turned_too(tmp_path: Path) -> None:
    grey = np.arange(15, dtype=np.uint16).reshape(3, 5) << 8
    path = _save(tmp_path / "a.png", 6, grey)
    assert np.array_equal(_APPLY.pixels(path, (5, 3, 1))[..., 0], np.rot90(grey >> 8, -1))


def _coco(folder: Path, size: tuple[int, int]) -> CocoDataset:
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}],
        "annotations": [],
        "categories": [],
    }
    (folder / "truth.json").write_text(json.dumps(document))
    return CocoDataset(folder / "truth.json", [InputSpec("x", (1, 8, 8, 3))], Preprocess())


@pytest.mark.parametrize("size", [(9, 5), (5, 9)], ids=["stored", "upright"])
def test_boxes_belong_to_the_image_of_the_size_in_their_json(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    _save(tmp_path / "a.png", 6)
    (placement,) = _coco(tmp_path, size).chunk(0, 1).placements
    assert (placement.image_width, placement.image_height) == size


@pytest.mark.parametrize("size", [(9, 5), (5, 9)], ids=["stored", "upright"])
def test_a_mask_belongs_to_the_image_of_its_size(tmp_path: Path, size: tuple[int, int]) -> None:
    _save(tmp_path / "a.png", 6)
    Image.new("L", size, 1).save(str(tmp_path / "a_mask.png"))
    dataset = MaskDataset(tmp_path, [InputSpec("x", (1, 8, 8, 3))], Preprocess())
    (placement,) = dataset.chunk(0, 1).placements
    assert (placement.image_width, placement.image_height) == size
