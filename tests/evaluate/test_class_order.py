# SPDX-License-Identifier: Apache-2.0
"""Names of classes: encodings, other orders, other models; warnings name the change."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
from PIL import Image

from edgekit.data import read_labels
from edgekit.errors import DataError, UnsupportedModelError
from edgekit.evaluate import EvaluateResult, evaluate
from edgekit.evaluate.class_names import label_map

Make = Callable[..., bytes]

_COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Create three folders named by colour; the network's order is red, green, blue."""
    for name, colour in _COLOURS.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), colour).save(str(tmp_path / "data" / name / "0.png"))
    return tmp_path / "data"


def _evaluate(model: bytes, folder: Path, names: str, encoding: str = "utf-8") -> EvaluateResult:
    path = folder.parent / "labels.txt"
    path.write_bytes(names.encode(encoding))
    return evaluate(model, folder, labels=path)


@pytest.mark.parametrize(
    ("encoding", "has_warning"),
    [
        ("utf-8", False),
        ("utf-8-sig", False),
        ("utf-16", False),
        ("latin-1", True),
        ("cp1252", True),
    ],
)
def test_label_files_of_any_usual_encoding_match_folders(
    make_classifier: Make, tmp_path: Path, encoding: str, has_warning: bool
) -> None:
    """Folder names are decomposed, as macOS writes them."""
    names = ["Vögel", "Hunde", "Flöhe"]
    for name, colour in zip(names, ((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        place = tmp_path / "data" / unicodedata.normalize("NFD", name)
        place.mkdir(parents=True)
        Image.new("RGB", (4, 4), colour).save(str(place / "0.png"))
    result = _evaluate(
        make_classifier(), tmp_path / "data", "\r\n".join([*names, "", ""]), encoding
    )
    assert result.metrics["top1"] == 1.0
    assert result.class_names == tuple(names)
    assert any("not in UTF-8" in each for each in result.warnings) == has_warning


def test_bytes_that_are_in_no_encoding_are_read_as_names(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_bytes(b"a\x81b\nc\n")  # 0x81 is not in Windows-1252
    assert len(read_labels(tmp_path / "l.txt")) == 2


def test_another_order_than_that_of_the_folders_is_reported(
    make_classifier: Make, folder: Path
) -> None:
    result = _evaluate(make_classifier(), folder, "red\ngreen\nblue\n")
    assert result.metrics["top1"] == 1.0
    (warning,) = [each for each in result.warnings if "another order" in each]
    assert "red, green, blue" in warning
    assert "blue, green, red" in warning
    same = _evaluate(make_classifier(), folder, "blue\ngreen\nred\n")
    assert not any("another order" in each for each in same.warnings)


def test_the_error_for_a_folder_without_a_class_lists_the_classes(
    make_classifier: Make, folder: Path
) -> None:
    with pytest.raises(DataError, match="'blue' is named like 0 of the 3 classes") as caught:
        _evaluate(make_classifier(), folder, "rot\ngrün\nblau\n")
    assert "rot, grün, blau" in caught.value.why


def test_names_match_in_any_unicode_composition() -> None:
    names = ["Vögel", "Hunde"]
    folders = [unicodedata.normalize("NFD", name) for name in names]
    assert label_map(dict(enumerate(folders)), names, must_match=True) == {0: 0, 1: 1}


def _named(model: bytes, names: list[str]) -> bytes:
    from edgekit.data.describe import Description  # noqa: PLC0415
    from edgekit.formats.tflite import read_model  # noqa: PLC0415

    return Description("m", names, "").written_into(model, read_model(model))


def test_a_second_model_with_another_class_order_is_refused(
    make_classifier: Make, folder: Path
) -> None:
    first = _named(make_classifier(), ["red", "green", "blue"])
    second = _named(make_classifier(), ["blue", "green", "red"])
    with pytest.raises(UnsupportedModelError, match="class 0 is 'red' in the first, 'blue'"):
        evaluate(first, folder, against=second)
    told = evaluate(first, folder, against=second, labels=["red", "green", "blue"])
    assert told.against is not None
    assert told.against.agreement == 1


def test_a_second_model_with_one_more_class_is_refused(make_classifier: Make, folder: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="have 3 and 4 classes"):
        evaluate(make_classifier(), folder, against=make_classifier(classes=4))


def test_a_journal_is_not_continued_with_a_changed_label_file(
    make_classifier: Make, folder: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("red\ngreen\nblue\n", encoding="utf-8")
    first = evaluate(make_classifier(), folder, labels=labels, journal=tmp_path / "j")
    again = evaluate(make_classifier(), folder, labels=labels, journal=tmp_path / "j", resume=True)
    assert again.metrics == first.metrics
    labels.write_text("blue\ngreen\nred\n", encoding="utf-8")
    with pytest.raises(DataError, match="content of the labels"):
        evaluate(make_classifier(), folder, labels=labels, journal=tmp_path / "j", resume=True)


_NUMBERED = 12  # as text: 0, 1, 10, 11, 2, ...


def _numbered(folder: Path, first: int = 0) -> list[str]:
    """Create one folder per number; in the picture of folder i only pixel i is white."""
    names = [str(first + place) for place in range(_NUMBERED)]
    for place, name in enumerate(names):
        pixels = np.zeros((16, 3), np.uint8)
        pixels[place] = 255
        (folder / name).mkdir(parents=True)
        Image.fromarray(pixels.reshape(4, 4, 3)).save(str(folder / name / "a.png"))
    return names


def _trained_on(make_linear: Make, names: list[str], order: list[str]) -> bytes:
    """A network for the pictures of `_numbered`, whose class i is the folder ``order[i]``."""
    weights = np.zeros((_NUMBERED, 16, 3), np.float32)
    for index, name in enumerate(order):
        weights[index, names.index(name)] = 1
    return make_linear(weights.reshape(_NUMBERED, 48), (1, 4, 4, 3))


def test_folders_named_by_numbers_are_class_indices_and_have_names(
    make_linear: Make, tmp_path: Path
) -> None:
    """10 is class 10, not behind class 1."""
    names = _numbered(tmp_path / "data")
    model = _trained_on(make_linear, names, names)
    plain = evaluate(model, tmp_path / "data")
    assert (plain.metrics["top1"], plain.warnings) == (1, ())
    assert plain.class_names == tuple(names)
    # Names other than the folders' do not prove anything about their order.
    told = evaluate(model, tmp_path / "data", labels=[f"sign {name}" for name in names])
    assert (told.metrics["top1"], told.warnings) == (1, ())


@pytest.mark.parametrize("first", [0, 1])
def test_a_network_with_folders_sorted_as_text_is_detected(
    make_linear: Make, tmp_path: Path, first: int
) -> None:
    """The order of image_dataset_from_directory and ImageFolder; the warning's fix works."""
    names = _numbered(tmp_path / "data", first)
    model = _trained_on(make_linear, names, sorted(names))
    result = evaluate(model, tmp_path / "data", label_offset=-first)
    moved = sum(name != other for name, other in zip(names, sorted(names)))
    assert result.metrics["top1"] == pytest.approx(1 - moved / _NUMBERED)
    (warning,) = result.warnings
    assert warning.startswith(f"{moved} answers are right if the class folders are counted in the")
    assert ", ".join(sorted(names)[:5]) in warning
    told = evaluate(model, tmp_path / "data", labels=sorted(names))
    assert (told.metrics["top1"], told.warnings) == (1, ())
