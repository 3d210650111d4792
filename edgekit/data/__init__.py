# SPDX-License-Identifier: Apache-2.0
"""Data sets: one protocol, its readers, and one code path from pixels to a network's input."""

from __future__ import annotations

from edgekit.data.coco import CocoDataset, coco_images, read_coco
from edgekit.data.dataset import (
    Batch,
    Chunk,
    Dataset,
    InputSpec,
    Sample,
    Unreadable,
    iter_batches,
    iter_chunks,
)
from edgekit.data.labels import MOST_LABEL_BYTES, parse_labels, read_labels
from edgekit.data.masks import MaskDataset, read_mask
from edgekit.data.opening import FUNCTION, open_dataset
from edgekit.data.pixels import Pixels
from edgekit.data.placement import Placement
from edgekit.data.preprocess import (
    NORMALIZED,
    REAL_NUMBERS,
    Preprocess,
    fit_default,
    has_same_range,
    parse_preprocess,
    preprocess_for,
    preprocess_or,
    preprocess_reason,
)

__all__ = [
    "FUNCTION",
    "MOST_LABEL_BYTES",
    "NORMALIZED",
    "REAL_NUMBERS",
    "Batch",
    "Chunk",
    "CocoDataset",
    "Dataset",
    "InputSpec",
    "MaskDataset",
    "Pixels",
    "Placement",
    "Preprocess",
    "Sample",
    "Unreadable",
    "coco_images",
    "fit_default",
    "has_same_range",
    "iter_batches",
    "iter_chunks",
    "open_dataset",
    "parse_labels",
    "parse_preprocess",
    "preprocess_for",
    "preprocess_or",
    "preprocess_reason",
    "read_coco",
    "read_labels",
    "read_mask",
]
