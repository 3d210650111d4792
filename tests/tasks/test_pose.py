# SPDX-License-Identifier: Apache-2.0
"""PoseNet in numpy and MoveNet: constructed people and Google's reference key points."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edgekit.data import Preprocess
from edgekit.data.placement import place
from edgekit.evaluate import run
from edgekit.formats.tflite import read_model
from edgekit.tasks.movenet import decode_movenet, is_movenet
from edgekit.tasks.posenet import (
    PosenetOptions,
    decode_posenet,
    is_posenet,
    without_decoder,
)

_POSENET = "posenet_mobilenet_v1_075_353_481_16_quant_decoder"
_MOVENET = "movenet_single_pose_lightning_ptq"
_EDGES = [(0, 1), (1, 3), (0, 2), (2, 4), (0, 5), (5, 7), (7, 9), (5, 11), (11, 13), (13, 15)]
_EDGES += [(0, 6), (6, 8), (8, 10), (6, 12), (12, 14), (14, 16)]


def _maps(people: list[np.ndarray], size: tuple[int, int], stride: int) -> list[np.ndarray]:
    """Return a perfect network's maps for people with (17, 2) points in pixels."""
    rows, columns = size
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1) * stride
    heat = np.full((rows, columns, 17), -10.0)
    shorts, mids = np.zeros((rows, columns, 34)), np.zeros((rows, columns, 64))
    distance = [((grid[:, :, None] - person) ** 2).sum(-1) for person in people]
    nearest = np.argmin(distance, axis=0)
    for j in range(17):
        points = np.stack([person[j] for person in people])[nearest[:, :, j]]
        apart = points - grid
        heat[:, :, j] = 5 - (apart**2).sum(-1) / stride**2
        shorts[:, :, j], shorts[:, :, 17 + j] = apart[..., 0], apart[..., 1]
    for i, (a, b) in enumerate(_EDGES):
        for start, end, first in ((a, b, 0), (b, a, 32)):
            steps = np.stack([person[end] - person[start] for person in people])
            step = steps[nearest[:, :, start]]
            mids[:, :, first + i], mids[:, :, first + 16 + i] = step[..., 0], step[..., 1]
    return [each[None].astype(np.float32) for each in (heat, shorts, mids)]


def test_constructed_people_are_found_at_their_places() -> None:
    rng = np.random.default_rng(3)
    people = [
        rng.uniform((20, 20), (220, 120), (17, 2)),
        rng.uniform((20, 180), (220, 300), (17, 2)),
    ]
    maps = _maps(people, (16, 20), 16)
    options = PosenetOptions(stride=16, nms_radius_px=10)
    found = decode_posenet(maps[0], maps[1], maps[2], (241, 305), options)
    assert len(found.scores) == 2
    points = found.keypoints_yx * [241, 305]
    order = np.argsort(points[:, :, 1].mean(axis=1))
    for person, truth in zip(points[order], people):
        # Between places of two people the maps jump; most points are exact.
        assert np.median(np.abs(person - truth).max(axis=1)) < 0.01
    assert (found.keypoint_scores <= 1).all()


def test_no_person_is_found_in_an_empty_image() -> None:
    maps = [np.full((1, 9, 9, n), v, np.float32) for n, v in ((17, -9), (34, 0), (64, 0))]
    found = decode_posenet(maps[0], maps[1], maps[2], (129, 129))
    assert found.keypoints_yx.shape == (0, 17, 2)
    assert is_posenet([each.shape for each in maps])


def test_movenet_is_read_by_column() -> None:
    output = np.zeros((1, 1, 17, 3), np.float32)
    output[0, 0, 3] = [0.25, 0.5, 0.9]
    found = decode_movenet(output)
    assert found.keypoints_yx[0, 3].tolist() == [0.25, 0.5]
    assert found.keypoint_scores[0, 3] == pytest.approx(0.9)
    px = found.keypoints_xy_px(place((400, 200), (192, 192), "stretch"))
    assert px[0, 3].tolist() == pytest.approx([200, 50])


def test_movenet_for_several_people_leaves_empty_slots_out() -> None:
    output = np.zeros((1, 6, 56), np.float32)
    output[0, 2, -1], output[0, 4, -1] = 0.4, 0.8
    output[0, 4, :3] = [0.1, 0.2, 0.3]
    assert is_movenet([output.shape])
    found = decode_movenet(output)
    assert found.scores.tolist() == pytest.approx([0.8, 0.4])
    assert found.keypoints_yx[0, 0].tolist() == pytest.approx([0.1, 0.2])


def _reference(path: Path) -> np.ndarray:
    """(people, 17, 4): y, x, certainty of the point, score of the person."""
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    names = ("keypoint_y", "keypoint_x", "keypoint_score", "pose_score")
    return np.array([[float(row[name]) for name in names] for row in rows]).reshape(-1, 17, 4)


def _found(result: object) -> np.ndarray:
    (answer,) = result.answers  # type: ignore[attr-defined] # a RunResult
    return np.array(
        [[(p.y, p.x, p.score, person.score) for p in person.keypoints] for person in answer.people]
    )


@pytest.mark.corpus
@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_posenet_is_within_two_pixels_of_googles_key_points(corpus: Path, kernels: str) -> None:
    folder = corpus / "compiled" / "google-coral__test_data"
    image = corpus / "coral" / "posenet_test_image.bmp"
    how = "mean=128,std=128,filter=bilinear"  # the reference was made with Pillow, like pycoral's
    result = run(folder / f"{_POSENET}.tflite", [image], kernels=kernels, preprocess=how)
    assert (result.task, result.decoder) == ("pose", "PoseNet")
    ours = _found(result)
    theirs = _reference(corpus / "coral" / f"{_POSENET}_reference.csv")
    assert ours.shape == theirs.shape
    assert (np.abs(ours - theirs)[..., :2] * [353, 481]).max() < 2
    assert np.abs(ours - theirs)[..., 3].max() < 0.01


@pytest.mark.corpus
def test_posenets_options_are_those_in_the_file(corpus: Path) -> None:
    folder = corpus / "compiled" / "google-coral__test_data"
    for name in (f"{_POSENET}.tflite", f"{_POSENET}_edgetpu.tflite"):
        cut = without_decoder(read_model(folder / name))
        assert cut is not None
        model, options = cut
        assert (options.max_detections, options.stride, options.nms_radius_px) == (20, 16, 10)
        assert [model.main.tensors[i].shape[-1] for i in model.main.outputs] == [17, 34, 64]


@pytest.mark.corpus
def test_movenet_is_as_near_to_googles_key_points_as_their_own_test_requires(corpus: Path) -> None:
    """Points with a high score in both are within 0.04, as in libcoral's test.

    Nearer is a matter of chance: the references come from another quantization of the network
    (the next test), and this one turns the last bit of a resized pixel into 0.02.
    """
    model = corpus / "compiled" / "google-coral__test_data" / f"{_MOVENET}.tflite"
    ours = _found(run(model, [corpus / "coral" / "squat.bmp"], kernels="reference"))
    theirs = _reference(corpus / "coral" / f"{_MOVENET}_reference.csv")
    sure = (ours[..., 2] > 0.4) & (theirs[..., 2] > 0.4)
    assert np.abs(ours - theirs)[sure][:, :2].max() < 0.04
    assert np.abs(ours - theirs)[..., :2].mean() < 0.015


@pytest.mark.corpus
@pytest.mark.parametrize("suffix", ["_reference", "_edgetpu_reference"])
def test_the_reference_of_movenet_was_not_made_with_this_model(corpus: Path, suffix: str) -> None:
    """All its numbers are multiples of 0.0039537; the model gives multiples of 0.0040969."""
    content = corpus / "compiled" / "google-coral__test_data" / f"{_MOVENET}.tflite"
    graph = read_model(content).main
    scale = graph.tensors[graph.operators[-1].inputs[0]].scale
    assert scale is not None
    assert scale == pytest.approx(0.0040968540)
    reference = _reference(corpus / "coral" / f"{_MOVENET}{suffix}.csv")[0, :, :3]
    assert _distance_to_multiples(reference, 0.003953715) < 1e-6  # the decimals of the file
    assert _distance_to_multiples(reference, scale) > 0.0019


def _distance_to_multiples(values: np.ndarray, unit: float) -> float:
    return float(np.abs(values - np.rint(values / unit) * unit).max())


@pytest.mark.corpus
def test_movenets_pixels_are_not_scaled(corpus: Path) -> None:
    model = corpus / "compiled" / "google-coral__test_data" / f"{_MOVENET}.tflite"
    result = run(model, [corpus / "coral" / "squat.bmp"])
    assert result.preprocess.startswith("raw")
    assert Preprocess("raw").promised_range == (0, 255)
