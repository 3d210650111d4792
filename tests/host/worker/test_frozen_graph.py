# SPDX-License-Identifier: Apache-2.0
"""TensorFlow 1 frozen graphs: inputs and outputs are found, chosen, cut, or must be named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import EdgeKitError, ModelFormatError, UnsupportedModelError, UsageError
from edgekit.host.convert import ConvertResult, convert

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("kept_converter")]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two branches after one image, dropout with a placeholder for its probability."""
    import tensorflow as tf  # noqa: PLC0415

    weights = np.random.default_rng(3).normal(size=(16, 4)).astype(np.float32)
    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (None, 16), "image")
        keep = tf.compat.v1.placeholder(tf.float32, (), "keep")
        hidden = tf.nn.relu(tf.matmul(image, tf.constant(weights)), name="hidden")
        tf.nn.softmax(hidden * keep, name="left")
        tf.nn.sigmoid(hidden, name="right")
    path = tmp_path_factory.mktemp("graph") / "frozen.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def _convert(path: Path, tmp_path: Path, **options: Any) -> ConvertResult:  # noqa: ANN401
    return convert(path, data="random", output=tmp_path / "m.tflite", **options)


def test_two_candidates_are_named(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="output is not clear") as caught:
        _convert(graph, tmp_path)
    assert "left" in caught.value.why
    assert "right" in caught.value.why


def test_outputs_and_constants_can_be_named(graph: Path, tmp_path: Path) -> None:
    result = _convert(graph, tmp_path, inputs=["image", "keep=1.0"], outputs=["left", "right"])
    assert result.enforced
    assert len(result.outputs) == 2
    assert len(result.inputs) == 1


def test_a_placeholder_without_a_value_is_named(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="depend on \\['keep'\\]") as caught:
        _convert(graph, tmp_path, inputs=["image"], outputs=["left"])
    assert "keep=1.0" in caught.value.fix


def test_the_graph_can_be_cut_in_the_middle(graph: Path, tmp_path: Path) -> None:
    result = _convert(graph, tmp_path, inputs=["hidden"], outputs=["right"])
    assert result.inputs[0].shape == (1, 4)


@pytest.mark.parametrize("word", ["imagge", "image:7", "keep=x"])
def test_wrong_names_are_usage_errors(graph: Path, tmp_path: Path, word: str) -> None:
    with pytest.raises(UsageError):
        _convert(graph, tmp_path, inputs=[word], outputs=["right"])


def test_a_graph_with_variables_is_not_frozen(tmp_path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415

    with tf.Graph().as_default() as graph:
        image = tf.compat.v1.placeholder(tf.float32, (None, 4), "image")
        variable = tf.compat.v1.get_variable("w", (4, 2), use_resource=False)
        tf.matmul(image, variable, name="out")
    path = tmp_path / "g.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(UnsupportedModelError, match="not frozen"):
        _convert(path, tmp_path)


@pytest.mark.parametrize("content", [b"\x01\x02garbage", b"\n"])
def test_damaged_graphs_are_format_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pb"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError):
        _convert(path, tmp_path)


def test_the_error_for_string_inputs_contains_the_option_to_cut_them_off(tmp_path: Path) -> None:
    import tensorflow as tf  # noqa: PLC0415

    with tf.Graph().as_default() as graph:
        text = tf.compat.v1.placeholder(tf.string, (), "jpeg")
        image = tf.io.decode_jpeg(text, channels=3, name="decoded")
        tf.reduce_mean(tf.cast(image, tf.float32), name="mean")
    path = tmp_path / "g.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(EdgeKitError, match="jpeg is a string") as caught:
        _convert(path, tmp_path)
    assert "--inputs decoded" in caught.value.fix
