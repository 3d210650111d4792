# SPDX-License-Identifier: Apache-2.0
"""Which folders are classes and which files pictures; other programs' files are not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edgekit.data import InputSpec, open_dataset, parse_preprocess
from edgekit.data.dataset import remarks_of
from edgekit.errors import DataError

_SPEC = (InputSpec("x", (1, 4, 4, 3)),)
# The beginning of a HEIC file: its "ftyp" box.
_HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64
# Stands in for pillow-heif: a plugin of Pillow that reads any HEIC file as a red picture.
_PLUGIN = """
from PIL import Image, ImageFile

class Red(ImageFile.ImageFile):
    format = "HEIF"

    def _open(self):
        self._size, self._mode, self.tile = (4, 4), "RGB", []
        if not isinstance(getattr(type(self), "mode", None), property):
            self.mode = "RGB"  # before Pillow 10.1
        self.im = Image.new("RGB", (4, 4), (255, 0, 0)).im

def register_heif_opener():
    Image.register_open("HEIF", Red, lambda head: head[4:12] == b"ftypheic")
    Image.register_extension("HEIF", ".heic")
"""


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (200, 0, 0)).save(str(path))
    return path


@pytest.mark.parametrize(
    "leftover",
    [
        "__MACOSX/cat/._0.png",
        "__MACOSX/0.png",
        "._cat/0.png",
        ".ipynb_checkpoints/0.png",
        "@eaDir/0.png",
        "$RECYCLE.BIN/0.png",
        "cat/._0.png",
        "cat/.ipynb_checkpoints/0.png",
        "cat/__MACOSX/0.png",
        "._0.png",
        ".DS_Store",
        "cat/Thumbs.db",
        "aardvark/.DS_Store",
        "aardvark/notes.txt",
    ],
)
def test_files_of_other_programs_are_not_classes_or_pictures(tmp_path: Path, leftover: str) -> None:
    for name in ("cat", "dog"):
        _picture(tmp_path / name / "0.png")
    path = tmp_path / leftover
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_picture(tmp_path / "cat" / "0.png").read_bytes())
    dataset = open_dataset(tmp_path, inputs=_SPEC)
    assert dataset.class_names == ("cat", "dog")
    assert [sample.label for sample in dataset] == [0, 1]
    assert dataset.unreadable == []


def test_an_empty_folder_is_not_a_class(tmp_path: Path) -> None:
    for name in ("b", "d"):
        _picture(tmp_path / name / "0.png")
    for name in ("a", "c", "e"):
        (tmp_path / name / "deeper").mkdir(parents=True)
    dataset = open_dataset(tmp_path, inputs=_SPEC)
    assert dataset.class_names == ("b", "d")
    assert [sample.label for sample in dataset] == [0, 1]


@pytest.mark.parametrize("name", ["²", "①", "1²", "1" * 30])
def test_a_number_that_is_not_a_class_index_is_a_name(tmp_path: Path, name: str) -> None:
    _picture(tmp_path / "1" / "0.png")
    _picture(tmp_path / name / "0.png")
    dataset = open_dataset(tmp_path, inputs=_SPEC)
    assert set(dataset.class_names) == {"1", name}
    assert [sample.label for sample in dataset] == [0, 1]


def test_folders_named_by_numbers_are_class_indices(tmp_path: Path) -> None:
    for name in ("7", "10", "__MACOSX"):
        _picture(tmp_path / name / "0.png")
    dataset = open_dataset(tmp_path, inputs=_SPEC)
    assert sorted(sample.label or 0 for sample in dataset) == [7, 10]
    assert dataset.class_names == ()  # the names of classes 0 to 6 are unknown


def test_folders_numbered_from_0_name_the_classes_in_the_order_of_numbers(
    tmp_path: Path,
) -> None:
    names = tuple(str(number) for number in range(12))
    for name in names:
        _picture(tmp_path / name / "0.png")
    dataset = open_dataset(tmp_path, inputs=_SPEC)
    assert dataset.class_names == names
    assert all(Path(sample.source).parent.name == str(sample.label) for sample in dataset)


@pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is not None, reason="pillow-heif is installed"
)
def test_heic_pictures_without_a_plugin_are_counted_and_named(tmp_path: Path) -> None:
    _picture(tmp_path / "cat" / "0.png")
    for number in range(5):
        path = tmp_path / "dog" / f"IMG_{number}.HEIC"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_HEIC)
    (tmp_path / "cat" / "renamed.jpg").write_bytes(_HEIC)
    dataset = open_dataset(tmp_path, inputs=_SPEC)
    assert dataset.class_names == ("cat", "dog")
    (remark,) = remarks_of(dataset)
    assert remark.startswith("5 HEIC pictures cannot be read (IMG_0.HEIC, ")
    assert "pip install pillow-heif" in remark
    assert [sample.label for sample in dataset] == [0]
    assert len(dataset.unreadable) == 6
    assert all("pip install pillow-heif" in each.reason for each in dataset.unreadable)


def test_heic_pictures_are_read_by_pillows_plugin(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "pillow_heif.py").write_text(_PLUGIN)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.heic").write_bytes(_HEIC)
    code = (
        "import sys\n"
        "from edgekit.data import InputSpec, open_dataset\n"
        "from edgekit.data.dataset import remarks_of\n"
        "dataset = open_dataset(sys.argv[1], inputs=[InputSpec('x', (1, 4, 4, 3))])\n"
        "(sample,) = dataset\n"
        "print(sample.inputs[0][0, 0].tolist(), dataset.unreadable, remarks_of(dataset))"
    )
    paths = [str(tmp_path / "plugins"), *sys.path]
    finished = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "photos")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout.strip() == "[1.0, 0.0, 0.0] [] ()", finished.stderr


@pytest.mark.skipif(
    ".avif" not in Image.registered_extensions(), reason="this Pillow writes no AVIF"
)
def test_avif_pictures_are_read_if_pillow_can(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (0, 255, 0)).save(str(tmp_path / "a.avif"), quality=100)
    dataset = open_dataset(tmp_path, inputs=_SPEC)
    (sample,) = dataset
    assert sample.inputs[0][..., 1].min() > 0.9
    assert remarks_of(dataset) == ()


def test_the_remark_for_a_single_picture_contains_the_command(tmp_path: Path) -> None:
    if importlib.util.find_spec("pillow_heif") is not None:
        pytest.skip("pillow-heif is installed")
    (tmp_path / "a.heic").write_bytes(_HEIC)
    for source in (tmp_path / "a.heic", _HEIC):
        with pytest.raises(DataError) as caught:
            parse_preprocess("unit").image(source, (4, 4, 3))
        assert caught.value.fix == "pip install pillow-heif"
