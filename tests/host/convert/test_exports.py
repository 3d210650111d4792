# SPDX-License-Identifier: Apache-2.0
"""Networks in PyTorch's order of axes, as exporters write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit import check
from edgekit.formats.tflite import add_metadata
from edgekit.host.convert import convert

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]
_SHAPE = (1, 3, 20, 24)


def exported(
    function: Callable[[Any, Any], Any], path: Path, shape: tuple[int, ...] = _SHAPE
) -> Path:
    """Write ``function(tensorflow, input)`` as a float .tflite."""
    import tensorflow as tf  # noqa: PLC0415

    spec = tf.TensorSpec(shape, tf.float32)
    module = tf.Module()
    traced = tf.function(lambda x: function(tf, x), input_signature=[spec])
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [traced.get_concrete_function()], module
    )
    path.write_bytes(converter.convert())
    return path


def conv(tf: Any, x: Any, channels: int, size: int = 3) -> Any:  # noqa: ANN401
    """A convolution of a tensor in NCHW: TRANSPOSE, CONV_2D, TRANSPOSE."""
    random = np.random.default_rng(channels)
    shape = (size, size, x.shape[1], channels)
    weights = random.normal(0, (2 / (size * size * x.shape[1])) ** 0.5, shape)
    y = tf.nn.conv2d(tf.transpose(x, (0, 2, 3, 1)), weights.astype(np.float32), 1, "SAME")
    y = tf.nn.bias_add(y, random.normal(0, 0.1, channels).astype(np.float32))
    return tf.transpose(y, (0, 3, 1, 2))


def _classifier(tf: Any, x: Any) -> Any:  # noqa: ANN401
    x = tf.nn.relu(conv(tf, x, 8))
    parts = tf.split(x, 2, axis=1)
    x = tf.concat((parts[1], tf.nn.relu(conv(tf, parts[0], 4))), 1)
    return tf.reduce_mean(tf.nn.relu(conv(tf, x, 8)), (2, 3))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(_classifier, tmp_path_factory.mktemp("export") / "float.tflite")


def test_an_input_in_nchw_becomes_nhwc_and_everything_maps(
    classifier: Path, tmp_path: Path
) -> None:
    """Samples in the source's order and in the new one give the same file."""
    samples = np.random.default_rng(1).random((6, *_SHAPE[1:]), np.float32)
    made = []
    for number, values in enumerate((samples, np.moveaxis(samples, 1, -1))):
        np.savez(tmp_path / f"{number}.npz", x=values)
        output = tmp_path / f"{number}.tflite"
        result = convert(classifier, data=tmp_path / f"{number}.npz", output=output)
        made.append(output.read_bytes())
        assert result.inputs[0].shape == (1, 20, 24, 3)
        assert any("channels last" in each for each in result.warnings)
        assert result.agreement is not None
        assert min(each or 0 for each in result.agreement.snr_db) > 20
    report = check(tmp_path / "0.tflite")
    assert report.num_mapped == report.num_operators
    assert made[0] == made[1]


def test_pictures_are_samples_for_an_input_in_nchw(classifier: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for number in range(4):
        pixels = random.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    result = convert(classifier, data=tmp_path, output=tmp_path / "m.tflite")
    assert result.inputs[0].shape == (1, 20, 24, 3)


def test_no_fix_leaves_the_input_as_it_is(classifier: Path, tmp_path: Path) -> None:
    result = convert(classifier, data="random", output=tmp_path / "m.tflite", fix=False)
    assert result.inputs[0].shape == _SHAPE


def _pools(tf: Any, x: Any) -> Any:  # noqa: ANN401
    """``nn.MaxPool2d(3, 2, 1)``: PADV2 with minus infinity, of signed values."""
    y = tf.transpose(conv(tf, x, 8), (0, 2, 3, 1))
    y = tf.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    y = tf.transpose(tf.nn.max_pool2d(y, 3, 2, "VALID"), (0, 3, 1, 2))
    return tf.reduce_mean(conv(tf, y, 4), (2, 3))


def _unrolled(tf: Any, x: Any) -> Any:  # noqa: ANN401
    """Three steps of a recurrent layer on rows, unrolled: UNPACK and PACK."""
    random = np.random.default_rng(3)
    inner, outer = (random.normal(0, 0.4, (6, 6)).astype(np.float32) for _ in range(2))
    state, states = tf.zeros((1, 6)), []
    for step in tf.unstack(tf.transpose(x, (1, 0, 2)), axis=0):
        state = tf.tanh(step @ inner + state @ outer)
        states.append(state)
    return tf.transpose(tf.stack(states), (1, 0, 2))


@pytest.mark.parametrize(
    ("network", "shape"), [(_pools, _SHAPE), (_unrolled, (1, 3, 6))], ids=["pools", "unrolled"]
)
def test_what_the_quantizer_would_make_useless_is_rewritten_before(
    network: Callable[[Any, Any], Any], shape: tuple[int, ...], tmp_path: Path
) -> None:
    source = exported(network, tmp_path / "float.tflite", shape)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).normal(size=(20, *shape[1:])))
    output = tmp_path / "m.tflite"
    result = convert(source, data=tmp_path / "x.npz", preprocess="raw", output=output)
    assert result.agreement is not None
    assert min(each or 0 for each in result.agreement.snr_db) > 25
    report = check(output)
    assert report.num_mapped == report.num_operators


def test_weights_that_litert_torch_keeps_for_tensorflow_are_quantized(
    classifier: Path, tmp_path: Path
) -> None:
    """Its metadata lets TensorFlow's quantizer leave layers with weights in real numbers."""
    source, data = tmp_path / "float.tflite", tmp_path / "x.npz"
    entries = {"keep_stablehlo_constant": b"true"}
    source.write_bytes(add_metadata(classifier.read_bytes(), entries))
    np.savez(data, x=np.random.default_rng(1).random((12, *_SHAPE[1:]), np.float32))
    result = convert(source, data=data, output=tmp_path / "m.tflite", quantizer="tensorflow")
    assert result.enforced
    assert result.operators["CONV_2D"] == 3


def test_keras_upsampling_is_converted_and_maps(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.UpSampling2D(),
            layers.UpSampling2D((1, 3)),
            layers.Conv2D(2, 3),
        ]
    )
    samples = list(np.random.default_rng(1).random((8, 8, 8, 3), np.float32))
    result = convert(network, data=samples, output=tmp_path / "m.tflite")
    assert "TILE" not in result.operators
    report = check(tmp_path / "m.tflite")
    assert report.num_mapped == report.num_operators
