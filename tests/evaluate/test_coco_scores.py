# SPDX-License-Identifier: Apache-2.0
"""COCO's metrics are equal to those of pycocotools."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest

from edgekit.errors import DataError
from edgekit.evaluate.coco_judge import categories_of_classes
from edgekit.evaluate.coco_scores import BOXES, KEYPOINTS, score_coco

coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
cocoeval = pytest.importorskip("pycocotools.cocoeval")


def _document(rng: np.random.Generator, images: int = 30) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for _ in range(int(rng.integers(1, 5))):
            x, y, w, h = (float(v) for v in rng.uniform((0, 0, 20, 20), (400, 300, 200, 180)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.integers(1, 4)),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, 4)],
    }


def _results(document: dict[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for each in document["annotations"]:
        if rng.random() < 0.8:
            box = np.asarray(each["bbox"]) + rng.normal(0, 6, 4)
            category = each["category_id"] if rng.random() < 0.9 else 1
            found.append(
                {
                    "image_id": each["image_id"],
                    "category_id": category,
                    "bbox": [float(value) for value in box],
                    "score": float(rng.random()),
                }
            )
    return found


def _oracle(
    document: dict[str, Any], results: list[dict[str, Any]], images: list[int]
) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = copy.deepcopy({"info": {}, **document})
        truth.createIndex()
        judge = cocoeval.COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "bbox")
        judge.params.imgIds = images
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    stats: np.ndarray = judge.stats
    return stats


def test_numbers_are_pycocotools_own_and_so_are_those_without_a_group() -> None:
    rng = np.random.default_rng(5)
    document = _document(rng)
    results = _results(document, rng)
    images = [each["id"] for each in document["images"]]
    ours = score_coco(document, images, results, BOXES)
    stats = _oracle(document, results, images)
    assert [ours.metrics[n] for n in ("map", "map50", "map75", "mar")] == pytest.approx(
        [stats[0], stats[1], stats[2], stats[8]]
    )
    for group in (0, 7):
        kept = [each for i, each in enumerate(images) if i % 20 != group]
        stats = _oracle(document, results, kept)
        assert ours.left_out["map"][group] == pytest.approx(stats[0])
        assert ours.left_out["map50"][group] == pytest.approx(stats[1])
    mean = np.mean([values["map"] for values in ours.per_class.values()])
    assert ours.metrics["map"] == pytest.approx(mean)


def test_without_detections_nothing_is_right() -> None:
    document = _document(np.random.default_rng(1), 3)
    ours = score_coco(document, [1, 2, 3], [], BOXES)
    assert ours.metrics == {"map": 0, "map50": 0, "map75": 0, "mar": 0}


def test_boxes_without_area_and_crowd_are_completed() -> None:
    document = _document(np.random.default_rng(2), 4)
    keys = ("image_id", "category_id", "bbox")
    perfect = [{**{k: each[k] for k in keys}, "score": 1.0} for each in document["annotations"]]
    for each in document["annotations"]:
        del each["area"], each["iscrowd"]
    assert score_coco(document, [1, 2, 3, 4], perfect, BOXES).metrics["map"] == pytest.approx(1)


def test_key_points_are_judged_by_oks() -> None:
    rng = np.random.default_rng(7)
    points = rng.uniform(20, 200, (4, 17, 2))
    annotations = [
        {
            "id": i + 1,
            "image_id": i + 1,
            "category_id": 1,
            "bbox": [10, 10, 200, 200],
            "area": 40000,
            "iscrowd": 0,
            "keypoints": [v for x, y in person for v in (float(x), float(y), 2)],
        }
        for i, person in enumerate(points)
    ]
    document = {
        "images": [{"id": i + 1, "file_name": "x"} for i in range(4)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }

    def found(shift: float) -> list[dict[str, Any]]:
        return [
            {
                "image_id": i + 1,
                "category_id": 1,
                "score": 0.9,
                "keypoints": [v for x, y in person for v in (float(x + shift), float(y), 1)],
            }
            for i, person in enumerate(points)
        ]

    exact = score_coco(document, [1, 2, 3, 4], found(0), KEYPOINTS).metrics
    assert exact["oks"] == pytest.approx(1)
    assert exact["oks_map"] == pytest.approx(1)
    shifted = score_coco(document, [1, 2, 3, 4], found(10), KEYPOINTS).metrics
    # exp(-d^2 / (2 s^2 k^2)) with k = 2 sigma, averaged over the seventeen points.
    sigmas = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1e3
    expected = np.exp(-(10**2) / (2 * 40000 * (2 * sigmas) ** 2)).mean()
    assert shifted["oks"] == pytest.approx(expected, rel=1e-6)


class _Categories:
    """The part of a `CocoDataset` that the mapping uses."""

    path = "x.json"

    def __init__(self, ids: list[int]) -> None:
        self.categories = {each: f"name {each}" for each in ids}


@pytest.mark.parametrize(
    ("num_classes", "names", "offset", "wanted"),
    [
        (3, [], 0, [1, 2, 5]),
        (5, [], 0, [1, 2, -1, -1, 5]),
        (6, [], 0, [-1, 1, 2, -1, -1, 5]),
        (3, ["Name 5", "name 1", "other"], 0, [5, 1, -1]),
        (3, [], -1, [1, 2, 3]),
        (0, [], 0, [1, 2, -1, -1, 5]),
    ],
    ids=["as many", "as the ids", "background", "by name", "offset", "unknown"],
)
def test_classes_find_their_categories(
    num_classes: int, names: list[str], offset: int, wanted: list[int]
) -> None:
    dataset: Any = _Categories([1, 2, 5])
    assert categories_of_classes(dataset, num_classes, names, offset) == wanted


def test_classes_that_cannot_be_matched_are_refused() -> None:
    dataset: Any = _Categories([1, 2, 50])
    with pytest.raises(DataError, match="the model has 7 classes"):
        categories_of_classes(dataset, 7, [], 0)
    with pytest.raises(DataError, match="none of the labels"):
        categories_of_classes(dataset, 2, ["x", "y"], 0)
