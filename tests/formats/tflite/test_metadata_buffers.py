# SPDX-License-Identifier: Apache-2.0
"""Metadata is written before a model, whose bytes do not change."""

from __future__ import annotations

import dataclasses

import flatbuffers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, add_metadata, read_model, write_model
from tests.runtime.edgetpu.conftest import compiled_model, plain_model

_MODELS = {"plain": plain_model(), "compiled": compiled_model()}
_NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=9)
_ENTRIES = st.dictionaries(_NAMES, st.binary(min_size=1, max_size=70), min_size=1, max_size=4)


@given(st.sampled_from(sorted(_MODELS)), _ENTRIES, _ENTRIES)
def test_the_old_bytes_follow_the_new_ones_with_the_same_alignment(
    kind: str, first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    content = write_model(_MODELS[kind])
    once = add_metadata(content, first)
    twice = add_metadata(once, second)
    assert twice.endswith(once)
    assert once.endswith(content)
    assert (len(once) - len(content)) % 64 == (len(twice) - len(once)) % 64 == 0
    found, before = read_model(twice), read_model(content)
    assert _said(found) == {**first, **second}
    assert found.subgraphs == before.subgraphs
    assert all(map(np.array_equal, found.buffers, before.buffers))


def test_earlier_metadata_is_kept_and_found_by_its_name() -> None:
    model = _MODELS["plain"]
    buffers = (*model.buffers, np.frombuffer(b"2.3.0", np.uint8))
    metadata = {"min_runtime_version": len(model.buffers)}
    content = write_model(dataclasses.replace(model, buffers=buffers, metadata=metadata))
    assert _said(read_model(add_metadata(content, {"x": b"y"}))) == {
        "min_runtime_version": b"2.3.0",
        "x": b"y",
    }


@pytest.mark.host
def test_a_model_with_data_after_the_flatbuffer_is_refused() -> None:
    """Files above 2 GB store the offset of each constant from the start of the file."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    parsed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(write_model(_MODELS["plain"]), 0))
    apart = schema.BufferT()
    apart.offset, apart.size = 8, 4
    parsed.buffers.append(apart)
    builder = flatbuffers.Builder(1024)
    builder.Finish(parsed.Pack(builder), b"TFL3")
    with pytest.raises(UnsupportedModelError, match="cannot be added") as caught:
        add_metadata(bytes(builder.Output()), {"x": b"y"})
    assert "after its FlatBuffer" in caught.value.why


def _said(model: Model) -> dict[str, bytes]:
    return {name: model.buffers[index].tobytes() for name, index in model.metadata.items()}
