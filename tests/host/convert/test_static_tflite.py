# SPDX-License-Identifier: Apache-2.0
"""Unknown dimensions become fixed, and values computed from shapes become constants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, read_model, write_model
from edgekit.host.convert import convert
from edgekit.host.convert.static_tflite import fold_constants, make_static
from edgekit.rewrite import prepare
from edgekit.rewrite.edit import shapes_hold
from edgekit.runtime import Runner

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]


@pytest.fixture(scope="module")
def dynamic(keras: Any) -> Model:  # noqa: ANN401
    """The result of the tutorial's recipe: an unknown batch, with SHAPE, STRIDED_SLICE and PACK."""
    import tensorflow as tf  # noqa: PLC0415

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4, 4)), layers.Reshape((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten()]
    )
    return read_model(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def test_the_tutorials_dynamic_batch_is_folded_away(dynamic: Model) -> None:
    assert "SHAPE" in {op.opcode for op in dynamic.main.operators}
    static = make_static(dynamic, [(2, 4, 4)], "model")
    opcodes = {op.opcode for op in static.main.operators}
    assert not opcodes & {"SHAPE", "STRIDED_SLICE", "PACK"}
    assert not any(tensor.is_dynamic for tensor in static.main.tensors)
    image = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    with Runner(write_model(static), kernels="reference") as runner:
        both = runner.predict(image)[0]
    with Runner(write_model(dynamic), kernels="reference") as runner:
        single = runner.predict(image[:1])[0]
    np.testing.assert_array_equal(both[:1], single)


def test_a_static_model_is_not_changed(float_model: Model) -> None:
    assert make_static(float_model, [(1, 8, 8, 1)], "model") is float_model


def test_shapes_that_do_not_work_are_an_error(float_model: Model) -> None:
    with pytest.raises(UnsupportedModelError, match="does not run with inputs of shape"):
        make_static(float_model, [(1, 5, 5, 1)], "model")


def test_shapes_that_contradict_each_other_are_computed_or_refused(dynamic: Model) -> None:
    """As onnx2tf without onnxsim writes them: 1 where it did not know a size."""
    static = make_static(dynamic, [(1, 4, 4)], "model")
    graph = static.main
    last = graph.outputs[0]
    guessed = list(graph.tensors)
    guessed[last] = replace(guessed[last], shape=(1, 1))
    model = replace(static, subgraphs=(replace(graph, tensors=tuple(guessed)),))
    assert not shapes_hold(model)
    assert prepare(model) is model
    assert make_static(model, [(1, 4, 4)], "model").main.tensors[last].shape == (1, 8)
    with pytest.raises(UnsupportedModelError, match="contradict each other"):
        make_static(model, [(1, 5, 5)], "model")


def test_operators_on_constants_become_constants() -> None:
    two = np.frombuffer(np.array([1.5, -2.0], "<f4").tobytes(), np.uint8)
    tensors = (
        Tensor("x", (2,), "FLOAT32", 0),
        Tensor("c", (2,), "FLOAT32", 1),
        Tensor("n", (2,), "FLOAT32", 0),
        Tensor("y", (2,), "FLOAT32", 0),
    )
    none = {"fused_activation_function": "NONE"}
    operators = (
        Operator("NEG", 1, (1,), (2,), {}, "NegOptions"),
        Operator("ADD", 1, (0, 2), (3,), none, "AddOptions"),
    )
    model = Model((Subgraph(tensors, (0,), (3,), operators),), (np.empty(0, np.uint8), two))
    folded = fold_constants(model, "model")
    assert [op.opcode for op in folded.main.operators] == ["ADD"]
    with Runner(write_model(folded)) as runner:
        assert runner.invoke(np.array([1, 1], np.float32))[0].tolist() == [-0.5, 3.0]
    assert fold_constants(folded, "model") is folded


def test_a_float_tflite_with_an_open_batch_converts(dynamic: Model, tmp_path: Path) -> None:
    path = tmp_path / "float.tflite"
    path.write_bytes(write_model(dynamic))
    result = convert(path, data="random", output=tmp_path / "m.tflite")
    assert result.enforced
    assert result.inputs[0].shape == (1, 4, 4)
    assert result.source_kind == "tflite"


def test_a_model_that_is_integer_already_is_refused(int8_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="already quantized"):
        convert(int8_path, data="random", output=tmp_path / "m.tflite")
