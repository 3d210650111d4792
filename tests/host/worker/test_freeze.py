# SPDX-License-Identifier: Apache-2.0
"""Mixed precision and random layers are removed before TensorFlow's converter reads the graph."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError
from edgekit.host.convert import ConvertResult, convert
from edgekit.host.worker.freeze import freeze
from edgekit.host.worker.refused import Refused
from edgekit.runtime import Runner

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]


def _images(count: int = 24, scale: float = 1.0) -> list[Any]:
    return list((np.random.default_rng(1).random((count, 16, 16, 3)) * scale).astype(np.float32))


def _worst(result: ConvertResult, model: Any, images: list[Any]) -> float:  # noqa: ANN401
    """The largest difference from the network's own answers, in steps of the output."""
    expected = np.asarray(model(np.stack(images), training=False), np.float32)
    with Runner(result.output) as runner:
        actual = np.concatenate([runner.predict(image[None])[0] for image in images])
    return float(np.abs(actual - expected).max() / (result.outputs[0].scale or 1))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_a_network_in_mixed_precision_is_converted_in_float32(
    policy: str,
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    layers = keras.layers
    keras.utils.set_random_seed(1)
    parts = [
        layers.Conv2D(8, 3, activation="relu", dtype=policy),
        layers.BatchNormalization(dtype=policy),
        layers.DepthwiseConv2D(3, dtype=policy),
        layers.GlobalAveragePooling2D(dtype=policy),
        layers.Dense(4, dtype=policy),
        layers.Activation("softmax", dtype="float32"),
    ]
    model = keras.Sequential([keras.Input((16, 16, 3)), *parts])
    images = _images()
    path = tmp_path / "mixed.keras"
    model.save(path)
    result = convert(path, data=images, output=tmp_path / "m.tflite", preprocess="raw")
    assert _worst(result, model, images) < 4
    assert any("mixed precision" in each for each in result.warnings)


def test_augmentation_layers_of_an_export_are_removed(
    keras: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    """Keras 3 traces these layers with ``training`` true, and counts their random numbers."""
    layers = keras.layers
    keras.utils.set_random_seed(1)
    augment = keras.Sequential(
        [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)]
    )
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            augment,
            layers.RandomContrast(0.2),
            layers.Rescaling(1 / 127.5, -1),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )
    images = _images(scale=255)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.export(str(tmp_path / "export"), verbose=False)
    result = convert(
        tmp_path / "export", data=images, output=tmp_path / "m.tflite", preprocess="raw"
    )
    assert set(result.operators) <= {"QUANTIZE", "CONV_2D", "RESHAPE", "FULLY_CONNECTED"}
    assert _worst(result, model, images) < 4
    assert any("random_contrast" in each for each in result.warnings)


def test_random_numbers_that_are_an_output_are_not_removed(tmp_path: Path) -> None:
    """Sampling from a mean and a deviation has two inputs, so it is not an identity."""
    import tensorflow as tf  # noqa: PLC0415

    class Sampler(tf.Module):  # type: ignore[misc] # TensorFlow has no types
        def __call__(self, x: Any) -> Any:  # noqa: ANN401
            with tf.name_scope("sampling"):
                return x[:, :4] + tf.exp(x[:, 4:]) * tf.random.normal((1, 4))

    module = Sampler()
    function = tf.function(module.__call__).get_concrete_function(tf.TensorSpec((1, 8)))
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=function)
    with pytest.raises(UnsupportedModelError) as caught:
        convert(tmp_path / "saved", data="random", num_samples=2, output=tmp_path / "m.tflite")
    assert "random numbers" in caught.value.fix


def test_variables_that_no_output_depends_on_may_be_written() -> None:
    """The counters are in a called function and in a loop, as in an exported Keras 3 model."""
    import tensorflow as tf  # noqa: PLC0415

    weight, count = tf.Variable([2.0, 3.0]), tf.Variable(0, dtype=tf.int64)

    def scale(values: Any) -> Any:  # noqa: ANN401
        count.assign_add(1)
        return values * weight

    scaled = tf.function(scale)

    def network(values: Any) -> Any:  # noqa: ANN401
        for _ in tf.range(tf.shape(values)[0]):
            count.assign_add(1)
            values = scaled(values)
        return values + 1

    traced = tf.function(network).get_concrete_function(tf.TensorSpec((2, 2)))
    values = np.array([[1, 2], [3, 4]], np.float32)
    expected = traced(tf.constant(values)).numpy()
    frozen, _ = freeze(traced)
    assert not frozen.variables
    (actual,) = frozen(tf.constant(values))
    np.testing.assert_array_equal(actual, expected)
    assert int(count) == 4, "the original counts, and its copy does not"


def test_a_tensorflow_without_the_function_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf  # noqa: PLC0415
    from tensorflow.python.framework import convert_to_constants  # noqa: PLC0415

    monkeypatch.delattr(convert_to_constants, "convert_variables_to_constants_v2")
    traced = tf.function(lambda x: x + 1).get_concrete_function(tf.TensorSpec((1, 2)))
    with pytest.raises(Refused) as caught:
        freeze(traced)
    assert caught.value.what == (
        f"TensorFlow {tf.__version__} cannot turn the variables of a network into constants"
    )
    assert "convert_variables_to_constants_v2" in caught.value.why
    assert "--converter-python" in caught.value.fix
