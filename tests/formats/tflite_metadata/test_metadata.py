# SPDX-License-Identifier: Apache-2.0
"""Labels and normalization inside a model: written, read back, and read from Google's files."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.errors import EdgeKitError, ModelFormatError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, read_model, write_model
from edgekit.formats.tflite_metadata import (
    LabelFile,
    ModelMetadata,
    Normalization,
    TensorMetadata,
    read_metadata,
    read_notes,
    write_metadata,
)
from edgekit.formats.tflite_metadata.reader import model_size

_GOOGLE = "compiled/google-coral__test_data"
_TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)
_FLOATS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=3).map(tuple)
_TENSORS = st.builds(
    TensorMetadata,
    name=_TEXT,
    description=_TEXT,
    content=st.sampled_from(["", "feature", "image"]),
    normalization=st.none() | st.builds(Normalization, _FLOATS, _FLOATS),
    label_files=st.lists(st.builds(LabelFile, _TEXT, st.booleans()), max_size=2).map(tuple),
    min=_FLOATS | st.just(()),
    max=_FLOATS | st.just(()),
)
_METADATA = st.builds(
    ModelMetadata,
    name=_TEXT,
    description=_TEXT,
    author=_TEXT,
    licence=_TEXT,
    inputs=st.lists(_TENSORS, max_size=2).map(tuple),
    outputs=st.lists(_TENSORS, max_size=2).map(tuple),
    files=st.dictionaries(st.sampled_from(["labels.txt", "b/c"]), st.binary(max_size=30)),
)


def _plain() -> bytes:
    tensors = (Tensor("in", (1, 2), "INT8", 0), Tensor("out", (1, 2), "INT8", 0))
    reshape = Operator("RELU", 1, inputs=(0,), outputs=(1,))
    return write_model(
        Model((Subgraph(tensors, (0,), (1,), (reshape,)),), (np.empty(0, np.uint8),))
    )


_PLAIN = _plain()


@given(_METADATA)
def test_written_metadata_is_read_back_equal(metadata: ModelMetadata) -> None:
    content = write_metadata(_PLAIN, metadata)
    assert read_metadata(content) == metadata
    assert write_metadata(_PLAIN, metadata) == content
    assert read_model(content).subgraphs == read_model(_PLAIN).subgraphs


def test_a_model_without_metadata_has_none() -> None:
    assert read_metadata(_PLAIN) is None
    assert read_notes(_PLAIN).preprocess == ""


def test_metadata_replaces_earlier_metadata() -> None:
    first = write_metadata(_PLAIN, ModelMetadata(name="one"), "unit")
    second = write_metadata(first, ModelMetadata(name="two"), "tf")
    found = read_metadata(second)
    assert found is not None
    assert found.name == "two"
    assert read_notes(second).preprocess == "tf"
    assert len(read_model(second).buffers) == len(read_model(first).buffers)


def test_the_exact_preprocessing_has_priority_over_the_standard_one() -> None:
    image = TensorMetadata(normalization=Normalization((127.5,), (127.5,)))
    standard = write_metadata(_PLAIN, ModelMetadata(inputs=(image,)))
    assert read_notes(standard).preprocess == "mean=127.5,std=127.5"
    exact = write_metadata(_PLAIN, ModelMetadata(inputs=(image,)), "tf,resize=crop")
    assert read_notes(exact).preprocess == "tf,resize=crop"


@pytest.mark.parametrize("text", [b"a\nb\n", b"a\nb", b"a\r\nb\r\n"])
def test_labels_are_lines_with_any_line_end(text: bytes) -> None:
    output = TensorMetadata(label_files=(LabelFile("labels.txt"),))
    assert ModelMetadata(outputs=(output,), files={"labels.txt": text}).labels == ("a", "b")


@given(st.data())
@settings(max_examples=300)
def test_damage_is_an_error_or_has_no_effect(data: st.DataObject) -> None:
    image = TensorMetadata("in", normalization=Normalization((1.0, 2.0, 3.0), (4.0,)))
    metadata = ModelMetadata("net", inputs=(image,), files={"labels.txt": b"a\nb\n"})
    content = bytearray(write_metadata(_PLAIN, metadata))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(EdgeKitError):
        read_metadata(bytes(content))


def test_a_label_file_that_unpacks_to_gigabytes_is_refused() -> None:
    stream = io.BytesIO(_with_buffer())
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", bytes(17 << 20))
    with pytest.raises(ModelFormatError, match="damaged"):
        read_metadata(stream.getvalue())


def _with_buffer() -> bytes:
    return write_metadata(_PLAIN, ModelMetadata(name="net"))


@pytest.mark.corpus
@pytest.mark.parametrize("suffix", ["", "_edgetpu"])
def test_metadata_of_google_is_read_as_it_is(corpus: Path, suffix: str) -> None:
    content = (corpus / _GOOGLE / f"mobilenet_v1_0.25_128_quant{suffix}.tflite").read_bytes()
    metadata, notes = read_metadata(content), read_notes(content)
    assert metadata is not None
    assert metadata.inputs[0].content == "image"
    assert metadata.inputs[0].colour_space == "rgb"
    assert notes.preprocess == "mean=127.5,std=127.5"
    assert len(notes.labels) == 1001
    assert notes.labels[:2] == ("background", "tench, Tinca tinca")


@pytest.mark.corpus
def test_metadata_of_google_is_equal_after_it_is_written_again(corpus: Path) -> None:
    content = (corpus / _GOOGLE / "mobilenet_v1_0.75_192_quant.tflite").read_bytes()
    metadata = read_metadata(content)
    assert metadata is not None
    assert read_metadata(write_metadata(content, metadata)) == metadata


@pytest.mark.corpus
def test_compiled_models_get_metadata_without_other_changes(corpus: Path) -> None:
    """The file contains what the compiler wrote, byte for byte and with the same alignment."""
    labels = {"labels.txt": b"a\nb\n"}
    output = TensorMetadata("out", label_files=(LabelFile("labels.txt"),))
    metadata = ModelMetadata("net", outputs=(output,), files=labels)
    paths = sorted((corpus / "compiled").rglob("*_edgetpu.tflite"))[::7]
    for path in paths:
        content = path.read_bytes()
        old, written = read_model(content), write_metadata(content, metadata, "tf")
        new, kept = read_model(written), content[: model_size(content)]
        assert written.index(kept) % 64 == 0
        assert new.subgraphs == old.subgraphs
        assert all(map(np.array_equal, new.buffers, _but_metadata(old, new)))
        assert old.metadata.items() - new.metadata.items() == set()
        assert (read_notes(written).labels, read_notes(written).preprocess) == (("a", "b"), "tf")
    assert len(paths) > 5


def _but_metadata(old: Model, new: Model) -> list[NDArray[np.uint8]]:
    """The buffers of ``old`` with those of the metadata in ``new``."""
    own = {new.metadata[name] for name in ("TFLITE_METADATA", "EDGEKIT_PREPROCESS")}
    return [
        buffer if index in own else old.buffers[index] for index, buffer in enumerate(new.buffers)
    ]


def test_a_tensors_buffer_is_never_replaced() -> None:
    """A file may name any buffer as its metadata."""
    model = read_model(_PLAIN)
    odd = write_model(dataclasses.replace(model, metadata={"TFLITE_METADATA": 0}))
    written = read_model(write_metadata(odd, ModelMetadata(name="net")))
    assert written.metadata["TFLITE_METADATA"] == 1
    assert written.buffers[0].size == 0
