# SPDX-License-Identifier: Apache-2.0
"""MediaPipe's detectors of faces, palms and people: regressors, and a score per anchor.

An anchor is a place of a grid, without a size. A row of the regressors has centre and size of a
box, then the key points, in pixels relative to the anchor's centre.

Source:
    mediapipe/calculators: tflite/ssd_anchors_calculator.cc (fixed_anchor_size; one aspect ratio and
    one interpolated for each layer), tensor/tensors_to_detections_calculator.cc
    (reverse_output_order), util/non_max_suppression_calculator.cc (WEIGHTED); the options are in
    mediapipe/modules/*_detection/*.pbtxt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.tasks.boxes import Detections, iou

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BOX = 4
# Grids as (stride, anchors per place): two per layer, layers of the same stride together; the full
# range face detector has one layer without the interpolated anchor.
_GRIDS = (
    ((8, 2), (16, 6)),  # short range face 128, palm 192
    ((16, 2), (32, 6)),  # face 256
    ((8, 2), (16, 2), (32, 6)),  # pose 224, palm 256
    ((4, 1),),  # full range face 192
)
_SCORE, _IOU = 0.5, 0.3
_LARGEST_LOGIT = 100.0  # score_clipping_thresh
_MOST = 100


@dataclass(frozen=True)
class MediapipeHead:
    """The positions of regressors and scores in the outputs, and the anchors' centres.

    Each is one output, or one for each layer of the detector or for several.
    """

    regressors: tuple[int, ...]
    scores: tuple[int, ...]
    anchors_xy: NDArray[np.float32]  # (anchors, 2), 0..1 of the input
    num_keypoints: int


def mediapipe_head(
    shapes: Sequence[Sequence[int]], input_shape: Sequence[int]
) -> MediapipeHead | None:
    """Return the head with outputs of these shapes; None if they are not MediaPipe's.

    Args:
        shapes: The shapes of the outputs.
        input_shape: (height, width) of the network's input.
    """
    if len(shapes) < 2 or any(len(shape) != 3 or shape[0] != 1 for shape in shapes):
        return None
    scores = tuple(i for i, shape in enumerate(shapes) if shape[2] == 1)
    regressors = tuple(i for i in range(len(shapes)) if i not in scores)
    widths = {shapes[i][2] for i in regressors}
    values = max(widths, default=0)
    if not scores or len(widths) != 1 or values < _BOX or values % 2:
        return None
    ends = [tuple(accumulate(shapes[i][1] for i in parts)) for parts in (regressors, scores)]
    for grid in _GRIDS:
        layers = [_layer_anchors(layer, input_shape) for layer in grid]
        borders = list(accumulate(map(len, layers)))
        if all(end[-1] == borders[-1] and set(end) <= set(borders) for end in ends):
            anchors = np.concatenate(layers).astype(np.float32)
            return MediapipeHead(regressors, scores, anchors, (values - _BOX) // 2)
    return None


def decode_mediapipe(
    regressors: NDArray[Any],
    scores: NDArray[Any],
    head: MediapipeHead,
    input_shape: Sequence[int],
    score_threshold: float = _SCORE,
    iou_threshold: float = _IOU,
) -> Detections:
    """Return the objects in real outputs, each with its key points, best first.

    Args:
        regressors: (1, anchors, 4 + 2 * key points), in pixels of the input.
        scores: (1, anchors, 1), 0..1.
        head: The result of `mediapipe_head`.
        input_shape: (height, width) of the network's input.
        score_threshold: The lowest score of an object.
        iou_threshold: Boxes that overlap the best one more than this are merged with it.
    """
    certainty = scores.reshape(-1)
    kept = np.flatnonzero(certainty >= score_threshold)
    kept = kept[np.isfinite(regressors.reshape(len(certainty), -1)[kept]).all(axis=1)]
    kept = kept[np.argsort(-certainty[kept], kind="stable")]
    size = np.array([input_shape[1], input_shape[0]], np.float32)
    pairs = regressors.reshape(len(certainty), -1, 2)[kept] / size  # centre, size, points
    anchors = head.anchors_xy[kept]
    centre, half = pairs[:, 0] + anchors, pairs[:, 1] / 2
    points = pairs[:, 2:] + anchors[:, None]
    # Corners and key points are merged in the same way.
    table = np.concatenate([(centre - half)[:, None], (centre + half)[:, None], points], axis=1)
    merged, best = _merged(table, certainty[kept], iou_threshold)
    yx = merged[..., ::-1].astype(np.float32)
    return Detections(
        yx[:, :2].reshape(-1, 4),
        np.zeros(len(yx), np.int64),
        certainty[kept][best].astype(np.float32),
        keypoints_yx=yx[:, 2:] if head.num_keypoints else None,
    )


def scores_of_logits(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the sigmoid of ``logits``, limited to +-100 as in MediaPipe."""
    cut = np.clip(logits.astype(np.float64), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    odds: NDArray[Any] = 1 / (1 + np.exp(-cut))
    return odds


def _layer_anchors(layer: tuple[int, int], input_shape: Sequence[int]) -> NDArray[Any]:
    """Return (anchors, 2) centres as (x, y), row by row, those of one place together."""
    stride, count = layer
    rows, columns = (math.ceil(side / stride) for side in input_shape)
    y, x = np.mgrid[:rows, :columns]
    centres = np.stack([(x.ravel() + 0.5) / columns, (y.ravel() + 0.5) / rows], axis=1)
    return centres.repeat(count, axis=0)


def _merged(
    table: NDArray[Any], scores: NDArray[Any], iou_threshold: float
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Weighted suppression: the mean, by score, of each best box and those that overlap it.

    Args:
        table: (n, points, 2), best first; the first two points are the box's corners.
        scores: (n,).
        iou_threshold: Boxes with more overlap are merged.

    Returns:
        The merged table, and the row with the score of each.
    """
    boxes = table[:, :2].reshape(-1, 4)
    rest = np.arange(len(table))
    rows: list[NDArray[Any]] = []
    best: list[int] = []
    while rest.size and len(rows) < _MOST:
        overlap = iou(boxes[rest[0]], boxes[rest])
        near = overlap > iou_threshold
        near[0] = True
        weights = scores[rest[near], None, None]
        rows.append((table[rest[near]] * weights).sum(axis=0) / weights.sum())
        best.append(int(rest[0]))
        rest = rest[~near]
    return np.array(rows).reshape(-1, *table.shape[1:]), np.asarray(best, np.int64)
