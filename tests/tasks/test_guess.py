# SPDX-License-Identifier: Apache-2.0
"""The guess of a model's task."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UnsupportedModelError, UsageError
from edgekit.evaluate import run
from edgekit.formats.tflite import (
    Model,
    Operator,
    Quantization,
    Subgraph,
    Tensor,
    read_model,
    write_model,
)
from edgekit.runtime import Runner
from edgekit.tasks import Decoder, choose_decoder, prepare
from edgekit.tasks.detection import decode_postprocess, order_by_shape
from tests.conftest import constant_model

_EMPTY = np.empty(0, np.uint8)


def _reshaping(pairs: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> bytes:
    """A model that reshapes each input to an output: only the shapes matter here."""
    tensors: list[Tensor] = []
    buffers, operators = [_EMPTY], []
    for given, wanted in pairs:
        first = len(tensors)
        tensors.append(Tensor(f"in{first}", given, "FLOAT32", 0))
        tensors.append(Tensor(f"shape{first}", (len(wanted),), "INT32", len(buffers)))
        tensors.append(Tensor(f"out{first}", wanted, "FLOAT32", 0))
        buffers.append(np.frombuffer(np.array(wanted, "<i4").tobytes(), np.uint8))
        options = {"new_shape": wanted}
        operators.append(
            Operator(
                "RESHAPE",
                1,
                (first, first + 1),
                (first + 2,),
                options,
                "ReshapeOptions",
                builtin_code=22,
            )
        )
    inputs = tuple(range(0, len(tensors), 3))
    outputs = tuple(range(2, len(tensors), 3))
    graph = Subgraph(tuple(tensors), inputs, outputs, tuple(operators))
    return write_model(Model((graph,), tuple(buffers)))


def _guess(content: bytes, task: str | None = None) -> Decoder:
    prepared = prepare(content)
    with Runner(prepared.runnable) as runner:
        return choose_decoder(prepared, runner, task)


def _detections(slots: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    shapes: list[tuple[int, ...]] = [(1, slots, 4), (1, slots), (1, slots), (1,)]
    return [(shape, shape) for shape in shapes]


@pytest.mark.parametrize(
    ("pairs", "task", "kind"),
    [
        ([((1, 5, 2), (1, 10))], "classification", "score a class"),
        ([((1, 5, 2), (1, 1, 1, 10))], "classification", "score a class"),
        ([((1, 8, 8, 3), (1, 8, 8, 3))], "segmentation", "class a pixel"),
        ([((1, 17, 3), (1, 1, 17, 3))], "pose", "MoveNet"),
        ([((1, 6, 56), (1, 6, 56))], "pose", "MoveNet"),
        (_detections(10), "detection", "TFLite_Detection_PostProcess"),
        ([((1, 32, 32, 21 * 3), (1, 3 * 21, 1024))], "none", "raw tensors"),
        ([((1, 64, 64, 3), (1, 12288))], "classification", "score a class"),
    ],
)
def test_shapes_show_the_task(
    pairs: list[tuple[tuple[int, ...], tuple[int, ...]]], task: str, kind: str
) -> None:
    decoder = _guess(_reshaping(pairs))
    assert (decoder.task, decoder.kind) == (task, kind)
    assert decoder.why


@pytest.mark.parametrize(
    ("order", "where"), [("bcsn", (0, 1, 2, 3)), ("sbnc", (1, 3, 0, 2)), ("bncs", (0, 2, 3, 1))]
)
@pytest.mark.parametrize("slots", [1, 10])
def test_boxes_classes_scores_and_count_are_distinguished_by_shape(
    order: str, where: tuple[int, ...], slots: int
) -> None:
    """The orders of TensorFlow 1 and 2, in which pycoral reads outputs, and another order."""
    shapes = {"b": (1, slots, 4), "c": (1, slots), "s": (1, slots), "n": (1,)}
    assert order_by_shape([shapes[each] for each in order]) == where


def test_a_task_can_be_set_and_must_fit() -> None:
    content = _reshaping([((1, 8, 8, 3), (1, 8, 8, 3))])
    assert _guess(content, "none").task == "none"
    assert _guess(content, "segmentation").why == "--task segmentation"
    with pytest.raises(UnsupportedModelError, match="not those of pose"):
        _guess(content, "pose")
    with pytest.raises(UsageError, match="no task"):
        _guess(content, "posse")


@pytest.mark.parametrize(("stated", "task"), [("pose", "none"), ("classify", "classification")])
def test_metadata_has_priority_over_shapes(stated: str, task: str) -> None:
    stream = io.BytesIO(_reshaping([((1, 5, 2), (1, 10))]))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("metadata.json", json.dumps({"task": stated}))
    assert _guess(stream.getvalue()).task == task


@pytest.mark.parametrize(
    ("stated", "preprocess"),
    [
        ("detect", "unit,resize=letterbox,filter=cv2-linear"),
        ("classify", "unit,resize=crop,filter=bilinear"),
        ("pose", "unit,resize=letterbox,filter=cv2-linear"),
    ],
)
def test_exports_of_ultralytics_get_the_same_pixels_as_in_ultralytics(
    stated: str, preprocess: str
) -> None:
    stream = io.BytesIO(_reshaping([((1, 5, 2), (1, 10))]))
    assert prepare(stream.getvalue()).notes.preprocess == ""
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("metadata.json", json.dumps({"task": stated}))
    assert prepare(stream.getvalue()).notes.preprocess == preprocess


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "task", "classes"),
    [
        ("coral/coco_ssd_mobilenet_v1_1.0_quant_2018_06_29", "detection", 90),
        ("coral/traffic_model", "detection", 3),
        ("deeplabv3_mnv2_dm05_pascal_quant", "segmentation", 21),
        ("deeplab_mobilenet_edgetpu_slim_cityscapes_quant", "segmentation", 19),
        ("posenet_mobilenet_v1_075_353_481_16_quant_decoder", "pose", 0),
        ("movenet_single_pose_lightning_ptq", "pose", 0),
        ("mobilenet_v1_0.25_128_quant", "classification", 1001),
        ("keras_lstm_mnist_ptq", "classification", 10),
        ("split_concat", "none", 0),
    ],
)
def test_googles_models_are_recognized(corpus: Path, name: str, task: str, classes: int) -> None:
    folder = corpus if "/" in name else corpus / "compiled" / "google-coral__test_data"
    decoder = _guess((folder / f"{name}.tflite").read_bytes())
    assert (decoder.task, decoder.num_classes) == (task, classes)


def _yolo(scale: float) -> bytes:
    """YOLOv8's layout for an input of (64, 64): 6 classes, 84 places, one scale for all."""
    shape = np.array([1, 10, 84], "<i4")
    quantization = Quantization((scale,), (-128,))
    tensors = (
        Tensor("image", (1, 64, 64, 3), "UINT8", 0, Quantization((1 / 255,), (0,))),
        Tensor("flat", (1, 840), "INT8", 0, quantization),
        Tensor("shape", (3,), "INT32", 1),
        Tensor("boxes and scores", (1, 10, 84), "INT8", 0, quantization),
    )
    reshape = Operator("RESHAPE", 1, (1, 2), (3,), {"new_shape": (1, 10, 84)}, "ReshapeOptions")
    graph = Subgraph(tensors, (0, 1), (3,), (reshape,))
    return write_model(Model((graph,), (_EMPTY, shape.view(np.uint8))))


def test_scores_that_share_the_steps_of_pixels_cause_a_warning(tmp_path: Path) -> None:
    fine, coarse = _guess(_yolo(1 / 255)), _guess(_yolo(64 / 255))
    assert (fine.kind, fine.warnings) == ("YOLOv8", ())
    assert "in steps of 0.251: scores between 0 and 1 are lost" in coarse.warnings[0]
    np.savez(str(tmp_path / "x.npz"), image=np.zeros((64, 64, 3)), flat=np.zeros(840))
    assert run(_yolo(64 / 255), [tmp_path / "x.npz"]).warnings == coarse.warnings


_IMAGE = (1, 64, 64, 3)


def _values(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32).reshape(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("numbers", "task"),
    [
        ((205.5, 124.0, 110.0, 180.0), "none"),  # a regression in pixels
        ((3.0, -2.0, 0.5, -4.0), "classification"),
        ((300.0, -200.0, -90.0, 20.0), "classification"),  # logits of pixels that are not scaled
        ((0.1, 0.7, 0.2), "classification"),
    ],
)
def test_numbers_that_are_not_scores_are_not_classes(numbers: tuple[float, ...], task: str) -> None:
    content = constant_model(_IMAGE, [_values(*numbers)])
    decoder = _guess(content)
    assert decoder.task == task
    assert _guess(content, "classification").task == "classification"
    if task == "none":
        assert "from 110 to 205.5 are neither probabilities nor logits" in decoder.why


@pytest.mark.parametrize(
    ("noted", "task", "is_obeyed"),
    [("classification", "classification", True), ("pose", "none", False), ("none", "none", True)],
)
def test_the_task_in_a_bundle_is_used_if_the_outputs_fit_it(
    noted: str, task: str, is_obeyed: bool
) -> None:
    """Here with numbers that are not scores by themselves."""
    prepared = prepare(constant_model(_IMAGE, [_values(205.5, 124.0, 110.0, 180.0)]))
    told = replace(prepared, notes=replace(prepared.notes, task=noted))
    with Runner(prepared.runnable) as runner:
        decoder = choose_decoder(told, runner)
    assert decoder.task == task
    assert decoder.why.startswith(f"its file states {noted}") == is_obeyed


def test_an_embedding_of_unit_length_is_not_a_classifier() -> None:
    last = ("L2_NORMALIZATION", 11, "L2NormOptions")
    decoder = _guess(constant_model(_IMAGE, [np.ones((1, 128), np.float32)], last=last))
    assert decoder.task == "none"
    assert "an embedding" in decoder.why


@pytest.mark.parametrize(
    ("side", "shapes", "stage"),
    [
        (96, [(1, 43, 43, 4), (1, 43, 43, 2)], "P-Net"),
        (12, [(1, 1, 1, 2), (1, 1, 1, 4)], "P-Net"),
        (24, [(1, 4), (1, 2)], "R-Net"),
        (48, [(1, 10), (1, 4), (1, 2)], "O-Net"),
    ],
)
def test_stages_of_mtcnn_are_recognized_and_stay_numbers(
    side: int, shapes: list[tuple[int, ...]], stage: str
) -> None:
    outputs = [np.zeros(shape, np.float32) for shape in shapes]
    content = constant_model((1, side, side, 3), outputs)
    decoder = _guess(content)
    assert decoder.task == "none"
    assert f"MTCNN's {stage}" in decoder.why
    with pytest.raises(UnsupportedModelError, match="not those of detection"):
        _guess(content, "detection")


def test_a_guess_that_fails_is_raw_tensors_with_the_reason() -> None:
    """Anchors of a network other than SSD on MobileNet: an error only if the task is given."""
    outputs = [np.zeros((1, 100, 4), np.float32), np.zeros((1, 100, 7), np.float32)]
    content = constant_model(_IMAGE, outputs)
    decoder = _guess(content)
    assert decoder.task == "none"
    assert "the network has 100 anchors" in decoder.why
    with pytest.raises(UnsupportedModelError) as caught:
        _guess(content, "detection")
    assert "the network has 100 anchors" in caught.value.why


def _yolo_table(values: int) -> np.ndarray:
    """(1, 4 + values, 84): boxes around each place of 64x64, in pixels."""
    places = [
        ((x + 0.5) * stride, (y + 0.5) * stride)
        for stride in (8, 16, 32)
        for y in range(64 // stride)
        for x in range(64 // stride)
    ]
    table = np.full((1, 4 + values, 84), 0.001, np.float32)
    table[0, :2], table[0, 2:4] = np.array(places).T, 16
    return table


def test_values_distinguish_a_pose_from_fifty_two_classes() -> None:
    table = _yolo_table(52)
    assert _guess(constant_model(_IMAGE, [table])).kind == "YOLOv8 pose"
    for point in range(17):
        table[0, 5 + 3 * point : 7 + 3 * point] = table[0, :2]
    decoder = _guess(constant_model(_IMAGE, [table]))
    assert (decoder.task, decoder.num_classes) == ("pose", 1)
    with pytest.raises(UnsupportedModelError) as caught:
        _guess(constant_model(_IMAGE, [table]), "detection")
    assert "they are those of YOLOv8 pose, which is pose" in caught.value.why


@pytest.mark.parametrize("at", [(), (512,)])
def test_a_mediapipe_detector_is_recognized_by_its_anchors(
    tmp_path: Path, at: tuple[int, ...]
) -> None:
    """Also if `convert` gave its layers outputs of their own."""
    logits = np.full((1, 896, 1), -600.0, np.float32)
    regressors = np.zeros((1, 896, 16), np.float32)
    logits[0, 0], regressors[0, 0, 2:4] = 5, 8
    parts = [part for each in (regressors, logits) for part in np.split(each, at, axis=1)]
    content = constant_model((1, 128, 128, 3), parts)
    assert _guess(content).kind == "MediaPipe SSD"
    np.save(str(tmp_path / "x.npy"), np.zeros((128, 128, 3), np.float32))
    (answer,) = run(content, [tmp_path / "x.npy"]).answers
    (face,) = answer.objects
    np.testing.assert_allclose(face.box_xyxy_px, [0, 0, 8, 8], atol=1e-4)
    assert [(point.x_px, point.y_px) for point in face.keypoints] == [(4.0, 4.0)] * 6


@pytest.mark.parametrize(
    ("scale", "zero_point", "says"),
    [
        (0.1, 235, ""),
        (2.0, 250, "in steps of 2, and between 0.5 and 0.88 there is no score"),
        (5.5, 255, "in steps of 5.5, and none is above 0: no score is above 0.5"),
    ],
)
def test_logits_whose_steps_leave_no_scores_are_reported(
    scale: float, zero_point: int, says: str
) -> None:
    """Face detectors without clipped logits have a range that begins at -1,400."""
    outputs = [np.zeros((1, 896, 16), np.float32), np.full((1, 896, 1), -600.0, np.float32)]
    quantizing = ("QUANTIZE", 114, "QuantizeOptions")
    model = read_model(constant_model((1, 128, 128, 3), outputs, last=quantizing))
    tensors = list(model.main.tensors)
    for index, params in zip(model.main.outputs, ((1.0, 0), (scale, zero_point))):
        quantization = Quantization((params[0],), (params[1],))
        tensors[index] = replace(tensors[index], dtype="UINT8", quantization=quantization)
    graph = replace(model.main, tensors=tuple(tensors))
    decoder = _guess(write_model(replace(model, subgraphs=(graph,))))
    assert decoder.kind == "MediaPipe SSD"
    assert [says in warning for warning in decoder.warnings] == ([True] if says else [])


def test_scores_that_an_input_contradicts_are_raw_tensors_from_then_on(tmp_path: Path) -> None:
    """The probe found scores; here the metadata names the task, so it is not probed."""
    table = _yolo_table(2)
    table[0, 4:] = 7
    stream = io.BytesIO(constant_model(_IMAGE, [table]))
    with zipfile.ZipFile(stream, "a") as archive:
        names = {"task": "detect", "names": {0: "a", 1: "b"}}
        archive.writestr("metadata.json", json.dumps(names))
    np.save(str(tmp_path / "x.npy"), np.zeros((64, 64, 3), np.float32))
    result = run(stream.getvalue(), [tmp_path / "x.npy"])
    assert (result.task, result.answers[0].objects) == ("none", ())
    assert "scores reach from 7 to 7" in result.recognized_by
    assert "scores reach from 7 to 7" in result.warnings[0]
    with pytest.raises(UnsupportedModelError, match="scores reach from 7 to 7"):
        run(stream.getvalue(), [tmp_path / "x.npy"], task="detection")


def test_a_float_mask_after_a_sigmoid_is_segmentation() -> None:
    content = constant_model(
        _IMAGE, [np.zeros((1, 64, 64, 1), np.float32)], last=("LOGISTIC", 14, "NONE")
    )
    assert _guess(content).task == "segmentation"


@pytest.mark.parametrize("swapped", [False, True])
def test_classes_are_distinguished_from_scores_by_their_values(
    swapped: bool, tmp_path: Path
) -> None:
    """The order is not that of TensorFlow 1 or 2: only the values can decide."""
    scores, classes = np.array([[0.75, 0.5]], np.float32), np.array([[7, 1]], np.float32)
    pair = [scores, classes] if swapped else [classes, scores]
    boxes = np.array([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]], np.float32)
    content = constant_model(_IMAGE, [boxes, *pair, np.array([2.0], np.float32)])
    np.save(str(tmp_path / "x.npy"), np.zeros((64, 64, 3), np.float32))
    (answer,) = run(content, [tmp_path / "x.npy"]).answers
    assert [(each.index, each.score) for each in answer.objects] == [(7, 0.75), (1, 0.5)]


@pytest.mark.parametrize("count", [np.nan, -3.0, 9.0])
def test_an_impossible_count_is_limited_to_the_slots(count: float, tmp_path: Path) -> None:
    scores, classes = np.array([[0.75, 0.5]], np.float32), np.array([[7, 1]], np.float32)
    boxes = np.array([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]], np.float32)
    content = constant_model(_IMAGE, [boxes, classes, scores, np.array([count], np.float32)])
    np.save(str(tmp_path / "x.npy"), np.zeros((64, 64, 3), np.float32))
    (answer,) = run(content, [tmp_path / "x.npy"]).answers
    assert [each.index for each in answer.objects] == ([7, 1] if count == 9 else [])


def test_slots_after_the_count_are_not_read(tmp_path: Path) -> None:
    """They contain arbitrary memory; in TensorFlow 2's order scores come first."""
    junk = np.float32(np.nan)
    scores = np.array([[0.75, 0.5, junk, junk]], np.float32)
    classes = np.array([[2, 0, junk, junk]], np.float32)
    boxes = np.full((1, 4, 4), junk, np.float32)
    boxes[0, :2] = [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    content = constant_model(_IMAGE, [scores, boxes, np.array([2.0], np.float32), classes])
    np.save(str(tmp_path / "x.npy"), np.zeros((64, 64, 3), np.float32))
    (answer,) = run(content, [tmp_path / "x.npy"]).answers
    assert [each.index for each in answer.objects] == [2, 0]
    assert [(each.min, each.max) for each in answer.outputs] == [
        (0.5, 0.75),
        (0, 1),
        (2, 2),
        (0, 2),
    ]
    assert [each.shape for each in answer.outputs] == [(1, 4), (1, 4, 4), (1,), (1, 4)]


def test_an_object_with_nan_is_not_an_object() -> None:
    boxes = np.array([[[0, 0, np.nan, 0.5], [0.5, 0.5, 1, 1]]], np.float32)
    classes, scores = np.array([[7, 1]], np.float32), np.array([[0.75, 0.5]], np.float32)
    found = decode_postprocess(boxes, classes, scores, np.array([2.0]))
    assert found.class_indices.tolist() == [1]
