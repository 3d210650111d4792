# SPDX-License-Identifier: Apache-2.0
"""Compare edgekit's YOLO decoders with Ultralytics' own results for the same tensors.

    scripts/check_yolo.py --python ENV/bin/python > docs/yolo-accuracy.md

ENV needs ultralytics, torch, onnx and onnxruntime; `yolo_exports.py` runs there. Without it, the
script only prints the reason. The exit status is 1 if a decoder differs by more than a pixel,
finds another class, or chooses another task for a network.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.data.placement import place
from edgekit.errors import UnsupportedModelError
from edgekit.tasks import Detections
from edgekit.tasks.yolo import Yolo
from edgekit.tasks.yolo_columns import Stated, read_stated
from edgekit.tasks.yolo_layout import find_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Placement

_SIZE = (320, 320)
_NETWORKS = (
    *("yolov3-tiny", "yolov5n", "yolov5n-p6", "yolov6n", "yolov8n", "yolov8n-p2", "yolov8n-p6"),
    *("yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n", "yolo26n-p2", "yolo26n-p6"),
    *("yolov8n-seg", "yolov8n-seg-p6", "yolov9c-seg", "yolo11n-seg", "yolo12n-seg", "yolo26n-seg"),
    *("yolov8n-pose", "yolov8n-pose-p6", "yolo11n-pose", "yolo12n-pose", "yolo26n-pose"),
    *("yolov8n-obb", "yolo11n-obb", "yolo12n-obb", "yolo26n-obb"),
    *("yolov8n-cls", "yolo11n-cls", "yolo12n-cls", "yolo26n-cls"),
)
# With exported suppression, and with end-to-end heads.
_FINISHED = (
    *(('{"nms": true}', name) for name in ("yolov8n", "yolo11n-seg", "yolo11n-pose")),
    *(('{"nms": true}', name) for name in ("yolo11n-obb",)),
    *(('{"nms": false}', name) for name in ("yolov10n", "yolo26n", "yolo26n-p2")),
    *(('{"nms": false}', name) for name in ("yolo26n-seg", "yolo26n-pose", "yolo26n-obb")),
)
_PROBLEM = "**"


@dataclass(frozen=True)
class Row:
    """One network in the table."""

    name: str
    outputs: str
    read_as: str
    objects: int
    box_px: float
    score: float
    detail: str
    problem: str


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="the Python of the environment with Ultralytics")
    parser.add_argument("--tensors", type=Path, help="tensors of an earlier run; exports nothing")
    arguments = parser.parse_args()
    if arguments.tensors is None:
        reason = _missing(arguments.python)
        if reason:
            print(f"skipped: {reason}")
            return 0
    with tempfile.TemporaryDirectory() as folder:
        tensors = arguments.tensors or _export(arguments.python, Path(folder))
        rows = [_check(path) for path in sorted(tensors.glob("*.npz"))]
    print("\n".join(_page(rows)))
    return 1 if not rows or any(row.problem for row in rows) else 0


def _missing(python: str | None) -> str:
    if python is None:
        return "no --python is given"
    modules = "ultralytics, torch, onnx, onnxruntime"
    command = [python, "-c", f"import {modules}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _export(python: str, folder: Path) -> Path:
    networks = [*_NETWORKS, *(f"{name}={options}" for options, name in _FINISHED)]
    script = Path(__file__).with_name("yolo_exports.py")
    command = [python, str(script), str(folder / "tensors"), *networks]
    # Otherwise its exporter would install missing packages.
    environment = {**os.environ, "YOLO_AUTOINSTALL": "false"}
    subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=True)
    return folder / "tensors"


def _check(path: Path) -> Row:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    metadata = {key: _value(text) for key, text in json.loads(str(arrays["metadata"])).items()}
    outputs = [arrays[name] for name in sorted(arrays) if name.startswith("output")]
    others = [arrays[name] for name in sorted(arrays) if name.startswith("other")]
    shapes = " + ".join("x".join(map(str, each.shape)) for each in outputs)
    if "probabilities" in arrays:
        gap = float(np.abs(outputs[0].ravel() - arrays["probabilities"]).max())
        return Row(path.stem, shapes, "classification", 0, 0.0, gap, "", "")
    try:
        by_form = _read(outputs, others, Stated())
        by_metadata = _read(outputs, others, read_stated(metadata))
    except UnsupportedModelError as error:
        return Row(path.stem, shapes, "none", 0, 0.0, 0.0, "", error.what)
    stated = str(metadata["task"])
    problem = "" if by_form.columns == by_metadata.columns else "metadata gives another reading"
    if stated != by_form.columns.task:
        problem = f"it is for {stated}"
    return _compared(path.stem, shapes, by_form, by_form.decode(outputs), arrays, problem)


def _value(text: str) -> Any:  # noqa: ANN401 - any value that the exporter wrote as text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _read(outputs: list[NDArray[Any]], others: list[NDArray[Any]], stated: Stated) -> Yolo:
    layout = find_layout([each.shape for each in outputs], _SIZE, lambda: others, stated)
    if layout is None:
        raise UnsupportedModelError("no YOLO")
    return Yolo(layout[0], layout[1], _SIZE, iou_threshold=0.7)


def _compared(
    name: str,
    shapes: str,
    yolo: Yolo,
    found: Any,  # noqa: ANN401 - detections or poses
    expected: dict[str, NDArray[Any]],
    problem: str,
) -> Row:
    placement = place((_SIZE[1], _SIZE[0]), (_SIZE[1], _SIZE[0]), "stretch")
    if "masks" in expected:  # Ultralytics leaves out objects with an empty mask
        found = found.take(np.flatnonzero(_are_drawn(found, placement)))
    boxes, classes, scores = expected["boxes"], expected["classes"].astype(int), expected["scores"]
    ours = found.boxes_xyxy_px(placement)
    if (
        "corners" not in expected
    ):  # Ultralytics clips boxes at the image's edges, but not rotated ones
        ours = ours.clip(0, _SIZE[0])
    if len(ours) != len(boxes) or not len(boxes):
        problem = problem or f"{len(ours)} objects, expected {len(boxes)}"
        return Row(name, shapes, yolo.name, len(boxes), 0.0, 0.0, "", problem)
    gaps = np.abs(ours[:, None] - boxes[None]).max(axis=2)
    gaps = gaps + 1000 * (found.class_indices[:, None] != classes[None])
    gaps = gaps + np.abs(found.scores[:, None] - scores[None])
    pairs = _pairs(gaps)
    box = float(np.abs(ours[pairs] - boxes).max(initial=0))
    score = float(np.abs(found.scores[pairs] - scores).max(initial=0))
    if (found.class_indices[pairs] != classes).any():
        problem = problem or "another class"
    detail, worst = _details(found, pairs, expected, placement)
    if box > 1 or worst > 1:
        problem = problem or "off"
    return Row(name, shapes, yolo.name, len(boxes), box, score, detail, problem)


def _pairs(gaps: NDArray[Any]) -> NDArray[np.int64]:
    """Match each of theirs (columns) with the nearest of ours (rows) that is still free."""
    pairs = []
    left = gaps.copy()
    for column in range(left.shape[1]):
        pairs.append(int(left[:, column].argmin()))
        left[pairs[-1]] = np.inf
    return np.asarray(pairs, np.int64)


def _details(
    found: Any,  # noqa: ANN401
    pairs: NDArray[Any],
    expected: dict[str, NDArray[Any]],
    placement: Placement,
) -> tuple[str, float]:
    """Return a description, and the error as a share of the allowed one."""
    if "keypoints" in expected:
        # Ultralytics clips them at the image's edges and zeroes those with a score below 0.5.
        ours = found.keypoints_xy_px(placement)[pairs].clip(0, _SIZE[0])
        theirs = expected["keypoints"][..., :2]
        gap = np.abs(ours - theirs)[theirs.any(axis=2)]
        return f"key points {gap.max(initial=0):.4f} px", float(gap.max(initial=0))
    if isinstance(found, Detections) and found.corners_yx is not None and "corners" in expected:
        ours = placement.to_image(found.corners_yx[pairs][..., ::-1])
        gaps = np.linalg.norm(ours[:, :, None] - expected["corners"][:, None], axis=3).min(axis=1)
        return f"corners {gaps.max(initial=0):.4f} px", float(gaps.max(initial=0))
    if isinstance(found, Detections) and found.masks is not None and "masks" in expected:
        overlaps = [
            _overlap(found.masks.in_image(int(mine), placement), theirs)
            for mine, theirs in zip(pairs, expected["masks"], strict=True)
        ]
        least = min(overlaps, default=1.0)
        return f"masks IoU {least:.4f}", 100 * (1 - least)
    return "", 0.0


def _are_drawn(found: Detections, placement: Placement) -> list[bool]:
    masks = found.masks
    count = 0 if masks is None else len(masks)
    return [masks is not None and bool(masks.in_image(i, placement).any()) for i in range(count)]


def _overlap(mine: NDArray[Any], theirs: NDArray[Any]) -> float:
    union = int((mine | theirs).sum())
    return 1.0 if not union else int((mine & theirs).sum()) / union


def _page(rows: list[Row]) -> list[str]:
    return [
        "# YOLO decoders against Ultralytics",
        "",
        "Networks with random weights from Ultralytics' own exporter (ONNX, 320x320). edgekit and",
        "Ultralytics' predictor read the same tensors at score 0.25, IoU 0.7. Largest difference",
        "over all objects. edgekit finds the task from shapes and values, without the metadata;",
        "the metadata states the same task. Ultralytics' YOLOv3, v5 and v6 have v8's head. Tests",
        "compare YOLOv5 and v7 with anchors, YOLOv6's own export and YOLOX with an independent",
        "implementation.",
        "Made by `scripts/check_yolo.py` with Ultralytics 8.4.190, torch 2.14.1 and onnxruntime",
        "1.32.0.",
        "",
        "| network | outputs | read as | objects | boxes, px | scores | |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row.name} | {row.outputs} | {row.read_as} | {row.objects} | {row.box_px:.4f} | "
            f"{row.score:.1e} | {row.detail}{_flag(row.problem)} |"
            for row in rows
        ),
    ]


def _flag(problem: str) -> str:
    return f" {_PROBLEM}{problem}{_PROBLEM}" if problem else ""


if __name__ == "__main__":
    sys.exit(main())
