# SPDX-License-Identifier: Apache-2.0
"""Which files of a data set are copied to a board, and under which names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekit.errors import DataError
from edgekit.fleet.local_files import read_data


def _coco(folder: Path, *names: str) -> Path:
    """A COCO JSON of images with these names, in a folder ``annotations``."""
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    path = folder / "annotations" / "instances.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    return path


def test_a_coco_json_is_copied_with_its_images_that_exist_here(tmp_path: Path) -> None:
    (tmp_path / "val" / "sub").mkdir(parents=True)
    for name in ("1.jpg", "sub/2.jpg", "not-in-the-json.jpg"):
        (tmp_path / "val" / name).write_text(name)
    data = read_data(_coco(tmp_path, "1.jpg", "sub/2.jpg", "missing.jpg", "1.jpg"))
    assert data.path == "data/instances/instances.json"
    assert data.folder == "data/instances"
    assert [file.path for file in data.files] == [
        "data/instances/instances.json",
        "data/instances/images/1.jpg",
        "data/instances/images/sub/2.jpg",
    ]


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd"])
def test_images_in_other_folders_are_not_copied_with_a_coco_json(tmp_path: Path, name: str) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "1.jpg").write_text("1")
    with pytest.raises(DataError, match="not in the folder of the others"):
        read_data(_coco(tmp_path, "1.jpg", name))


def test_a_json_that_is_not_coco_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(DataError, match="no list of images"):
        read_data(tmp_path / "x.json")


def test_a_python_function_is_refused_with_its_reason() -> None:
    with pytest.raises(DataError, match="cannot be copied") as caught:
        read_data("package.module:function")
    assert "not on the board" in caught.value.why
    assert "numpy.savez" in caught.value.fix
