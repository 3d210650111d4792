# SPDX-License-Identifier: Apache-2.0
"""Data sets: one protocol, its readers, and one way from pixels to a network's input."""

from __future__ import annotations

from edgekit.data.dataset import Batch, Dataset, InputSpec, Sample, Unreadable, iter_batches
from edgekit.data.labels import read_labels
from edgekit.data.opening import open_dataset
from edgekit.data.preprocess import Preprocess, parse_preprocess, preprocess_or

__all__ = [
    "Batch",
    "Dataset",
    "InputSpec",
    "Preprocess",
    "Sample",
    "Unreadable",
    "iter_batches",
    "open_dataset",
    "parse_preprocess",
    "preprocess_or",
    "read_labels",
]
