# SPDX-License-Identifier: Apache-2.0
"""Raw SSD, compared with the interpreter's TFLite_Detection_PostProcess."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.data import Preprocess
from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.runtime import Runner
from edgekit.tasks import DecodeOptions, Detections, choose_decoder, prepare
from edgekit.tasks.detection import decode_postprocess
from edgekit.tasks.ssd import SsdOptions, anchors_of, decode_ssd, make_anchors

_MODEL = "coral/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
_TRAFFIC = "coral/traffic_model.tflite"


def _without_postprocess(model: Model) -> bytes:
    """The model with the operator's inputs (but for the anchors) as its outputs."""
    graph = model.main
    last = graph.operators[-1]
    main = replace(graph, operators=graph.operators[:-1], outputs=last.inputs[:2])
    return write_model(replace(model, subgraphs=(main,)))


@pytest.mark.corpus
def test_the_anchors_of_ssd_mobilenet_are_those_in_googles_model(corpus: Path) -> None:
    found = anchors_of(read_model(corpus / _MODEL))
    assert found is not None
    stored, options = found
    made = make_anchors((300, 300), len(stored))
    # The model keeps them in eight bits.
    assert np.abs(made - stored).max() < 0.006
    assert options.iou_threshold == pytest.approx(0.6)
    assert options.max_detections == 10


@pytest.mark.corpus
@pytest.mark.parametrize("image", ["cat.bmp", "kite_and_cold.jpg", "pets.jpg", "grace_hopper.bmp"])
def test_decoding_equals_the_operator_on_the_same_tensors(corpus: Path, image: str) -> None:
    model = read_model(corpus / _MODEL)
    found = anchors_of(model)
    assert found is not None
    with Runner(corpus / _MODEL) as whole, Runner(_without_postprocess(model)) as cut:
        pixels = Preprocess("raw").pixels(corpus / "coral" / image, (300, 300, 3))[None]
        expected = decode_postprocess(*whole.invoke(pixels))
        encodings, scores = cut.to_real(*cut.invoke(pixels))
    ours = decode_ssd(encodings[0], scores[0], *found)
    assert len(ours.scores) == len(expected.scores)
    np.testing.assert_allclose(ours.scores, expected.scores, atol=1e-6)
    # The operator's order of equal scores is not defined: compare these as sets.
    assert _rows(ours) == pytest.approx(_rows(expected), abs=1e-5)


def _rows(found: Detections) -> np.ndarray:
    rows = np.column_stack([-found.scores, found.class_indices, found.boxes_yxyx])
    return rows[np.lexsort(rows.round(4).T[::-1])]


@pytest.mark.corpus
def test_a_raw_model_finds_the_cat_with_the_anchors_of_the_whole_model(
    corpus: Path,
) -> None:
    content = _without_postprocess(read_model(corpus / _MODEL))
    prepared = prepare(content)
    with Runner(content) as runner:
        pixels = Preprocess("raw").pixels(corpus / "coral" / "cat.bmp", (300, 300, 3))[None]
        raw = runner.invoke(pixels)
        for anchors in (None, corpus / _MODEL):
            decoder = choose_decoder(prepared, runner, None, DecodeOptions(0.5, anchors=anchors))
            assert (decoder.task, decoder.kind, decoder.num_classes) == ("detection", "raw SSD", 90)
            found = decoder.decode(raw)
            assert isinstance(found, Detections)
            assert found.class_indices.tolist() == [16]


def test_other_numbers_of_anchors_are_refused_with_a_fix() -> None:
    with pytest.raises(UnsupportedModelError, match="1000 anchors") as caught:
        make_anchors((300, 300), 1000)
    assert "--anchors" in caught.value.fix


def test_a_box_is_decoded_relative_to_its_anchor() -> None:
    anchors = np.array([[0.5, 0.5, 0.2, 0.4]], np.float32)
    scores = np.array([[0.0, 0.1, 0.9]], np.float32)
    found = decode_ssd(np.zeros((1, 4), np.float32), scores, anchors)
    np.testing.assert_allclose(found.boxes_yxyx, [[0.4, 0.3, 0.6, 0.7]], atol=1e-6)
    assert found.class_indices.tolist() == [1]
    moved = decode_ssd(np.array([[10.0, 0, 0, 0]], np.float32), scores, anchors)
    np.testing.assert_allclose(moved.boxes_yxyx[0, 0], 0.6, atol=1e-6)


def test_regular_suppression_keeps_two_classes_in_one_place() -> None:
    anchors = np.array([[0.5, 0.5, 0.2, 0.2]] * 2, np.float32)
    scores = np.array([[0, 0.9, 0.1], [0, 0.2, 0.8]], np.float32)
    fast = decode_ssd(np.zeros((2, 4)), scores, anchors, SsdOptions(0.5))
    regular = decode_ssd(np.zeros((2, 4)), scores, anchors, SsdOptions(0.5, use_regular_nms=True))
    assert fast.class_indices.tolist() == [0]
    assert regular.class_indices.tolist() == [0, 1]
