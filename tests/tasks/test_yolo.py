# SPDX-License-Identifier: Apache-2.0
"""YOLO's outputs, built here after Ultralytics' documented layouts."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.tasks.yolo import decode_yolo, yolo_layout

_SIZE = (320, 320)
_PLACES = 40 * 40 + 20 * 20 + 10 * 10


def _objects() -> list[tuple[tuple[float, ...], int, float]]:
    """(centre x, centre y, width, height as shares), class, score."""
    return [((0.25, 0.5, 0.2, 0.4), 2, 0.9), ((0.7, 0.3, 0.1, 0.1), 0, 0.6)]


def _v8(unit: float, *, transposed: bool) -> np.ndarray:
    output = np.zeros((1, _PLACES, 4 + 3), np.float32)
    output[0, :, :4] = 0.5 * unit
    for place, (box, label, score) in enumerate(_objects()):
        for double in (0, 40):  # each twice: the second is to be suppressed
            output[0, 100 * place + double, :4] = np.asarray(box) * unit
            output[0, 100 * place + double, 4 + label] = score - 0.01 * double / 40
    return output.transpose(0, 2, 1) if transposed else output


def _v5(unit: float) -> np.ndarray:
    output = np.zeros((1, 3 * _PLACES, 5 + 3), np.float32)
    output[0, :, :4] = 0.5 * unit
    for place, (box, label, score) in enumerate(_objects()):
        output[0, 50 * place, :4] = np.asarray(box) * unit
        output[0, 50 * place, 4] = score
        output[0, 50 * place, 5 + label] = 1
    return output


@pytest.mark.parametrize(
    ("output", "version"),
    [
        (_v8(1, transposed=True), "YOLOv8"),
        (_v8(320, transposed=True), "YOLOv8"),
        (_v8(1, transposed=False), "YOLOv8"),
        (_v5(1), "YOLOv5"),
        (_v5(320), "YOLOv5"),
    ],
    ids=["v8 shares", "v8 pixels", "v8 rows", "v5 shares", "v5 pixels"],
)
def test_objects_come_back_from_every_layout(output: np.ndarray, version: str) -> None:
    layout = yolo_layout([output.shape], _SIZE)
    assert layout is not None
    assert (layout.version, layout.num_classes) == (version, 3)
    found = decode_yolo(output, layout, _SIZE)
    assert found.class_indices.tolist() == [2, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.6], atol=1e-6)
    np.testing.assert_allclose(found.boxes_yxyx[0], [0.3, 0.15, 0.7, 0.35], atol=1e-6)


def test_an_export_with_suppression_is_read_as_it_is() -> None:
    output = np.zeros((1, 300, 6), np.float32)
    output[0, 0] = [32, 64, 160, 192, 0.8, 5]
    layout = yolo_layout([output.shape], _SIZE)
    assert layout is not None
    assert layout.is_finished
    found = decode_yolo(output, layout, _SIZE)
    np.testing.assert_allclose(found.boxes_yxyx, [[0.2, 0.1, 0.6, 0.5]], atol=1e-6)
    assert found.class_indices.tolist() == [5]


def test_an_input_that_is_no_square_keeps_its_axes() -> None:
    places = sum((192 // s) * (320 // s) for s in (8, 16, 32))
    output = np.zeros((1, 6, places), np.float32)
    output[0, :5, 7] = [160, 48, 80, 96, 0.9]
    layout = yolo_layout([output.shape], (192, 320))
    assert layout is not None
    found = decode_yolo(output, layout, (192, 320))
    np.testing.assert_allclose(found.boxes_yxyx, [[0, 0.375, 0.5, 0.625]], atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1001), (1, 17, 3), (1, 513, 513), (2, 2100, 84)])
def test_other_shapes_are_no_yolo(shape: tuple[int, ...]) -> None:
    assert yolo_layout([shape], _SIZE) is None


def test_nothing_above_the_threshold_is_no_object() -> None:
    output = np.zeros((1, 7, _PLACES), np.float32)
    layout = yolo_layout([output.shape], _SIZE)
    assert layout is not None
    assert len(decode_yolo(output, layout, _SIZE).scores) == 0
