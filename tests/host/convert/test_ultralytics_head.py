# SPDX-License-Identifier: Apache-2.0
"""The head of an Ultralytics network ends before its decoding, and is decoded to the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.evaluate import evaluate
from edgekit.evaluate.outputs import Agreement
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.host.convert.on_host import on_host
from edgekit.host.convert.ultralytics import ultralytics_notes
from edgekit.host.convert.ultralytics_head import cut_head
from edgekit.host.convert.use import with_use
from edgekit.rewrite import prepare as prepare_network
from edgekit.runtime import Runner
from edgekit.tasks.labels import ultralytics_metadata
from edgekit.tasks.prepare import prepare
from edgekit.tasks.yolo_columns import read_stated
from edgekit.tasks.yolo_layout import find_layout
from edgekit.tasks.yolo_raw import RawHead, read_raw_head

pytestmark = pytest.mark.host
_SIDE, _STRIDES, _CLASSES = (64, 96), (8, 16, 32), 5
_PLACES = sum(_SIDE[0] // each * (_SIDE[1] // each) for each in _STRIDES)
_POINTS = (7, 3)
_NAMES = str({number: f"class {number}" for number in range(_CLASSES)})


def _network(task: str, bins: int, form: str, *, wrong: bool = False) -> Model:
    """Return a network with a head as Ultralytics exports it, in (1, values, places)."""
    import tensorflow as tf  # noqa: PLC0415

    rng = np.random.default_rng(1)
    extra = {"detect": 0, "segment": 6, "pose": _POINTS[0] * _POINTS[1]}[task]
    counts = (4 * bins, _CLASSES, extra)
    kernels = [
        [tf.constant(rng.normal(0, 0.5, (each, each, 3, n)), tf.float32) for n in counts if n]
        for each in _STRIDES
    ]
    cells, steps = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[: _SIDE[0] // stride, : _SIDE[1] // stride]
        cells.append(np.stack([x.ravel(), y.ravel()]) + (0.0 if wrong else 0.5))
        steps.append(np.full(x.size, stride))
    centres = np.concatenate(cells, axis=1).astype(np.float32)
    strides = np.concatenate(steps).astype(np.float32)

    def decoded_boxes(raw: Any) -> Any:  # noqa: ANN401 - a tensor
        if bins > 1:
            spread = tf.transpose(tf.reshape(raw, (1, 4, bins, _PLACES)), (0, 1, 3, 2))
            raw = tf.reduce_sum(tf.nn.softmax(spread) * np.arange(bins, dtype=np.float32), axis=-1)
        low, high = centres - raw[:, :2], centres + raw[:, 2:]
        return tf.concat([(low + high) / 2, high - low], axis=1) * strides

    def decoded_points(raw: Any) -> Any:  # noqa: ANN401 - a tensor
        points = tf.reshape(raw, (1, *_POINTS, _PLACES))
        places = points[:, :, :2]
        places = places * 2 + (centres - 0.5) if form == "corner" else places + centres
        joined = tf.concat([places * strides, tf.sigmoid(points[:, :, 2:])], axis=2)
        return tf.reshape(joined, (1, extra, _PLACES))

    def network(images: Any) -> Any:  # noqa: ANN401 - tensors
        levels = []
        for stride, level in zip(_STRIDES, kernels, strict=True):
            grids = [tf.nn.conv2d(images, kernel, stride, "SAME") for kernel in level]
            turned = [tf.transpose(each, (0, 3, 1, 2)) for each in grids]
            levels.append([tf.reshape(each, (1, each.shape[1], -1)) for each in turned])
        boxes, scores, *rest = (tf.concat(part, axis=2) for part in zip(*levels, strict=True))
        values = [decoded_points(each) if task == "pose" else each for each in rest]
        outputs = [tf.concat([decoded_boxes(boxes), tf.sigmoid(scores), *values], axis=1)]
        if task == "segment":
            outputs.append(tf.nn.conv2d(images, tf.ones((4, 4, 3, 6)), 4, "SAME"))
        return outputs

    function = tf.function(network, input_signature=[tf.TensorSpec((1, *_SIDE, 3))])
    concrete = function.get_concrete_function()
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete], function).convert()
    return ModelFile(content).model


def _properties(task: str) -> dict[str, str]:
    return {"task": task, "stride": "32", "names": _NAMES, "kpt_shape": str(list(_POINTS))}


@pytest.mark.parametrize(
    ("task", "bins", "form"),
    [
        ("detect", 16, ""),
        ("detect", 1, ""),
        ("segment", 16, ""),
        ("pose", 16, "corner"),
        ("pose", 1, "centre"),
    ],
)
def test_a_cut_head_is_decoded_to_the_rows_of_the_whole_network(
    tmp_path: Path, task: str, bins: int, form: str
) -> None:
    whole = _network(task, bins, form)
    notes = ultralytics_notes(_properties(task))
    assert notes is not None
    head = cut_head(whole, notes.values)
    assert head is not None
    assert head.raw == RawHead(bins, form, 3 if form else 0)
    path = tmp_path / "cut.tflite"
    content = ModelFile.of(head.model).content
    path.write_bytes(with_use(content, notes.files(head.raw), "", (), lambda _text: None))
    image = np.random.default_rng(2).random((1, *_SIDE, 3), np.float32)
    with Runner(ModelFile.of(whole), device="cpu") as runner:
        expected = runner.invoke(image)
    with Runner(path, device="cpu") as runner:
        outputs = runner.invoke(image)
    # Places first, so that nothing is left to turn.
    assert outputs[0].shape == (1, _PLACES, 4 * bins)
    assert "TRANSPOSE" not in prepare_network(head.model).operator_counts()
    metadata = ultralytics_metadata(prepare(path).file)
    layout = find_layout(
        [each.shape for each in outputs],
        _SIDE,
        lambda: None,
        read_stated(metadata),
        raw=read_raw_head(metadata),
    )
    assert layout is not None
    rows = layout[0].rows(outputs)
    np.testing.assert_allclose(rows, expected[0][0].T, rtol=1e-4, atol=1e-3)
    assert layout[1].task == task
    planes = layout[0].planes(outputs)
    assert (planes is None) == (task != "segment")


def test_the_decoded_answers_of_a_cut_and_a_whole_network_are_compared(tmp_path: Path) -> None:
    """Their outputs have different shapes: (1, values, places), and boxes and scores apart."""
    whole, notes = _network("detect", 16, ""), ultralytics_notes(_properties("detect"))
    assert notes is not None
    head = cut_head(whole, notes.values)
    assert head is not None
    paths = tmp_path / "whole.tflite", tmp_path / "cut.tflite"
    files = notes.files(), notes.files(head.raw)
    for path, model, kept in zip(paths, (whole, head.model), files, strict=True):
        content = with_use(ModelFile.of(model).content, kept, "", (), lambda _text: None)
        path.write_bytes(content)
    images = np.random.default_rng(2).random((4, *_SIDE, 3), np.float32)
    for first, second in (paths, paths[::-1]):
        quality = _quality(first, images, second)
        assert quality.decoded is not None
        assert quality.decoded.reference >= 10
        assert quality.decoded.share == 1.0
        assert quality.verdict == "good"
    dark = np.zeros_like(images)
    nothing = evaluate(paths[1], data=dark, preprocess="raw", against=paths[0])
    assert nothing.against is not None
    assert nothing.against.quality is not None
    assert nothing.against.quality.verdict == "not shown"
    assert any("too few objects to compare" in each for each in nothing.warnings)


def _quality(model: Path, images: Any, against: Path) -> Agreement:  # noqa: ANN401 - an array
    compared = evaluate(model, data=images, preprocess="raw", against=against).against
    assert compared is not None
    assert compared.quality is not None
    return compared.quality


def test_another_decoding_stays_in_the_network() -> None:
    network = _network("detect", 16, "", wrong=True)
    assert (
        cut_head(network, {"task": "detect", "names": dict.fromkeys(range(_CLASSES), "")}) is None
    )


def test_heads_without_notes_that_fit_stay_whole() -> None:
    network = _network("detect", 16, "")
    for notes in ({}, {"task": "obb"}, {"task": "detect", "names": {0: "one"}}):
        assert cut_head(network, notes) is None


def test_what_the_host_does_counts() -> None:
    network = _network("detect", 16, "")
    head = cut_head(network, {"task": "detect", "names": dict.fromkeys(range(_CLASSES), "")})
    assert head is not None
    host = on_host(head.decoding)
    assert host.num_operators == len(head.decoding.main.operators) > 0
    assert host.estimated_ms > 0


@pytest.mark.parametrize("values", [None, {}, {"bins": 0}, {"bins": True}, {"bins": 10**9}, [16]])
def test_damaged_metadata_describe_no_head(values: Any) -> None:  # noqa: ANN401 - any JSON
    assert read_raw_head({"raw_head": values}) is None
