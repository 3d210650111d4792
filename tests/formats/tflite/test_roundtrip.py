# SPDX-License-Identifier: Apache-2.0
"""A written model is read back equal in every field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    SignatureDef,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)

_EMPTY = np.empty(0, np.uint8)


def small_model() -> Model:
    """RESHAPE with its shape as a constant and as an option, followed by a custom operator."""
    quantization = Quantization(scale=(0.5,), zero_point=(-3,), min=(-1.0,), max=(1.0,))
    tensors = (
        Tensor("in", (1, 4), "INT8", 0, quantization, shape_signature=(-1, 4)),
        Tensor("shape", (2,), "INT32", 1),
        Tensor("mid", (2, 2), "INT8", 0, quantization, has_rank=True),
        Tensor("out", (2, 2), "INT8", 0, Quantization((0.5, 0.25), (0, 0), 1), is_variable=True),
    )
    operators = (
        Operator("RESHAPE", 1, (0, 1), (2,), {"new_shape": (2, 2)}, "ReshapeOptions"),
        Operator(
            "CUSTOM",
            1,
            (2, -1),
            (3,),
            custom_code="mine",
            custom_options=b"\x01\x02",
            builtin_code=32,
        ),
    )
    shape = np.frombuffer(np.array([2, 2], "<i4").tobytes(), np.uint8)
    return Model(
        subgraphs=(Subgraph(tensors, (0,), (3,), operators, "main"),),
        buffers=(_EMPTY, shape),
        description="by hand",
        metadata={"min_runtime_version": 1},
        signature_defs=(SignatureDef("serving_default", {"x": 0}, {"y": 3}),),
    )


def assert_equal(left: Model, right: Model) -> None:
    # builtin_code is the number in a file; models built by hand may leave it out.
    def plain(model: Model) -> Model:
        subgraphs = tuple(
            replace(
                subgraph,
                operators=tuple(replace(op, builtin_code=-1) for op in subgraph.operators),
            )
            for subgraph in model.subgraphs
        )
        return replace(model, subgraphs=subgraphs, buffers=())

    assert plain(left) == plain(right)
    assert len(left.buffers) == len(right.buffers)
    for a, b in zip(left.buffers, right.buffers):
        np.testing.assert_array_equal(a, b)


def test_every_field_is_read_back() -> None:
    assert_equal(read_model(write_model(small_model())), small_model())


def test_constants_have_their_shape_and_type() -> None:
    model = read_model(write_model(small_model()))
    data = model.data(model.main.tensors[1])
    assert data is not None
    assert data.tolist() == [2, 2]
    assert data.dtype == np.int32
    assert model.data(model.main.tensors[0]) is None


def test_constants_are_aligned_as_kernels_need() -> None:
    """schema.fbs requires 16 bytes; an aligned load at another address would crash."""
    content = write_model(small_model())
    view = read_model(content).buffers[1]
    start = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    assert (view.__array_interface__["data"][0] - start) % 16 == 0


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    shape=st.lists(st.integers(0, 5), max_size=4).map(tuple),
    scale=st.lists(st.floats(2.0**-20, 1024, width=32), min_size=1, max_size=4).map(tuple),
    name=st.text(max_size=8),
)
def test_any_tensor_is_read_back(
    shape: tuple[int, ...], scale: tuple[float, ...], name: str
) -> None:
    quantization = Quantization(scale, (0,) * len(scale))
    tensor = Tensor(name, shape, "UINT8", 0, quantization)
    model = Model((Subgraph((tensor,), (0,), (0,), ()),), (_EMPTY,))
    assert_equal(read_model(write_model(model)), model)


@pytest.mark.corpus
def test_every_model_of_the_corpus_is_read_back(corpus: Path) -> None:
    paths = sorted(corpus.rglob("*.tflite"))
    assert len(paths) > 90
    for path in paths:
        model = read_model(path)
        assert_equal(read_model(write_model(model)), model)
