# SPDX-License-Identifier: Apache-2.0
"""The open compiler's note is read as it was written, beside the rest of a model's metadata."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import ModelFormatError
from edgekit.formats.tflite import Model, add_metadata, read_model, write_model
from edgekit.formats.tflite_metadata import (
    IN_EMULATOR,
    OPEN_COMPILER,
    CompilerNote,
    LabelFile,
    ModelMetadata,
    TensorMetadata,
    read_compiler_note,
    read_metadata,
    read_notes,
    write_compiler_note,
    write_metadata,
)
from tests.conftest import integer_classifier

_WORDS = st.text(max_size=5)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | _WORDS,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(_WORDS, each, max_size=3),
)
_PLAIN = write_model(integer_classifier())
_NOTE = CompilerNote(OPEN_COMPILER, IN_EMULATOR, {"inputs": ["zero", "random"], "findings": 0})


@given(st.text(), st.text(), st.dictionaries(st.text(), _VALUES, max_size=4))
def test_written_metadata_is_read_back_equal(
    compiler: str, verified: str, record: dict[str, object]
) -> None:
    note = CompilerNote(compiler, verified, record)
    assert read_compiler_note(read_model(write_compiler_note(_PLAIN, note))) == note


def test_labels_and_preprocessing_stay(int8_model: Model) -> None:
    labels = ModelMetadata(
        outputs=(TensorMetadata(label_files=(LabelFile("labels.txt"),)),),
        files={"labels.txt": b"cat\ndog\n"},
    )
    content = write_metadata(write_model(int8_model), labels, "unit,resize=8x8")
    written = write_compiler_note(content, _NOTE)
    assert read_notes(written) == read_notes(content)
    assert read_notes(written).labels == ("cat", "dog")
    assert read_metadata(written) == read_metadata(content)
    assert read_compiler_note(read_model(written)) == _NOTE
    assert write_compiler_note(content, _NOTE) == written


def test_a_later_note_replaces_the_first(int8_model: Model) -> None:
    first = write_compiler_note(write_model(int8_model), _NOTE)
    other = CompilerNote("another", "not verified")
    assert read_compiler_note(read_model(write_compiler_note(first, other))) == other


def test_a_model_of_another_compiler_has_no_note(int8_model: Model) -> None:
    assert read_compiler_note(int8_model) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        json.dumps({"schema": "edgekit.compiler-note/2"}).encode(),
        json.dumps({"schema": CompilerNote.schema, "compiler": 1, "verified": "a"}).encode(),
        json.dumps(
            {"schema": CompilerNote.schema, "compiler": "a", "verified": "a", "verification": []}
        ).encode(),
    ],
)
def test_a_damaged_note_is_an_error_with_a_reason(int8_model: Model, content: bytes) -> None:
    damaged = add_metadata(write_model(int8_model), {"EDGEKIT_COMPILER": content})
    with pytest.raises(ModelFormatError, match="note in the model is damaged") as caught:
        read_compiler_note(read_model(damaged))
    assert caught.value.where == "EDGEKIT_COMPILER"
