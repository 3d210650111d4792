# SPDX-License-Identifier: Apache-2.0
"""What a file states about its use: a bundle's manifest, or the metadata inside a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.formats.bundle import is_bundle, read_bundle
from edgekit.formats.tflite import Model, read_model
from edgekit.formats.tflite_metadata.metadata import PREPROCESS_NAME, ModelMetadata
from edgekit.formats.tflite_metadata.reader import read_metadata


@dataclass(frozen=True)
class Notes:
    """How to use a model, as far as its file states it."""

    preprocess: str = ""  # --preprocess text; empty if not given
    labels: tuple[str, ...] = ()
    task: str = ""
    decoder: str = ""

    def at_ends(self, *, first: bool, last: bool) -> Notes:
        """What holds for a segment: preprocessing for the first one, labels for the last one."""
        return Notes(self.preprocess if first else "", self.labels if last else ())


def read_notes(content: bytes, model: Model | None = None) -> Notes:
    """Return what a file, a bundle or a model, states about its use.

    Args:
        content: The content of the file.
        model: The model in ``content``, if it was already read and is not from a bundle.

    Raises:
        BundleError: The bundle is damaged.
        ModelFormatError: The model, or its metadata, is damaged.
    """
    if is_bundle(content):
        bundle = read_bundle(content)
        manifest = bundle.manifest
        return Notes(manifest.preprocess, bundle.labels, manifest.task, manifest.decoder)
    if model is None:
        model = read_model(content)
    metadata = read_metadata(content, model)
    labels = metadata.labels if metadata else ()
    return Notes(_own_preprocess(model) or _normalization(metadata), labels)


def _own_preprocess(model: Model) -> str:
    index = model.metadata.get(PREPROCESS_NAME)
    return "" if index is None else model.buffers[index].tobytes().decode("utf-8", "replace")


def _normalization(metadata: ModelMetadata | None) -> str:
    """Return the first input's normalization as --preprocess text; empty if there is none."""
    how = metadata.inputs[0].normalization if metadata and metadata.inputs else None
    if how is None:
        return ""
    mean, std = how.mean or (0.0,), how.std or (1.0,)
    usable = all(len(each) in (1, 3) and np.isfinite(each).all() for each in (mean, std))
    if not usable or 0.0 in std:
        return ""
    return "mean=" + "/".join(f"{v:g}" for v in mean) + ",std=" + "/".join(f"{v:g}" for v in std)
