# SPDX-License-Identifier: Apache-2.0
"""Decode outputs in numpy: classes, boxes, masks, key points."""

from __future__ import annotations

from edgekit.tasks.boxes import Detections, iou, non_maximum_suppression
from edgekit.tasks.case import DecodeOptions
from edgekit.tasks.decoder import (
    CLASSIFICATION,
    DETECTION,
    MULTILABEL,
    NONE,
    POSE,
    REGRESSION,
    SEGMENTATION,
    TASKS,
    Decoder,
    Mask,
    Meaning,
    Scores,
    Values,
    check_task,
    raw_decoder,
    task_named,
)
from edgekit.tasks.guess import choose_decoder, values_if_unnamed
from edgekit.tasks.labels import attached_labels, fit_labels, label_order_warning
from edgekit.tasks.pose import KEYPOINT_NAMES, SKELETON, Poses, keypoint_names
from edgekit.tasks.prepare import (
    Prepared,
    model_labels,
    other_pixels_warning,
    prepare,
    preprocess_warning,
)
from edgekit.tasks.segmentation import mask_to_image

__all__ = [
    "CLASSIFICATION",
    "DETECTION",
    "KEYPOINT_NAMES",
    "MULTILABEL",
    "NONE",
    "POSE",
    "REGRESSION",
    "SEGMENTATION",
    "SKELETON",
    "TASKS",
    "DecodeOptions",
    "Decoder",
    "Detections",
    "Mask",
    "Meaning",
    "Poses",
    "Prepared",
    "Scores",
    "Values",
    "attached_labels",
    "check_task",
    "choose_decoder",
    "fit_labels",
    "iou",
    "keypoint_names",
    "label_order_warning",
    "mask_to_image",
    "model_labels",
    "non_maximum_suppression",
    "other_pixels_warning",
    "prepare",
    "preprocess_warning",
    "raw_decoder",
    "task_named",
    "values_if_unnamed",
]
