# SPDX-License-Identifier: Apache-2.0
"""Files after a model: read by name, within limits; damaged ones are refused."""

from __future__ import annotations

import io
import zipfile

import pytest

from edgekit.errors import ModelFormatError
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite_metadata import read_files
from edgekit.tasks import attached_labels

_MODEL = b"any bytes before an archive"


def _attached(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return _MODEL + stream.getvalue()


def test_only_wanted_files_are_unpacked() -> None:
    """The other one is damaged: unpacking it would raise."""
    content = bytearray(
        _attached({"labels.txt": b"cat\ndog\n", "other.bin": bytes(range(256)) * 9})
    )
    place = content.index(b"other.bin") + len(b"other.bin")
    content[place : place + 20] = b"\xff" * 20
    assert attached_labels(ModelFile(bytes(content)), 2) == ["cat", "dog"]
    with pytest.raises(ModelFormatError, match="after the model"):
        read_files(bytes(content))


def test_bombs_are_refused_before_they_are_unpacked() -> None:
    content = _attached({f"{index}.txt": bytes(1 << 20) for index in range(40)})
    assert len(content) < 1 << 17
    with pytest.raises(ModelFormatError, match="declare 41943040 bytes"):
        attached_labels(ModelFile(content), 2)
    assert read_files(content, lambda name: name == "7.txt") == {"7.txt": bytes(1 << 20)}


def test_more_files_than_models_have_are_refused() -> None:
    with pytest.raises(ModelFormatError, match="5000 files"):
        read_files(_attached({f"{index}": b"" for index in range(5000)}))
