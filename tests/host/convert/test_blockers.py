# SPDX-License-Identifier: Apache-2.0
"""A network that cannot become an Edge TPU model is refused before its data are opened."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import check
from edgekit.cli.main import main
from edgekit.errors import DataError, EdgeKitError, UnsupportedModelError, UsageError
from edgekit.formats.tflite import read_model, write_model
from edgekit.host.convert import NotEdgeTpuModelError, convert
from edgekit.runtime import Runner
from tests.host.convert.improve.float_graph import FloatGraph

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]
_NO_DATA = "/there/is/no/such/data"
_SHAPE = (1, 8, 8, 8)


def float_tflite(path: Path, function: Callable[[Any], Any], dtype: str = "float32") -> Path:
    """Convert ``function`` of one (1, 8, 8, 8) tensor with TensorFlow."""
    import tensorflow as tf  # noqa: PLC0415

    concrete = tf.function(function).get_concrete_function(tf.TensorSpec(_SHAPE, dtype, "x"))
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    return path


def convolved(x: Any) -> Any:  # noqa: ANN401 - TensorFlow has no types
    """A convolution and a sigmoid."""
    import tensorflow as tf  # noqa: PLC0415

    weights = np.random.default_rng(1).normal(0, 0.3, (3, 3, 8, 8)).astype(np.float32)
    return tf.sigmoid(tf.nn.conv2d(x, weights, 1, "SAME"))


def _functions() -> dict[str, Callable[[Any], Any]]:
    import tensorflow as tf  # noqa: PLC0415

    return {
        "SQRT": lambda x: tf.sqrt(convolved(x)),
        "RFFT2D": lambda x: tf.abs(tf.signal.rfft2d(convolved(x)[..., 0])),
        "ONE_HOT": lambda x: tf.one_hot(tf.argmax(convolved(x), -1), 8),
        "TOPK_V2": lambda x: tf.math.top_k(convolved(x), 2)[0] * 2.0,
        "CAST": lambda x: tf.cast(convolved(x) > 0.5, tf.float32) * 2.0,
    }


@pytest.mark.parametrize("opcode", ["SQRT", "RFFT2D", "ONE_HOT", "TOPK_V2", "CAST"])
def test_an_operator_without_an_integer_form_is_named_before_the_data_is_opened(
    opcode: str, tmp_path: Path
) -> None:
    path = float_tflite(tmp_path / "f.tflite", _functions()[opcode])
    with pytest.raises(NotEdgeTpuModelError) as caught:
        convert(path, data=_NO_DATA, output=tmp_path / "o.tflite")
    assert any(f" {opcode}" in issue.where for issue in caught.value.issues)
    assert opcode in caught.value.fix
    # the quantizer's result is not an Edge TPU model either
    with pytest.raises(UnsupportedModelError):
        convert(path, data="random", num_samples=2, output=tmp_path / "o.tflite", stop_early=False)


def test_an_integer_input_is_named_before_the_data_is_opened(tmp_path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415

    def embed(x: Any) -> Any:  # noqa: ANN401
        table = tf.constant(np.ones((16, 4), np.float32))
        return tf.reduce_mean(tf.gather(table, x), [1, 2])

    path = float_tflite(tmp_path / "f.tflite", embed, "int32")
    with pytest.raises(NotEdgeTpuModelError) as caught:
        convert(path, data=_NO_DATA, output=tmp_path / "o.tflite")
    assert {"io.dtype", "quant.not_int8"} <= {issue.code for issue in caught.value.issues}


def test_every_blocker_is_named_at_once(tmp_path: Path) -> None:
    """GELU, which compiler 16 does not support, and an exponential."""
    import keras  # noqa: PLC0415

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(6, "gelu"), layers.Dense(6, "exponential")]
    )
    with pytest.raises(NotEdgeTpuModelError) as caught:
        convert(model, data="random", output=tmp_path / "o.tflite")
    assert {"map.op_unknown", "quant.float_tensor"} <= {each.code for each in caught.value.issues}
    assert "--replace-activations gelu=mappable" in caught.value.fix
    assert "EXP: use ReLU" in caught.value.fix
    assert "edgekit fix" not in caught.value.fix


def test_an_operation_missing_in_tensorflow_lite_is_named(tmp_path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415

    module = tf.Module()
    function = tf.function(lambda x: tf.math.erf(x) * 2.0)
    concrete = function.get_concrete_function(tf.TensorSpec((1, 8), tf.float32))
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=concrete)
    with pytest.raises(UnsupportedModelError, match="no operator for") as caught:
        convert(tmp_path / "saved", data="random", output=tmp_path / "o.tflite")
    assert caught.value.what.endswith(" Erf")
    assert caught.value.fix.startswith("Erf: ")


def test_folded_and_unused_operations_do_not_block(tmp_path: Path) -> None:
    """Arithmetic on constants, and on shapes with a set batch, is removed before calibration."""
    import tensorflow as tf  # noqa: PLC0415

    def network(x: Any) -> Any:  # noqa: ANN401
        y = convolved(x)
        rows = tf.cast(tf.cast(tf.shape(y)[0], tf.float32) * 4.0, tf.int32)
        return tf.reshape(y, tf.stack([rows, 128]))

    path = tmp_path / "f.tflite"
    concrete = tf.function(network).get_concrete_function(tf.TensorSpec((None, *_SHAPE[1:])))
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    assert "CAST" in [op.opcode for op in read_model(path).main.operators]
    result = convert(path, data="random", num_samples=4, output=tmp_path / "o.tflite")
    assert "CAST" not in result.operators
    with pytest.raises(DataError):
        convert(path, data=[np.zeros((3, 3), np.float32)], output=tmp_path / "p.tflite")


def test_activations_of_a_float_tflite_are_replaced_before_it_is_judged(tmp_path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415

    path = float_tflite(tmp_path / "f.tflite", lambda x: tf.nn.gelu(convolved(x) * 4 - 2) * 2.0)
    with pytest.raises(NotEdgeTpuModelError, match="broken rule") as caught:
        convert(path, data=_NO_DATA, output=tmp_path / "o.tflite")
    assert "--replace-activations gelu=mappable" in caught.value.fix
    data = list(np.random.default_rng(1).random((16, *_SHAPE[1:]), np.float32))
    result = convert(
        path, data=data, output=tmp_path / "o.tflite", replace_activations="gelu=mappable"
    )
    assert "GELU" not in result.operators
    with Runner(path) as trained, Runner(result.output) as runner:
        (expected,), (actual,) = trained.predict(data[0][None]), runner.predict(data[0][None])
    assert np.abs(actual - expected).max() < 0.1


def _of_pieces(kind: str, path: Path) -> Path:
    """Write an activation that is spelled out, after a convolution."""
    g = FloatGraph(_SHAPE)
    x = g.conv(g.input, 8)
    if kind == "mish":
        more = g.arithmetic("ADD", g.simple("EXP", x), g.constant(np.array(1.0)))
        y = g.arithmetic("MUL", x, g.simple("TANH", g.simple("LOG", more)))
    else:
        bent = g.arithmetic("SUB", g.simple("EXP", x), g.constant(np.array(1.0)))
        below = g.add("MINIMUM", (bent, g.constant(np.array(0.0))), g.shape(x))
        y = g.arithmetic("ADD", g.simple("RELU", x), g.arithmetic("MUL", below, g.weights(1)))
    path.write_bytes(write_model(g.model(g.conv(y, 4))))
    return path


@pytest.mark.parametrize("kind", ["mish", "elu"])
def test_the_option_for_an_activation_is_named_for_its_parts(kind: str, tmp_path: Path) -> None:
    path = _of_pieces(kind, tmp_path / "f.tflite")
    with pytest.raises(NotEdgeTpuModelError) as caught:
        convert(path, data=_NO_DATA, output=tmp_path / "o.tflite")
    assert f"--replace-activations {kind}=mappable" in caught.value.fix
    # A part is only offered if its tensors are in the source.
    names = {tensor.name for tensor in read_model(path.read_bytes()).main.tensors}
    words = shlex.split(caught.value.fix)
    assert {words[n + 1] for n, word in enumerate(words) if word == "--outputs"} <= names
    data = list(np.random.default_rng(1).random((4, *_SHAPE[1:]), np.float32))
    result = convert(
        path, data=data, output=tmp_path / "o.tflite", replace_activations=f"{kind}=mappable"
    )
    assert check(result.output).num_mapped == sum(result.operators.values())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"signature": "serving_default"}, "--signature"),
        ({"trust_source": True}, "--trust-source"),
        ({"outputs": ["Identiti"]}, "perhaps Identity"),
        ({"inputs": ["no_such"]}, "--inputs"),
        ({"input_shape": "other=1,8,8,8"}, "--input-shape"),
        ({"mode": "float-fallback", "io": "int8"}, "--io"),
    ],
)
def test_options_that_do_not_apply_are_usage_errors(
    options: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = float_tflite(tmp_path / "f.tflite", convolved)
    with pytest.raises(UsageError) as caught:
        convert(path, data="random", output=tmp_path / "o.tflite", **options)
    assert named in str(caught.value)
    assert list(tmp_path.glob("o.*")) == []


def test_a_signature_is_refused_for_a_keras_file(keras_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--signature has no effect"):
        convert(keras_file, data="random", output=tmp_path / "o.tflite", signature="x")


@pytest.mark.parametrize("mode", ["float", "dynamic"])
def test_a_number_of_samples_is_refused_without_calibration(
    keras_file: Path, tmp_path: Path, mode: str
) -> None:
    with pytest.raises(UsageError, match="--num-samples has no effect"):
        convert(keras_file, data="random", output=tmp_path / "o.tflite", mode=mode, num_samples=5)


def test_a_float_tflite_is_cut_at_the_given_tensors(tmp_path: Path) -> None:
    """The converted part between the tensors gives the same values as in the whole network."""
    import tensorflow as tf  # noqa: PLC0415

    def network(x: Any) -> Any:  # noqa: ANN401
        return tf.sqrt(convolved(tf.cast(tf.cast(x * 255.0, tf.int32), tf.float32) / 255.0))

    path = float_tflite(tmp_path / "f.tflite", network)
    whole = read_model(path).main
    by_opcode = {op.opcode: op for op in whole.operators}
    start = whole.tensors[by_opcode["CONV_2D"].inputs[0]].name
    end = whole.tensors[by_opcode["LOGISTIC"].outputs[0]].name
    # TensorFlow moves the division into the weights: the convolution's input is 0..255.
    data = list(np.random.default_rng(1).integers(0, 256, (16, *_SHAPE[1:])).astype(np.float32))
    result = convert(path, data=data, output=tmp_path / "o.tflite", inputs=[start], outputs=[end])
    assert set(result.operators) == {"QUANTIZE", "CONV_2D", "LOGISTIC"}
    expected = np.asarray(convolved(tf.constant(data[0][None] / 255)))
    with Runner(result.output) as runner:
        (actual,) = runner.predict(data[0][None])
    assert np.abs(actual - expected).max() < 0.02
    with pytest.raises(UsageError, match="need more inputs than"):
        convert(path, data=data, output=tmp_path / "p.tflite", inputs=[end], outputs=[start])


def test_the_printed_cut_is_a_command_that_works(tmp_path: Path) -> None:
    """Integers before the convolution, a square root after it: the middle converts."""
    import tensorflow as tf  # noqa: PLC0415

    def network(x: Any) -> Any:  # noqa: ANN401
        return tf.sqrt(convolved(tf.cast(x, tf.float32)))

    path = float_tflite(tmp_path / "f.tflite", network, "int32")
    with pytest.raises(NotEdgeTpuModelError) as caught:
        convert(path, data=_NO_DATA, output=tmp_path / "o.tflite")
    (line,) = [each for each in caught.value.fix.splitlines() if "edgekit convert" in each]
    words = shlex.split(line.split("these: ")[1])
    words[words.index("DATA")], words[words.index("OUT.tflite")] = "random", str(tmp_path / "o")
    with pytest.raises(SystemExit) as ended:
        main([*words[1:], "--num-samples", "4"])
    assert ended.value.code == 0
    opcodes = [op.opcode for op in read_model(tmp_path / "o").main.operators]
    assert "CONV_2D" in opcodes
    assert not {"CAST", "SQRT"} & set(opcodes)


def test_a_custom_operator_is_cut_off_also_with_float16_weights_before_it(
    tmp_path: Path,
) -> None:
    """Weights from DEQUANTIZE operators before the cut are not outputs."""
    import tensorflow as tf  # noqa: PLC0415

    weights = np.random.default_rng(1).normal(0, 0.3, (3, 3, 8, 8)).astype(np.float32)

    def network(x: Any) -> Any:  # noqa: ANN401
        first = tf.sigmoid(tf.nn.conv2d(x, weights, 1, "SAME"))
        return tf.sigmoid(tf.nn.conv2d(tf.sqrt(first), weights, 1, "SAME"))

    concrete = tf.function(network).get_concrete_function(tf.TensorSpec(_SHAPE, "float32", "x"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    model = read_model(converter.convert())
    operators = tuple(
        replace(each, opcode="CUSTOM", custom_code="Landmarks2Matrix")
        if each.opcode == "SQRT"
        else each
        for each in model.main.operators
    )
    assert operators != model.main.operators
    assert "DEQUANTIZE" in [each.opcode for each in operators]
    path = tmp_path / "f.tflite"
    path.write_bytes(
        write_model(replace(model, subgraphs=(replace(model.main, operators=operators),)))
    )
    with pytest.raises(NotEdgeTpuModelError) as caught:
        convert(path, data=_NO_DATA, output=tmp_path / "o.tflite")
    assert "Landmarks2Matrix: " in caught.value.fix
    words = shlex.split(caught.value.fix.split("these: ")[1])
    words[words.index("DATA")], words[words.index("OUT.tflite")] = "random", str(tmp_path / "o")
    with pytest.raises(SystemExit) as ended:
        main([*words[1:], "--num-samples", "4"])
    assert ended.value.code == 0
    opcodes = [op.opcode for op in read_model(tmp_path / "o").main.operators]
    assert opcodes.count("CONV_2D") == 1


def test_the_error_for_a_compiled_model_states_that_it_is_compiled(tmp_path: Path) -> None:
    from tests.edgetpu.conftest import Graph  # noqa: PLC0415

    graph = Graph()
    y = graph.add("CUSTOM", (graph.feed((1, 4)),), (1, 4), custom_code="edgetpu-custom-op")
    path = tmp_path / "m_edgetpu.tflite"
    path.write_bytes(write_model(graph.model(y)))
    with pytest.raises(EdgeKitError, match="compiled already") as caught:
        convert(path, data="random", output=tmp_path / "o.tflite")
    assert "made from" in caught.value.fix
