# SPDX-License-Identifier: Apache-2.0
"""Folders with train, test and validation parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.data import InputSpec, open_dataset
from edgekit.data.parts import part_of

_INPUTS = [InputSpec("image", (1, 8, 8, 3))]


def _pictures(root: Path, *names: str) -> None:
    for level, name in enumerate(names):
        (root / name).mkdir(parents=True)
        pixels = np.full((8, 8, 3), level, np.uint8)
        Image.fromarray(pixels).save(root / name / "0.png")


@pytest.mark.parametrize(("split", "part"), [("train", "train"), ("test", "val")])
def test_the_classes_are_those_of_the_part(split: str, part: str, tmp_path: Path) -> None:
    _pictures(tmp_path, "train/cat", "train/dog", "train/eel", "val/cat", "val/dog")
    dataset = open_dataset(tmp_path, inputs=_INPUTS, split=split)
    whole = open_dataset(tmp_path / part, inputs=_INPUTS)
    assert dataset.class_names == whole.class_names
    assert dataset.num_samples == whole.num_samples
    assert dataset.describe()["source"] == str(tmp_path / part)
    assert dataset.describe()["part"] == part
    assert "part" not in whole.describe()


@pytest.mark.parametrize(
    ("names", "split", "expected"),
    [
        (("Train", "Test", "Validation"), "test", "Test"),
        (("train", "test", "val", "__MACOSX"), "train", "train"),
        (("test", "val"), "train", "val"),
        # A single such name may be a class; so may one beside other names or beside pictures.
        (("train",), "train", "."),
        (("train", "truck"), "train", "."),
    ],
)
def test_parts_are_recognized_by_their_names(
    names: tuple[str, ...], split: str, expected: str, tmp_path: Path
) -> None:
    _pictures(tmp_path, *names)
    assert part_of(tmp_path, split) == tmp_path / expected


def test_folders_with_pictures_next_to_them_are_not_parts(tmp_path: Path) -> None:
    _pictures(tmp_path, "train", "test")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "0.png")
    assert part_of(tmp_path, "test") == tmp_path
