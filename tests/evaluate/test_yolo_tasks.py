# SPDX-License-Identifier: Apache-2.0
"""YOLOs of every task in `run` and `evaluate`: constant outputs with known results."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edgekit.cli.main import build
from edgekit.errors import UnsupportedModelError
from edgekit.evaluate import evaluate, run
from edgekit.formats.tflite import Quantization, write_model
from tests.conftest import constant_model
from tests.rewrite.conftest import Graph

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SIDE = 64
_IMAGE = (1, _SIDE, _SIDE, 3)


def _table(values: int) -> NDArray[Any]:
    """(84, 4 + values): a box around each place of 64x64, in pixels."""
    table = np.full((84, 4 + values), 0.001, np.float32)
    table[:, :2] = [
        ((x + 0.5) * stride, (y + 0.5) * stride)
        for stride in (8, 16, 32)
        for y in range(_SIDE // stride)
        for x in range(_SIDE // stride)
    ]
    table[:, 2:4] = 16
    return table


def _pose(points: int = 17) -> bytes:
    table = _table(1 + 3 * points)
    for point in range(points):
        table[:, 5 + 3 * point : 7 + 3 * point] = table[:, :2] + np.array([point, -point])
        table[:, 7 + 3 * point] = 0.9
    table[27, :5] = [32, 24, 20, 30, 0.8]
    return constant_model(_IMAGE, [table.T[None]])


def _rotated() -> bytes:
    table = _table(2 + 1)
    table[:, -1] = np.linspace(-0.7, 2.3, 84)
    table[27] = [32, 32, 30, 10, 0.001, 0.8, math.pi / 4]
    return constant_model(_IMAGE, [table.T[None]])


def _segmenting() -> bytes:
    """One object of class 1, whose mask is the left half of its box."""
    table = _table(2 + 4)
    table[27] = [32, 32, 40, 20, 0.001, 0.8, 1, 0, 0, 0]
    planes = np.zeros((16, 16, 4), np.float32)
    planes[..., 0] = np.where(np.arange(16) < 8, 1, -1)
    return constant_model(_IMAGE, [table.T[None], planes[None]])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Twice as large as the networks' input."""
    from PIL import Image  # noqa: PLC0415

    path = tmp_path / "image.png"
    Image.fromarray(np.full((128, 128, 3), 90, np.uint8)).save(str(path))
    return path


def _coco(image: Path, annotation: dict[str, Any], name: str = "person") -> Path:
    document = {
        "images": [{"id": 1, "file_name": image.name, "width": 128, "height": 128}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **annotation}],
        "categories": [{"id": 1, "name": "other"}, {"id": 2, "name": name}],
    }
    path = image.with_name("truth.json")
    path.write_text(json.dumps(document))
    return path


def test_a_persons_key_points_and_box_in_the_image(image: Path, tmp_path: Path) -> None:
    (answer,) = run(_pose(), [image], output=tmp_path / "drawn").answers
    (person,) = answer.people
    assert person.box_xyxy_px == pytest.approx((44, 18, 84, 78), abs=1e-3)
    assert [point.name for point in person.keypoints][:2] == ["nose", "left eye"]
    row = 27 // 8, 27 % 8
    x, y = (row[1] + 0.5) * 8, (row[0] + 0.5) * 8
    want = [(2 * (x + k), 2 * (y - k)) for k in range(17)]
    np.testing.assert_allclose([(p.x_px, p.y_px) for p in person.keypoints], want, atol=1e-3)
    assert answer.picture


def test_key_points_are_judged_by_coco(image: Path) -> None:
    pytest.importorskip("pycocotools")
    x, y = (27 % 8 + 0.5) * 8, (27 // 8 + 0.5) * 8
    points = [v for k in range(17) for v in (2 * (x + k), 2 * (y - k), 2)]
    truth = {"category_id": 2, "keypoints": points, "bbox": [44, 18, 40, 60]}
    result = evaluate(_pose(), _coco(image, truth), preprocess="unit")
    assert (result.task, result.decoder) == ("pose", "YOLOv8 pose")
    assert result.metrics["oks"] == pytest.approx(1)
    with pytest.raises(UnsupportedModelError, match="5 key points"):
        evaluate(_pose(5), _coco(image, truth), preprocess="unit")


def test_rotated_boxes_are_drawn_and_judged_by_the_boxes_around_them(
    image: Path, tmp_path: Path
) -> None:
    result = run(_rotated(), [image], output=tmp_path / "drawn")
    (found,) = result.answers[0].objects
    half = (15 + 5) * math.sqrt(0.5) * 2
    around = (64 - half, 64 - half, 64 + half, 64 + half)
    assert found.box_xyxy_px == pytest.approx(around, abs=1e-3)
    assert len(found.corners_xy_px) == 4
    assert result.answers[0].picture
    pytest.importorskip("pycocotools")
    truth = {"category_id": 2, "bbox": [64 - half, 64 - half, 2 * half, 2 * half]}
    judged = evaluate(_rotated(), _coco(image, truth), preprocess="unit")
    assert judged.metrics["map"] == pytest.approx(1)
    assert any("angles are not compared" in each for each in judged.warnings)


def test_a_mask_covers_its_pixels_of_the_image(image: Path, tmp_path: Path) -> None:
    from PIL import Image  # noqa: PLC0415

    (answer,) = run(_segmenting(), [image], output=tmp_path / "drawn").answers
    (found,) = answer.objects
    assert found.box_xyxy_px == pytest.approx((24, 44, 104, 84), abs=1e-3)
    assert found.mask is not None
    assert (found.mask.size, found.mask.area_px) == ((128, 128), 40 * 40)
    # Column after column: 24 empty columns and 44 pixels, then 40 of 128 in each of 40 columns.
    assert found.mask.counts[:3] == (24 * 128 + 44, 40, 88)
    assert sum(found.mask.counts) == 128 * 128
    drawn = np.asarray(Image.open(answer.picture).convert("RGB"))
    assert (drawn[130:160, 60:120] != 90).any(axis=2).all()  # enlarged twice: inside the mask
    assert (drawn[130:160, 140:190] == 90).all()  # the box's other half
    pytest.importorskip("pycocotools")
    truth = {"category_id": 2, "bbox": [24, 44, 80, 40]}
    judged = evaluate(_segmenting(), _coco(image, truth), preprocess="unit")
    assert judged.metrics["map"] == pytest.approx(1)
    assert any("masks are not compared" in each for each in judged.warnings)


def _joined() -> bytes:
    """A quantized head: boxes of 64 pixels' range and sigmoids, joined in steps of 64 / 255."""
    graph = Graph(_IMAGE)
    unit = Quantization((1 / 255,), (-128,))
    graph.tensors[graph.x] = replace(graph.tensors[graph.x], quantization=unit)

    def taken(first: int, values: int) -> int:
        graph.x = flat
        begin = graph.constant(np.array([0, first], np.int32))
        size = graph.constant(np.array([1, values * 84], np.int32))
        cut = graph.like(flat, (1, values * 84))
        graph.apply("SLICE", [flat, begin, size], cut, {}, "SliceOptions")
        shape = (1, values, 84)
        target = graph.constant(np.array(shape, np.int32))
        options = {"new_shape": shape}
        return graph.apply(
            "RESHAPE", [cut, target], graph.like(cut, shape), options, "ReshapeOptions", 1
        )

    count = _SIDE * _SIDE * 3
    whole = graph.constant(np.array([1, count], np.int32))
    flat = graph.like(graph.x, (1, count))
    options = {"new_shape": (1, count)}
    graph.apply("RESHAPE", [graph.x, whole], flat, options, "ReshapeOptions", 1)
    shares = taken(0, 4)
    factor = graph.constant(np.array([127], np.int8), Quantization((0.5,), (0,)))
    pixels = graph.tensor((1, 4, 84), 64 / 255, -128)
    none = {"fused_activation_function": "NONE"}
    boxes = graph.apply("MUL", [shares, factor], pixels, none, "MulOptions")
    taken(9000, 2)
    graph.logistic()
    coarse = graph.tensor((1, 2, 84), 64 / 255, -128)
    scores = graph.apply("QUANTIZE", [graph.x], coarse)
    joined = graph.tensor((1, 6, 84), 64 / 255, -128)
    axis = {"axis": 1, **none}
    graph.apply("CONCATENATION", [boxes, scores], joined, axis, "ConcatenationOptions")
    return write_model(graph.model())


def test_the_fix_for_scores_in_steps_of_pixels_is_a_command_that_works(
    tmp_path: Path,
) -> None:
    path, image = tmp_path / "my yolo.tflite", tmp_path / "x.npy"
    path.write_bytes(_joined())
    np.save(str(image), np.random.default_rng(0).random((_SIDE, _SIDE, 3)).astype(np.float32))
    before = run(path, [image])
    assert before.decoder == "YOLOv8"
    (warning,) = before.warnings
    assert "in steps of 0.251: scores between 0 and 1 are lost" in warning
    command = shlex.split(warning[warning.index("edgekit fix") :])
    done = CliRunner().invoke(build(), command[1:])
    assert done.exit_code == 0, done.output
    after = run(command[-1], [image])
    assert (after.decoder, after.warnings) == ("YOLOv8", ())
    assert len({each.score for each in before.answers[0].objects}) <= 2
    assert len({each.score for each in after.answers[0].objects}) > 2
