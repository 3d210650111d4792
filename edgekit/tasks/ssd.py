# SPDX-License-Identifier: Apache-2.0
"""Raw SSD: box encodings and class scores, a row per anchor, before TFLite_Detection_PostProcess.

Source:
    tensorflow/lite/kernels/detection_postprocess.cc: decoding and the fast suppression;
    TensorFlow's object_detection/anchor_generators/multiple_grid_anchor_generator.py: anchors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.tasks.boxes import Detections, non_maximum_suppression
from edgekit.tasks.custom_options import read_custom_options
from edgekit.tasks.detection import POSTPROCESS_OP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite import Model

# SSD on MobileNet: six maps, the first a sixteenth of the input's size.
_FIRST_STRIDE = 16
_NUM_MAPS = 6
_MIN_SCALE, _MAX_SCALE = 0.2, 0.95
_ASPECT_RATIOS = (1.0, 2.0, 1 / 2, 3.0, 0.3333)


@dataclass(frozen=True)
class SsdOptions:
    """How encodings become boxes; the defaults are those of TensorFlow's SSD models."""

    score_threshold: float = 1e-8
    iou_threshold: float = 0.6
    max_detections: int = 100
    max_classes_per_detection: int = 1
    scale_yx: float = 10.0
    scale_hw: float = 5.0
    use_regular_nms: bool = False  # suppression for each class separately
    detections_per_class: int = 100


def is_raw_ssd(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether outputs of these shapes are box encodings and class scores of the same anchors."""
    if len(shapes) != 2 or any(len(shape) < 3 for shape in shapes):
        return False
    return _boxes_first(shapes) is not None


def split_raw_ssd(outputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the outputs as (anchors, 4) encodings and (anchors, classes) scores."""
    order = _boxes_first([each.shape for each in outputs])
    boxes, scores = (outputs[i] for i in order or (0, 1))
    flat = boxes.reshape(-1, 4)
    return flat, scores.reshape(len(flat), -1)


def make_anchors(input_shape: Sequence[int], num_anchors: int) -> NDArray[np.float32]:
    """Return the anchors of SSD on MobileNet: (num_anchors, 4) rows of (y, x, h, w), normalized.

    Raises:
        UnsupportedModelError: The network has another number of anchors.
    """
    height, width = input_shape
    scales = [*np.linspace(_MIN_SCALE, _MAX_SCALE, _NUM_MAPS).tolist(), 1.0]
    maps = []
    for level in range(_NUM_MAPS):
        stride = _FIRST_STRIDE << level
        grid = math.ceil(height / stride), math.ceil(width / stride)
        maps.append(_grid_anchors(grid, _shapes_of_level(level, scales), width / height))
    anchors = np.concatenate(maps).astype(np.float32)
    if len(anchors) != num_anchors:
        raise UnsupportedModelError(
            f"the network has {num_anchors} anchors, SSD on MobileNet has {len(anchors)} at "
            f"{height}x{width}",
            why="raw SSD outputs cannot be decoded without the anchors",
            fix="give them: --anchors FILE, an .npy of (anchors, 4) rows (y, x, h, w), or the "
            f".tflite with {POSTPROCESS_OP}, which contains them",
        )
    return anchors


def anchors_of(model: Model) -> tuple[NDArray[np.float32], SsdOptions] | None:
    """Return anchors and options of a model's TFLite_Detection_PostProcess; None without one."""
    for operator in model.main.operators:
        if operator.custom_code != POSTPROCESS_OP or len(operator.inputs) < 3:
            continue
        tensor = model.main.tensors[operator.inputs[2]]
        stored = model.data(tensor)
        if stored is None:
            return None
        anchors = stored.astype(np.float32).reshape(-1, 4)
        if tensor.scale is not None and tensor.dtype != "FLOAT32":
            anchors = (anchors - np.float32(tensor.zero_point or 0)) * np.float32(tensor.scale)
        return anchors, _options(read_custom_options(operator))
    return None


def decode_ssd(
    encodings: NDArray[Any],
    scores: NDArray[Any],
    anchors: NDArray[Any],
    options: SsdOptions | None = None,
) -> Detections:
    """Return the objects in raw SSD outputs, as TFLite_Detection_PostProcess computes them.

    Args:
        encodings: (anchors, 4) real values: (y, x, h, w) relative to the anchors.
        scores: (anchors, classes + 1) real values with the background first; as probabilities.
        anchors: (anchors, 4) rows of (y, x, h, w), normalized.
        options: As in the operator.
    """
    how = options or SsdOptions()
    boxes = decode_boxes(encodings, anchors, how)
    classes = scores[:, 1:]
    if how.use_regular_nms:
        return _regular(boxes, classes, how)
    best = classes.max(axis=1)
    candidates = np.flatnonzero(best >= how.score_threshold)
    kept = candidates[
        non_maximum_suppression(
            boxes[candidates], best[candidates], how.iou_threshold, how.max_detections
        )
    ]
    most = min(how.max_classes_per_detection, classes.shape[1])
    tops = np.argsort(-classes[kept], axis=1, kind="stable")[:, :most]
    rows = kept.repeat(most)
    return Detections(boxes[rows], tops.ravel().astype(np.int64), classes[rows, tops.ravel()])


def decode_boxes(
    encodings: NDArray[Any], anchors: NDArray[Any], how: SsdOptions
) -> NDArray[np.float32]:
    """Return (anchors, 4) as (ymin, xmin, ymax, xmax), in float32 like the operator."""
    scales = np.array([how.scale_yx, how.scale_yx, how.scale_hw, how.scale_hw], np.float32)
    relative = encodings.astype(np.float32) / scales
    place, size = anchors[:, :2].astype(np.float32), anchors[:, 2:].astype(np.float32)
    centre = relative[:, :2] * size + place
    half = np.float32(0.5) * np.exp(relative[:, 2:]) * size
    return np.concatenate([centre - half, centre + half], axis=1)


def as_probabilities(scores: NDArray[Any], real_range: tuple[float, float]) -> NDArray[Any]:
    """Return class scores unchanged if they are within 0..1, else their sigmoid.

    Args:
        scores: Real values.
        real_range: The range of the tensor if it is quantized, else the range of its values.
    """
    if real_range[0] >= -1e-6 and real_range[1] <= 1.01:
        return scores
    odds: NDArray[Any] = 1 / (1 + np.exp(-scores))
    return odds


def _regular(boxes: NDArray[Any], classes: NDArray[Any], how: SsdOptions) -> Detections:
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    for column in range(classes.shape[1]):
        candidates = np.flatnonzero(classes[:, column] >= how.score_threshold)
        kept = non_maximum_suppression(
            boxes[candidates],
            classes[candidates, column],
            how.iou_threshold,
            how.detections_per_class,
        )
        rows.append(candidates[kept])
        columns.append(np.full(len(kept), column))
    row, column_of = np.concatenate(rows), np.concatenate(columns)
    found = Detections(boxes[row], column_of.astype(np.int64), classes[row, column_of])
    return found.take(np.argsort(-found.scores, kind="stable")[: how.max_detections])


def _boxes_first(shapes: Sequence[Sequence[int]]) -> tuple[int, int] | None:
    """Return the indices of encodings and scores, by (1, anchors, 4) or (1, anchors, 1, 4)."""
    for boxes, scores in ((0, 1), (1, 0)):
        rows = int(np.prod(shapes[boxes][1:-1]))
        if shapes[boxes][-1] == 4 and int(np.prod(shapes[scores][1:-1])) == rows > 1:
            return boxes, scores
    return None


def _shapes_of_level(level: int, scales: Sequence[float]) -> list[tuple[float, float]]:
    """(scale, aspect ratio) of each anchor at a place of map ``level``."""
    if level == 0:
        return [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
    between = math.sqrt(scales[level] * scales[level + 1])
    return [*((scales[level], ratio) for ratio in _ASPECT_RATIOS), (between, 1.0)]


def _grid_anchors(
    grid: tuple[int, int], shapes: Sequence[tuple[float, float]], input_ratio: float
) -> NDArray[np.float64]:
    rows, columns = grid
    heights = np.array([scale / math.sqrt(ratio) for scale, ratio in shapes])
    widths = np.array([scale * math.sqrt(ratio) for scale, ratio in shapes])
    # The base anchor is a square with the input's shorter side.
    heights, widths = heights * min(1, input_ratio), widths * min(1, 1 / input_ratio)
    y, x = np.meshgrid(
        (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij"
    )
    parts = np.broadcast_arrays(y[..., None], x[..., None], heights, widths)
    anchors: NDArray[np.float64] = np.stack(parts, axis=-1).reshape(-1, 4)
    return anchors


def _options(values: Mapping[str, Any]) -> SsdOptions:
    default = SsdOptions()
    return SsdOptions(
        float(values.get("nms_score_threshold", default.score_threshold)),
        float(values.get("nms_iou_threshold", default.iou_threshold)),
        int(values.get("max_detections", default.max_detections)),
        int(values.get("max_classes_per_detection", default.max_classes_per_detection)),
        float(values.get("y_scale", default.scale_yx)),
        float(values.get("h_scale", default.scale_hw)),
        bool(values.get("use_regular_nms", default.use_regular_nms)),
        int(values.get("detections_per_class", default.detections_per_class)),
    )
