# SPDX-License-Identifier: Apache-2.0
"""Trained networks of every kind become integer-only models, or an error with a reason."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import OutputError, UnsupportedModelError, UsageError
from edgekit.formats.tflite import read_model
from edgekit.host.convert import ConvertResult, NotEdgeTpuModelError, convert
from edgekit.host.convert.enforce import broken_rules
from edgekit.runtime import Runner

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]


def _check(result: ConvertResult, least_snr_db: float = 20) -> None:
    """The written model follows every rule and answers like the float model."""
    model = read_model(result.output)
    assert broken_rules(model, "uint8") == []
    assert result.enforced
    assert result.bytes == Path(result.output).stat().st_size
    assert result.agreement is not None
    assert all(snr is None or snr > least_snr_db for snr in result.agreement.snr_db)


def test_a_keras_file_becomes_the_tutorials_operators(
    keras_file: Path, samples: list[np.ndarray], tmp_path: Path
) -> None:
    result = convert(keras_file, data=samples, output=tmp_path / "m.tflite")
    _check(result)
    model = read_model(result.output)
    assert [op.opcode for op in model.main.operators] == [
        "QUANTIZE",
        "RESHAPE",
        "CONV_2D",
        "MAX_POOL_2D",
        "RESHAPE",
        "FULLY_CONNECTED",
        "QUANTIZE",
    ]
    assert (result.source_kind, result.num_samples) == ("keras", 40)
    assert (result.inputs[0].dtype, result.outputs[0].dtype) == ("uint8", "uint8")
    assert result.inputs[0].calibration_max == pytest.approx(max(s.max() for s in samples))
    assert result.peak_rss_bytes > 100_000_000
    assert result.ratio == pytest.approx((result.float_bytes or 0) / result.bytes)
    json.loads(result.to_json())


def test_the_answers_are_those_of_keras(
    classifier: Any,  # noqa: ANN401
    samples: list[np.ndarray],
    tmp_path: Path,
) -> None:
    result = convert(classifier, data=samples, output=tmp_path / "m.tflite")
    expected = np.asarray(classifier(np.stack(samples), training=False))
    with Runner(result.output) as runner:
        actual = np.concatenate([runner.predict(sample[None])[0] for sample in samples])
    step = result.outputs[0].scale
    assert step is not None
    assert np.abs(actual - expected).max() < 4 * step


@pytest.mark.parametrize(
    "form", ["h5", "tf_keras.keras", "saved_model", "frozen.pb", "float.tflite"]
)
def test_every_form_of_a_network_converts(
    form: str, keras_file: Path, samples: list[np.ndarray], tmp_path: Path
) -> None:
    source = _SAVERS[form](keras_file, tmp_path / form)
    _check(convert(source, data=samples, output=tmp_path / "m.tflite"))


def _old_keras_model() -> Any:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf_keras  # noqa: PLC0415
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            layers.InputLayer((8, 8)),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )


def _save_old(_: Path, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _old_keras_model().save(str(path))
    return path


def _export(keras_file: Path, path: Path) -> Path:
    import keras  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.models.load_model(keras_file).export(str(path), verbose=False)
    return path


def _freeze(_: Path, path: Path) -> Path:
    """A graph as TensorFlow 1 froze it: constants, a placeholder, one output."""
    import tensorflow as tf  # noqa: PLC0415

    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (None, 8, 8), "image")
        flat = tf.reshape(image, (-1, 64))
        weights = np.random.default_rng(3).normal(size=(64, 4)).astype(np.float32)
        tf.nn.softmax(tf.matmul(flat, tf.constant(weights)), name="answer")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def _float_tflite(keras_file: Path, path: Path) -> Path:
    convert(keras_file, output=path, mode="float")
    return path


_SAVERS = {
    "h5": _save_old,
    "tf_keras.keras": _save_old,
    "saved_model": _export,
    "frozen.pb": _freeze,
    "float.tflite": _float_tflite,
}


def test_several_inputs_and_outputs_keep_their_names_and_order(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    layers = keras.layers
    left, right = keras.Input((6,), name="left"), keras.Input((4, 4, 2), name="right")
    joined = layers.Concatenate()(
        [layers.Dense(5, activation="relu")(left), layers.Flatten()(layers.Conv2D(3, 3)(right))]
    )
    model = keras.Model([left, right], [layers.Dense(3)(joined), layers.Dense(2)(joined)])
    random = np.random.default_rng(4)
    samples = [
        {"right": random.random((4, 4, 2)), "left": random.random(6) * 100} for _ in range(20)
    ]
    result = convert(model, data=samples, output=tmp_path / "m.tflite")
    _check(result)
    assert [list(each.shape) for each in result.inputs] == [[1, 6], [1, 4, 4, 2]]
    assert [list(each.shape) for each in result.outputs] == [[1, 3], [1, 2]]
    maxima = [each.calibration_max for each in result.inputs]
    assert maxima[0] is not None
    assert maxima[1] is not None
    assert maxima[0] > 50 > 1 > maxima[1]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN", "Bidirectional"])
def test_recurrent_layers_of_fixed_length_become_integers(
    keras: Any,  # noqa: ANN401
    kind: str,
    tmp_path: Path,
) -> None:
    layers = keras.layers
    layer = (
        layers.Bidirectional(layers.LSTM(6, return_sequences=True))
        if kind == "Bidirectional"
        else getattr(layers, kind)(6)
    )
    model = keras.Sequential([keras.Input((5, 3)), layer, layers.Dense(2)])
    _check(convert(model, data="random", output=tmp_path / "m.tflite"), least_snr_db=18)


def test_a_recurrent_layer_of_open_length_names_the_dimension(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
    with pytest.raises(UnsupportedModelError, match="dimensions are unknown") as caught:
        convert(model, data="random", output=tmp_path / "m.tflite")
    assert "--input-shape 1,N,3" in caught.value.fix
    _check(convert(model, data="random", output=tmp_path / "m.tflite", input_shape=(1, 4, 3)))


def test_layers_without_integer_form_are_named_and_nothing_is_written(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(6), layers.Activation("mish", name="my_mish")]
    )
    with pytest.raises(NotEdgeTpuModelError) as caught:
        convert(model, data="random", output=tmp_path / "m.tflite")
    assert "my_mish" in caught.value.why
    assert all(issue.fix for issue in caught.value.issues)
    assert {issue.code for issue in caught.value.issues} >= {"quant.float_tensor"}
    assert list(tmp_path.iterdir()) == []


def test_a_grouped_convolution_is_split(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """Compiler 16 does not read CONV_2D of version 6, which the quantizer writes."""
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(8, 3, groups=2)])
    data = list(np.random.default_rng(1).random((20, 8, 8, 4), np.float32))
    result = convert(model, data=data, output=tmp_path / "m.tflite")
    _check(result, 30)
    assert result.operators["CONV_2D"] == 2


def test_many_groups_share_operators(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    convolution = keras.layers.Conv2D(144, 3, groups=36)
    model = keras.Sequential([keras.Input((8, 8, 72)), convolution])
    result = convert(model, data="random", num_samples=2, output=tmp_path / "m.tflite")
    assert result.enforced
    assert 1 < result.operators["CONV_2D"] <= 32


def test_an_operator_that_the_compiler_does_not_know_is_refused(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, keras.ops.sign(keras.layers.Conv2D(4, 3)(image)))
    with pytest.raises(NotEdgeTpuModelError, match="broken rule") as caught:
        convert(model, data="random", num_samples=2, output=tmp_path / "m.tflite")
    assert caught.value.issues[0].code == "map.op_unknown"
    assert "edgekit fix" not in caught.value.fix  # there is no file to fix


@pytest.mark.parametrize("mode", ["float", "dynamic", "float-fallback"])
def test_the_tutorials_other_modes_are_not_enforced(
    mode: str, keras_file: Path, samples: list[np.ndarray], tmp_path: Path
) -> None:
    result = convert(keras_file, data=samples, output=tmp_path / "m.tflite", mode=mode)
    assert not result.enforced
    assert result.inputs[0].dtype == "float32"
    with Runner(result.output) as runner:
        assert runner.predict(samples[0][None])[0].shape == (1, 4)


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_other_input_types_are_possible(
    io: str, keras_file: Path, samples: list[np.ndarray], tmp_path: Path
) -> None:
    result = convert(keras_file, data=samples, output=tmp_path / "m.tflite", io=io)
    assert (result.inputs[0].dtype, result.outputs[0].dtype) == (io, io)
    assert broken_rules(read_model(result.output), io) == []


def test_the_batch_can_be_chosen(
    keras_file: Path, samples: list[np.ndarray], tmp_path: Path
) -> None:
    result = convert(keras_file, data=samples, output=tmp_path / "m.tflite", batch_size=3)
    assert result.inputs[0].shape == (3, 8, 8)


def test_wrong_arguments_end_before_tensorflow_starts(keras_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.tflite"
    for options in ({"io": "int4"}, {"mode": "best"}, {"num_samples": 0}, {"batch_size": 0}, {}):
        with pytest.raises(UsageError):
            convert(keras_file, output=out, **options)
    with pytest.raises(OutputError):
        convert(keras_file, data="random", output=tmp_path / "none" / "m.tflite")
    with pytest.raises(UsageError, match="would overwrite"):
        convert(keras_file, data="random", output=keras_file)
    assert list(tmp_path.iterdir()) == []
