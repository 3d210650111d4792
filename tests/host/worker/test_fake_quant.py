# SPDX-License-Identifier: Apache-2.0
"""Graphs of quantization-aware training keep the ranges of their FakeQuant operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import read_model
from edgekit.host.convert import convert
from edgekit.host.convert.options import ConvertOptions
from edgekit.host.convert.trained_ranges import trained_notes
from edgekit.runtime import Runner

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]
# Operator -> (lowest, highest) of its output; wider than what the samples reach.
_RANGES = {"conv": (0.0, 5.5), "sum": (0.0, 9.0), "dense": (-7.5, 6.0)}


def _images(count: int) -> list[Any]:
    return list(np.random.default_rng(3).uniform(-1, 1, (count, 8, 8, 3)).astype(np.float32))


def _graph(tf: Any, image: Any) -> Any:  # noqa: ANN401
    random = np.random.default_rng(4)
    fake = tf.quantization.fake_quant_with_min_max_vars
    fixed = tf.quantization.fake_quant_with_min_max_args

    def weights(*shape: int) -> Any:  # noqa: ANN401
        # Off centre, so that their zero point is not zero, as TensorFlow 1 trained them.
        values = tf.constant((random.normal(size=shape) * 0.2 + 0.05).astype(np.float32))
        return fake(values, tf.constant(-0.6), tf.constant(0.9))

    x = fixed(image, -1.0, 1.0)
    conv = tf.nn.relu6(tf.nn.conv2d(x, weights(3, 3, 3, 4), 1, "SAME") + tf.constant([0.1] * 4))
    conv = fake(conv, *map(tf.constant, _RANGES["conv"]))
    pooled = tf.nn.max_pool2d(conv, 2, 2, "VALID")
    both = fake(pooled + pooled * 0.5, *map(tf.constant, _RANGES["sum"]))
    dense = tf.linalg.matmul(tf.reshape(both, (-1, 64)), weights(64, 3))
    return fake(dense, *map(tf.constant, _RANGES["dense"]), name="answer")


def _frozen(tf: Any, path: Path) -> Path:  # noqa: ANN401
    with tf.Graph().as_default() as graph:
        _graph(tf, tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), "image"))
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def _exported(tf: Any, path: Path) -> Path:  # noqa: ANN401
    module = tf.Module()
    shape = tf.TensorSpec((1, 8, 8, 3), tf.float32)
    module.serve = tf.function(lambda image: _graph(tf, image), input_signature=[shape])
    tf.saved_model.save(module, str(path))
    return path


@pytest.fixture(scope="module")
def tf() -> Any:  # noqa: ANN401
    return pytest.importorskip("tensorflow")


def test_options_without_effect_on_trained_ranges_are_named() -> None:
    options = ConvertOptions(clip_logits=True, ranges="mse")
    _, clipping, ranges = trained_notes(2, options)
    assert clipping.startswith("--clip-logits limits only the float answers")
    assert ranges.startswith("--ranges mse has no effect")
    assert len(list(trained_notes(2, ConvertOptions()))) == 1
    (note,) = trained_notes(2, ConvertOptions(mode="float"))
    assert "--mode float does not use them" in note


@pytest.mark.parametrize("save", [_frozen, _exported])
def test_scales_are_those_of_training(tf: Any, save: Any, tmp_path: Path) -> None:  # noqa: ANN401
    source = save(tf, tmp_path / ("graph.pb" if save is _frozen else "exported"))
    images = _images(20)
    result = convert(source, data=images, output=tmp_path / "m.tflite")
    assert "quantization-aware training" in "; ".join(result.warnings)
    graph = read_model(result.output).main
    scales: dict[str, Any] = {}
    for op in graph.operators:
        scales.setdefault(op.opcode, graph.tensors[op.outputs[0]].scale)
    for opcode, name in (
        ("CONV_2D", "conv"),
        ("MAX_POOL_2D", "conv"),
        ("ADD", "sum"),
        ("FULLY_CONNECTED", "dense"),
    ):
        low, high = _RANGES[name]
        assert scales[opcode] == pytest.approx((high - low) / 255, rel=1e-5), opcode
    assert scales["QUANTIZE"] == pytest.approx(2 / 255, rel=1e-5)  # of the input
    expected = np.asarray(_graph(tf, tf.constant(np.stack(images))))
    with Runner(result.output) as runner:
        actual = np.concatenate([runner.predict(image[None])[0] for image in images])
    assert np.abs(actual - expected).max() < 6 * scales["FULLY_CONNECTED"]


def test_a_range_that_is_computed_is_refused(tf: Any, tmp_path: Path) -> None:  # noqa: ANN401
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (1, 8, 8, 3), "image")
        low, high = tf.reduce_min(image), tf.reduce_max(image)
        tf.nn.relu(tf.quantization.fake_quant_with_min_max_vars(image, low, high))
    path = tmp_path / "training.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(UnsupportedModelError, match="computes its range") as caught:
        convert(path, data=_images(4), output=tmp_path / "m.tflite")
    assert "create_eval_graph" in caught.value.fix
