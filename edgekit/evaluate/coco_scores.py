# SPDX-License-Identifier: Apache-2.0
"""COCO's metrics, computed by pycocotools."""

from __future__ import annotations

import contextlib
import copy
import io
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from edgekit.errors import DataError
from edgekit.evaluate.metrics import NUM_GROUPS
from edgekit.extras import require

BOXES, KEYPOINTS = "bbox", "keypoints"
# Metric -> index of the IoU threshold; None for the mean of all thresholds.
_METRICS = {"map": None, "map50": 0, "map75": 5}
_PREFIX = {BOXES: "", KEYPOINTS: "oks_"}


@dataclass(frozen=True)
class CocoScores:
    """Average precisions of one model, with all images and without each group of images."""

    metrics: dict[str, float]
    left_out: dict[str, list[float]]
    per_class: dict[str, dict[str, float]]


def load_pycocotools() -> tuple[Any, Any]:
    """Return the modules ``coco`` and ``cocoeval``, which have no type hints.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    purpose = "compute COCO's metrics"
    return (
        require("pycocotools.coco", extra="coco", purpose=purpose),
        require("pycocotools.cocoeval", extra="coco", purpose=purpose),
    )


def score_coco(
    document: Mapping[str, Any],
    image_ids: Sequence[int],
    results: Sequence[Mapping[str, Any]],
    kind: str,
) -> CocoScores:
    """Average precision of ``results`` on the images ``image_ids`` of a COCO document.

    Args:
        document: The ground truth.
        image_ids: The images that were evaluated.
        results: In COCO's result format.
        kind: ``bbox`` or ``keypoints``.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    coco_module, eval_module = load_pycocotools()
    # pycocotools prints to stdout, which is for our result.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = _completed(document)
        truth.createIndex()
        found = truth.loadRes(list(results)) if results else coco_module.COCO()
        judge = eval_module.COCOeval(truth, found, kind)
        judge.params.imgIds = list(image_ids)
        judge.evaluate()
        judge.accumulate()
        return _scores(judge, document, image_ids, kind)


def _scores(
    judge: Any,  # noqa: ANN401 - pycocotools has no type hints
    document: Mapping[str, Any],
    image_ids: Sequence[int],
    kind: str,
) -> CocoScores:
    prefix = _PREFIX[kind]
    precision = judge.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes
    metrics = {prefix + name: _mean(precision, at) for name, at in _METRICS.items()}
    metrics[prefix + "mar"] = _mean(judge.eval["recall"][:, None, :, 0, -1], None)
    if kind == KEYPOINTS:
        metrics["oks"] = _mean_oks(judge, set(image_ids))
    left_out: dict[str, list[float]] = {name: [] for name in metrics}
    for group in range(min(NUM_GROUPS, len(image_ids))):
        kept = [each for i, each in enumerate(image_ids) if i % NUM_GROUPS != group]
        if not kept:
            continue
        part = _part(judge, kept)
        for name, at in _METRICS.items():
            left_out[prefix + name].append(_mean(part["precision"][:, :, :, 0, -1], at))
        left_out[prefix + "mar"].append(_mean(part["recall"][:, None, :, 0, -1], None))
        if kind == KEYPOINTS:
            left_out["oks"].append(_mean_oks(judge, set(kept)))
    names = {int(each["id"]): str(each["name"]) for each in document["categories"]}
    per_class = {
        names[category]: {
            prefix + name: _mean(precision[:, :, [i]], at) for name, at in _METRICS.items()
        }
        for i, category in enumerate(judge.params.catIds)
        if (precision[:, :, i] > -1).any()
    }
    return CocoScores(metrics, left_out, per_class)


def _part(judge: Any, image_ids: Sequence[int]) -> Mapping[str, Any]:  # noqa: ANN401
    """Accumulate the numbers of some of the images, all object sizes together."""
    whole = judge.params
    params = copy.copy(whole)
    params.imgIds = list(image_ids)
    params.areaRng, params.areaRngLbl = whole.areaRng[:1], whole.areaRngLbl[:1]
    params.maxDets = whole.maxDets[-1:]
    part = copy.copy(judge)
    # ``evalImgs`` is laid out as [category][size][image]; accumulate() takes positions in it.
    order = {each: place for place, each in enumerate(whole.imgIds)}
    places = [order[each] for each in image_ids]
    step = len(whole.areaRng) * len(whole.imgIds)
    part.evalImgs = [
        judge.evalImgs[i * step + place] for i in range(len(whole.catIds)) for place in places
    ]
    part.params = part._paramsEval = params  # noqa: SLF001 - what accumulate() compares with
    part.accumulate()
    accumulated: Mapping[str, Any] = part.eval
    return accumulated


def _mean(values: Any, at: int | None) -> float:  # noqa: ANN401
    """Return the mean of all values but -1, which marks a class without ground truth."""
    chosen = values if at is None else values[at]
    known = chosen[chosen > -1]
    return float(known.mean()) if known.size else 0.0


def _mean_oks(judge: Any, image_ids: set[int]) -> float:  # noqa: ANN401
    """Return the mean over the annotated people of the highest OKS of a person found."""
    best: list[float] = []
    for (image, category), likeness in judge.ious.items():
        if image not in image_ids:
            continue
        truths = judge._gts[image, category]  # noqa: SLF001 - the rows of ``ious``
        if not truths:  # of a category without people in this image
            continue
        table = np.asarray(likeness).reshape(-1, len(truths))
        for column, person in enumerate(truths):
            if person.get("num_keypoints", 0) and not person.get("iscrowd"):
                best.append(float(table[:, column].max()) if len(table) else 0.0)
    return float(np.mean(best)) if best else 0.0


def _completed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ground truth with the fields that pycocotools requires.

    Raises:
        DataError: An object has no box.
    """
    annotations = []
    for number, each in enumerate(document["annotations"], 1):
        # pycocotools needs unique numeric ids, and uses 0 for "not found".
        whole = {"iscrowd": 0, **each, "id": number}
        box = whole.get("bbox")
        if box is None:
            raise DataError(
                "an annotation of the COCO JSON has no bbox",
                where=f"annotations[{number - 1}]",
                fix="export the annotations with their boxes",
            )
        if "area" not in whole:
            whole["area"] = box[2] * box[3]
        if "keypoints" in whole and "num_keypoints" not in whole:
            whole["num_keypoints"] = sum(1 for seen in whole["keypoints"][2::3] if seen > 0)
        annotations.append(whole)
    return {"info": {}, **document, "annotations": annotations}
