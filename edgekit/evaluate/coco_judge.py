# SPDX-License-Identifier: Apache-2.0
"""Detections and key points against a COCO JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.errors import DataError, UnsupportedModelError
from edgekit.evaluate.coco_scores import BOXES, KEYPOINTS, load_pycocotools, score_coco
from edgekit.evaluate.judge import Verdict, decode_rows, make_score, paired_difference
from edgekit.tasks import KEYPOINT_NAMES, Detections, Poses

if TYPE_CHECKING:
    from edgekit.data import Batch, CocoDataset, Placement
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.finite import BadRows
    from edgekit.tasks import Decoder

_PERSON = "person"


class CocoJudge:
    """Collects what one or two models found in the same images.

    Memory grows with the number of objects (about 8 KB for 100 boxes): average precision ranks the
    objects of all images together.
    """

    def __init__(
        self,
        decoders: Sequence[Decoder],
        dataset: CocoDataset,
        categories: Sequence[int],
        kind: str,
    ) -> None:
        """Judge by ``dataset``.

        Args:
            decoders: One per model.
            dataset: The images and the ground truth.
            categories: The category of each class, by class index; for key points only that of
                people.
            kind: ``bbox`` or ``keypoints``.

        Raises:
            MissingExtraError: pycocotools is not installed. This is checked before the first image.
        """
        load_pycocotools()
        self._decoders, self._dataset, self._kind = decoders, dataset, kind
        self._categories = categories
        self.count = 0
        self._image_ids: list[int] = []
        self._found: list[list[list[float]]] = [[] for _ in decoders]

    def record(
        self, outputs: Sequence[Rows], batch: Batch, bad: Sequence[BadRows]
    ) -> dict[str, Any]:
        """Return image ids, and per model a row an object: image, category, score, numbers."""
        rows: list[list[list[float]]] = []
        for decoder, each, no_answer in zip(self._decoders, outputs, bad):
            meanings = decode_rows(decoder, each, no_answer)
            found: list[list[float]] = []
            for image, meaning, placement in zip(batch.targets, meanings, batch.placements):
                found += [[image, *row] for row in self._rows(meaning, placement)]
            rows.append(found)
        return {"images": list(batch.targets), "found": rows}

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record to the sums."""
        self.count += len(record["images"])
        self._image_ids += record["images"]
        for whole, rows in zip(self._found, record["found"]):
            whole.extend(rows)

    def verdict(self) -> Verdict:
        """COCO's average precisions."""
        document = self._dataset.document
        scores = []
        for rows in self._found:
            results = [self._result(row) for row in rows]
            score = score_coco(document, self._image_ids, results, self._kind)
            scores.append(make_score(score.metrics, score.left_out, score.per_class))
        difference, difference_ci95 = paired_difference(scores[0], scores[-1])
        classes = len(self._categories)
        return Verdict(tuple(scores), None, difference, difference_ci95, classes)

    def _rows(self, meaning: Any, placement: Placement) -> list[list[float]]:  # noqa: ANN401
        if isinstance(meaning, Poses):
            points = meaning.keypoints_xy_px(placement)
            if points.shape[1] != len(KEYPOINT_NAMES):
                raise UnsupportedModelError(
                    f"the network returns {points.shape[1]} key points; COCO's OKS needs the "
                    f"{len(KEYPOINT_NAMES)} of a person",
                    fix="look at what it finds with edgekit run",
                )
            return [
                [self._categories[0], float(score), *map(float, person.ravel())]
                for score, person in zip(meaning.scores, points)
            ]
        if not isinstance(meaning, Detections):
            return []
        boxes = meaning.boxes_xyxy_px(placement)
        sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        # A class without a category has no ground truth: it is always wrong.
        return [
            [self._category(int(index)), float(score), *map(float, box)]
            for index, score, box in zip(meaning.class_indices, meaning.scores, sizes)
        ]

    def _category(self, index: int) -> int:
        return self._categories[index] if 0 <= index < len(self._categories) else -1

    def _result(self, row: Sequence[float]) -> dict[str, Any]:
        image, category, score = int(row[0]), int(row[1]), row[2]
        result: dict[str, Any] = {"image_id": image, "category_id": category, "score": score}
        if self._kind == BOXES:
            return {**result, "bbox": list(row[3:])}
        points = [(x, y, 1.0) for x, y in zip(row[3::2], row[4::2])]
        return {**result, "keypoints": [value for point in points for value in point]}


def person_category(dataset: CocoDataset) -> list[int]:
    """Return the category of people in a JSON with key points.

    Raises:
        DataError: There are no key points in it.
    """
    if not any("keypoints" in each for each in dataset.document["annotations"]):
        raise DataError(
            "the JSON has no key points",
            where=str(dataset.path),
            fix="give a COCO JSON of person key points",
        )
    found = [number for number, name in dataset.categories.items() if name == _PERSON]
    return found or list(dataset.categories)[:1]


def categories_of_classes(
    dataset: CocoDataset, num_classes: int, names: Sequence[str], label_offset: int
) -> list[int]:
    """Return the category of each class of a detector.

    By name if the classes have names, else by number: a model with as many classes as categories
    has them in the same order; with more classes, class 0 is the category with id 1 (or id 0, if it
    has one class more than the largest id).

    Args:
        dataset: The ground truth.
        num_classes: The number of classes of the model; 0 if unknown.
        names: The names of the model's classes; may be empty.
        label_offset: If not 0: class = category id + offset.

    Raises:
        DataError: The names, or the numbers, do not fit.
    """
    ids = list(dataset.categories)
    largest = max(ids, default=0)
    if label_offset:
        return [index - label_offset for index in range(num_classes or largest + 1 + label_offset)]
    if names:
        by_name = {name.strip().lower(): number for number, name in dataset.categories.items()}
        found = [by_name.get(name.strip().lower(), -1) for name in names]
        if not any(each >= 0 for each in found):
            raise DataError(
                "none of the labels is the name of a category",
                where=str(dataset.path),
                why=f"the categories are {', '.join(list(by_name)[:8])} ...",
                fix="give the label file of the model, with the categories' names",
            )
        return found
    if num_classes == len(ids):
        return ids
    first = 0 if num_classes == largest + 1 else 1
    count = num_classes or largest
    if num_classes and num_classes + first <= largest:
        raise DataError(
            f"the model has {num_classes} classes, the JSON {len(ids)} categories with ids up to "
            f"{largest}",
            where=str(dataset.path),
            fix="give the names of the model's classes with --labels, or --label-offset",
        )
    known = set(ids)
    return [each if each in known else -1 for each in range(first, first + count)]


__all__ = ["BOXES", "KEYPOINTS", "CocoJudge", "categories_of_classes", "person_category"]
