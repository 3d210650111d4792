# SPDX-License-Identifier: Apache-2.0
"""One model file, read once: the same content from a path, bytes or a bundle."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

import edgekit
from edgekit.errors import InputError, UnsupportedModelError
from edgekit.formats.model_file import COMPILED, PLAIN, PROGRAM, ModelFile, read_model_file
from edgekit.formats.tflite import write_model

if TYPE_CHECKING:
    from pathlib import Path

    from edgekit.formats.tflite import Model


@pytest.fixture
def bundled(int8_path: Path, tmp_path: Path) -> Path:
    output = tmp_path / "net.edgekit"
    edgekit.bundle(int8_path, output=output, preprocess="unit")
    return output


def test_a_path_bytes_and_a_model_file_are_the_same_file(int8_path: Path) -> None:
    file = read_model_file(int8_path)
    content = int8_path.read_bytes()
    assert (file.path, file.content) == (str(int8_path), content)
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert read_model_file(file) is file
    assert file.model is file.model
    assert read_model_file(content).model == file.model
    assert not file.is_bundle
    assert not file.is_compiled


def test_the_hash_is_that_of_the_model_also_in_a_bundle(bundled: Path) -> None:
    file = read_model_file(bundled)
    assert file.is_bundle
    assert file.given == bundled.read_bytes()
    assert file.sha256 == hashlib.sha256(file.content).hexdigest()
    assert file.sha256 != hashlib.sha256(file.given).hexdigest()
    assert file.notes.preprocess.startswith("unit,")
    for document in (edgekit.check(bundled), edgekit.inspect(bundled), edgekit.estimate(bundled)):
        assert document.sha256 == file.sha256


def test_a_bundle_returns_the_preferred_model_or_an_error_that_it_has_none(
    bundled: Path,
) -> None:
    plain = read_model_file(bundled, PLAIN)
    assert read_model_file(plain, PROGRAM) is plain
    with pytest.raises(UnsupportedModelError, match="no model for the Edge TPU"):
        read_model_file(plain, COMPILED)


def test_a_model_made_here_is_written_once_and_not_read_again(int8_model: Model) -> None:
    file = ModelFile.of(int8_model)
    assert file.model is int8_model
    assert file.content == write_model(int8_model)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read_model_file(tmp_path / "absent.tflite")
    assert "absent.tflite" in raised.value.where
