# SPDX-License-Identifier: Apache-2.0
"""Samples are compared with the statistics of the training data that normalizing layers store."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekit.host.convert import convert
from edgekit.host.worker.freeze import freeze
from edgekit.host.worker.trained_statistics import SpreadSamples, compare_statistics

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]

_RNG = np.random.default_rng(5)
_MEAN = np.array([0.5, -1.0, 3.0], np.float32)
_VARIANCE = np.array([1.0, 4.0, 0.25], np.float32)
_EPSILON = 1e-3


def _like_training(count: int = 200) -> NDArray[np.float32]:
    """Pictures whose channels have the mean and the variance of "training"."""
    noise = _RNG.normal(size=(count, 8, 8, 3))
    return (noise * np.sqrt(_VARIANCE) + _MEAN).astype(np.float32)


def _network(keras: Any, layer: Any) -> Any:  # noqa: ANN401
    image = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(4, 3, activation="relu")(layer(image))
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(hidden))


def _normalized(keras: Any, **options: Any) -> Any:  # noqa: ANN401
    layer = keras.layers.BatchNormalization(**options)
    model = _network(keras, layer)
    ones = [np.full(3, 1.5)] * options.get("scale", True) + [np.ones(3)] * options.get(
        "center", True
    )
    layer.set_weights([*ones, _MEAN, _VARIANCE])
    return model


def _compared(model: Any, samples: NDArray[Any]) -> tuple[list[str], list[Any]]:  # noqa: ANN401
    import tensorflow as tf  # noqa: PLC0415

    spec = tf.TensorSpec((1, 8, 8, 3), tf.float32)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    return compare_statistics(freeze(function)[0], [[each[None]] for each in samples])


@pytest.mark.parametrize(
    "options", [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False}]
)
def test_shift_and_ratio_are_those_of_the_layers_input(
    keras: Any,  # noqa: ANN401
    options: dict[str, bool],
) -> None:
    samples = _like_training(24) * 3 + 1
    names, ((shifts, ratios),) = _compared(_normalized(keras, **options), samples)
    assert len(names) == 1
    rows = samples.reshape(-1, 3).astype(np.float64)
    trained = _VARIANCE + _EPSILON
    np.testing.assert_allclose(shifts, np.abs(rows.mean(0) - _MEAN) / np.sqrt(trained), rtol=1e-4)
    np.testing.assert_allclose(ratios, np.sqrt((rows.var(0) + _EPSILON) / trained), rtol=1e-4)


def test_a_fused_batch_normalization_is_read() -> None:
    import tensorflow as tf  # noqa: PLC0415

    def call(x: Any) -> Any:  # noqa: ANN401
        return tf.compat.v1.nn.fused_batch_norm(
            x, np.ones(3, "f4"), np.zeros(3, "f4"), _MEAN, _VARIANCE, _EPSILON, is_training=False
        )[0]

    samples = _like_training(24) * 0.25
    spec = tf.TensorSpec((1, 8, 8, 3), tf.float32)
    frozen = freeze(tf.function(call).get_concrete_function(spec))[0]
    _, ((_, ratios),) = compare_statistics(frozen, [[each[None]] for each in samples])
    np.testing.assert_allclose(ratios, 0.25, rtol=0.1)


@pytest.mark.parametrize("axis", [-1, None])
def test_a_normalization_of_the_input_is_read(keras: Any, axis: int | None) -> None:  # noqa: ANN401
    layer = keras.layers.Normalization(axis=axis)
    layer.adapt(_like_training())
    _, ((shifts, ratios),) = _compared(_network(keras, layer), _like_training(24) * 4)
    assert shifts.shape == (3 if axis else 1,)
    np.testing.assert_allclose(ratios, 4, rtol=0.1)


def test_a_network_that_is_not_trained_has_no_statistics(keras: Any) -> None:  # noqa: ANN401
    model = _network(keras, keras.layers.BatchNormalization())
    assert _compared(model, _like_training(24)) == ([], [])


@pytest.mark.parametrize(
    ("mean", "variance", "is_measured"),
    [
        ([123.7, 116.8, 103.9], [1, 1, 1], False),
        ([127.5] * 3, [127.5**2] * 3, False),
        ([123.7, 116.8, 103.9], [58.0**2] * 3, False),
        ([0.485, 0.456, 0.406], [0.229**2, 0.224**2, 0.225**2], True),
    ],
)
def test_given_scales_of_pixels_are_no_statistics(
    keras: Any,  # noqa: ANN401
    mean: list[float],
    variance: list[float],
    is_measured: bool,
) -> None:
    """Else photographs, with a deviation of about 60, are unlike a "training" with 1."""
    layer = keras.layers.Normalization(mean=mean, variance=variance)
    names, _ = _compared(_network(keras, layer), _like_training(24))
    assert len(names) == is_measured


def test_samples_are_kept_evenly_over_the_whole_sequence() -> None:
    some = SpreadSamples()
    assert len(list(some.watch([number] for number in range(1000)))) == 1000
    kept = [number for (number,) in some.kept]
    assert 64 <= len(kept) <= 128
    assert len({b - a for a, b in itertools.pairwise(kept)}) == 1
    assert kept[-1] >= 980


@pytest.mark.parametrize(
    ("factor", "is_like"), [(1.0, True), (0.85, True), (0.6, False), (0.2, False), (5, False)]
)
def test_convert_warns_of_samples_that_are_unlike_the_training_data(
    keras: Any,  # noqa: ANN401
    factor: float,
    is_like: bool,
    tmp_path: Path,
) -> None:
    samples = list(_like_training(60) * factor)
    result = convert(_normalized(keras), data=samples, num_samples=40, output=tmp_path / "m.tflite")
    assert (result.shown_by, result.like_training) == ("statistics", is_like)
    assert result.agreement is not None
    assert is_like or result.agreement.verdict in ("not shown", "doubtful", "bad")
    unlike = [each for each in result.warnings if "unlike the data" in each]
    assert len(unlike) == (not is_like)
    for each in unlike:
        ratio = re.search(r"vary ([\d.]+) times as much as in training", each)
        assert ratio is not None
        assert float(ratio[1]) == pytest.approx(factor, rel=0.1)


def test_few_samples_are_not_compared(keras: Any, tmp_path: Path) -> None:  # noqa: ANN401
    samples = list(_like_training(20) * 0.2)
    result = convert(_normalized(keras), data=samples, output=tmp_path / "m.tflite")
    assert not [each for each in result.warnings if "unlike the data" in each]
    assert (result.shown_by, result.like_training) == ("", None)
