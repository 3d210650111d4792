# SPDX-License-Identifier: Apache-2.0
"""Label files, also those attached to a model."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from edgekit.data import read_labels
from edgekit.errors import DataError, InputError
from edgekit.formats.model_file import ModelFile, read_model_file
from edgekit.tasks import attached_labels, fit_labels
from edgekit.tasks.labels import ultralytics_task


def test_one_a_line_and_corals_index_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("cat\ndog\n")
    (tmp_path / "b.txt").write_text("0  person\n2: two words\n")
    assert read_labels(tmp_path / "a.txt") == ["cat", "dog"]
    assert read_labels(tmp_path / "b.txt") == ["person", "", "two words"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("lines", ["0 kat\r\n1 bj\u00f8rn", "kat\r\n\r\nbj\u00f8rn\r\n"])
def test_files_of_windows_editors_contain_the_same_names(
    tmp_path: Path, encoding: str, lines: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(lines.encode(encoding))
    assert read_labels(path) == ["kat", "bj\u00f8rn"]
    assert fit_labels(path, 2) == ["kat", "bj\u00f8rn"]


def test_numbers_that_are_not_indices_are_part_of_the_names(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    for line in ("99999999999999 Broadway", "\u00b2 squared"):
        path.write_text(line, encoding="utf-8")
        assert read_labels(path) == [line]


def test_a_remark_after_a_blank_line_is_not_a_class(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\n\nand 255 is to be ignored\n")
    assert fit_labels(path, 2) == ["cat", "dog"]


def test_labels_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\n")
    with pytest.raises(DataError, match="2 labels for 3 classes"):
        fit_labels(path, 3)
    path.write_text("\n")
    with pytest.raises(InputError, match="empty"):
        read_labels(path)


def _attach(name: str, content: str) -> bytes:
    stream = io.BytesIO(b"the model itself")
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def test_attached_labels_are_found_if_they_fit() -> None:
    model = _attach("labels.txt", "cat\ndog\n")
    assert attached_labels(ModelFile(model), 2) == ["cat", "dog"]
    assert attached_labels(ModelFile(model), 5) == []
    assert attached_labels(ModelFile(b"no archive"), 2) == []


@pytest.mark.parametrize("text", [json.dumps, str], ids=["json", "python"])
def test_ultralytics_metadata_names_task_and_classes(text: object) -> None:
    metadata = {"task": "detect", "names": {0: "person", 1: "bicycle"}, "imgsz": [320, 320]}
    name = "metadata.json" if text is json.dumps else "temp_meta.txt"
    model = _attach(name, text(metadata))  # type: ignore[operator] # one of two functions
    assert attached_labels(ModelFile(model), 2) == ["person", "bicycle"]
    assert ultralytics_task(ModelFile(model)) == "detect"


@pytest.mark.corpus
def test_googles_mobilenet_contains_its_labels(corpus: Path) -> None:
    path = corpus / "compiled" / "google-coral__test_data" / "mobilenet_v1_0.75_192_quant.tflite"
    names = attached_labels(read_model_file(path), 1001)
    assert names[:2] == ["background", "tench, Tinca tinca"]


@pytest.mark.corpus
def test_pascals_labels_with_their_remark_fit_the_model(corpus: Path) -> None:
    names = fit_labels(corpus / "coral" / "pascal_voc_segmentation_labels.txt", 21)
    assert names[-1] == "tvmonitor"
