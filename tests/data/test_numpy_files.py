# SPDX-License-Identifier: Apache-2.0
"""Damaged .npz and .npy files are errors, and nothing is read beyond their end."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.data.numpy_files import NpzFile, read_npy
from edgekit.errors import DataError, InputError


def _npy(array: Any) -> bytes:  # noqa: ANN401
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _npz(path: Path, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(str(path), "w", compression) as archive:
        archive.writestr("x.npy", content)
    return path


def test_arrays_are_read_as_numpy_saved_them(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "x": np.arange(24).reshape(2, 3, 4),
        "y": np.float32(7),
        "z": np.zeros((0, 3)),
    }
    np.savez_compressed(str(tmp_path / "a.npz"), **arrays)
    with NpzFile(tmp_path / "a.npz") as file:
        assert file.names == ["x", "y", "z"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name], array)
    np.save(str(tmp_path / "a.npy"), arrays["x"])
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), arrays["x"])


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_anywhere_is_a_data_error_or_harmless(tmp_path: Path, compression: int) -> None:
    random = np.random.default_rng(5)
    whole = _npz(tmp_path / "a.npz", _npy(random.normal(size=(40, 5))), compression).read_bytes()
    path = tmp_path / "b.npz"
    refused = 0
    for _ in range(1500):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 6)):
            content[place] = random.integers(0, 256)
        path.write_bytes(content[: random.integers(1, len(content) + 1)])
        try:
            with NpzFile(path) as file:
                _ = [file[name] for name in file.names]
        except InputError:
            refused += 1
    assert refused > 700


def test_the_bytes_of_a_damaged_file_do_not_fill_the_message(tmp_path: Path) -> None:
    content = bytearray(
        _npz(tmp_path / "x.npz", _npy(np.random.default_rng(0).random(4000))).read_bytes()
    )
    content[26:28] = b"\xff\xff"  # the length of the first member's name
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot read the arrays") as caught, NpzFile(
        tmp_path / "x.npz"
    ) as file:
        file["x"]
    assert len(str(caught.value)) < 600


def test_damaged_heads_of_an_npy_are_data_errors(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    whole = _npy(np.arange(20.0))
    path = tmp_path / "b.npy"
    for _ in range(1500):
        content = bytearray(whole)
        for place in random.integers(0, 128, random.integers(1, 4)):
            content[place] = random.integers(0, 256)
        path.write_bytes(content)
        try:
            read_npy(path)
        except DataError:
            continue


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    content = _npy(np.array([{"a": 1}], dtype=object))
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"[Oo]bject"):
        read_npy(tmp_path / "a.npy")
    with NpzFile(_npz(tmp_path / "a.npz", content)) as file, pytest.raises(DataError):
        _ = file["x"]


def test_an_array_that_declares_more_bytes_than_the_file_has_is_not_allocated(
    tmp_path: Path,
) -> None:
    head = _npy(np.zeros(1)).replace(b"(1,), }", b"(9999999999999,), }")
    with NpzFile(_npz(tmp_path / "a.npz", head)) as file, pytest.raises(
        DataError, match="states 79999999999992 bytes"
    ):
        _ = file["x"]


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    """300 MB of zeros in 300 kB."""
    path = tmp_path / "a.npz"
    archive = zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("x.npy", "w") as stream:
        stream.write(_npy(np.zeros(1)))
        for _ in range(300):
            stream.write(bytes(1 << 20))
    with NpzFile(path) as file, pytest.raises(InputError, match=r"x\.npy would unpack to"):
        _ = file["x"]
