# SPDX-License-Identifier: Apache-2.0
"""The bytes of a source decide its format; an error explains other files."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from edgekit.errors import InputError, ModelFormatError, UsageError
from edgekit.host.convert import convert
from edgekit.host.convert.sources import find_source, saved_object


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("m.keras", b"PK\x03\x04rest", "keras"),
        ("m.bin", b"\x89HDF\r\n\x1a\nrest", "keras"),
        ("m.pb", b"\n\x05", "frozen_graph"),
        ("m.bin", b"\x1c\0\0\0TFL3", "tflite"),
    ],
)
def test_formats_are_recognized_by_their_bytes(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(content)
    source = find_source(tmp_path / name)
    assert source.kind == kind
    assert len(source.sha256()) == 64


def test_a_saved_model_is_its_folder_or_the_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    for path in (tmp_path, tmp_path / "saved_model.pb"):
        source = find_source(path)
        assert (source.kind, source.path) == ("saved_model", tmp_path)


def test_the_hash_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    before = find_source(tmp_path).sha256()
    (tmp_path / "variables").write_bytes(b"")
    assert find_source(tmp_path).sha256() != before


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.keras", b"", "is empty"),
        ("m.h5", b"nothing of the kind", "a .h5 file is HDF5, this one is not"),
        ("m.txt", b"hello", "not a model that edgekit can convert"),
        ("m.h5", b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFormatError, match=says):
        find_source(tmp_path / name)


def _zip(entry: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(entry, "")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("net.pt", b"PK\x03\x04zip", "torch_pickle"),
        ("net.pth", b"\x80\x02pickle", "torch_pickle"),
        ("net.pt2", _zip("model/version"), "torch"),
        ("net.keras", b"PK\x03\x04zip", "keras"),
    ],
)
def test_files_of_pytorch_are_told_from_those_of_keras(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert find_source(tmp_path / name).kind == kind


def test_the_error_for_a_folder_that_is_not_a_saved_model_lists_its_content(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError) as caught:
        find_source(tmp_path)
    assert caught.value.why == "it is empty"
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelFormatError) as caught:
        find_source(tmp_path)
    assert "notes.txt" in caught.value.why


def test_a_missing_source_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the model"):
        convert(tmp_path / "none.keras", data="random", output=tmp_path / "m.tflite")


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="pipe"):
        find_source(tmp_path / "fifo")


def test_an_object_that_is_not_a_model_is_refused() -> None:
    with pytest.raises(UsageError, match="neither a path nor a model"), saved_object(42):
        pass
