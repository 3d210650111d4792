# SPDX-License-Identifier: Apache-2.0
"""What a device must have for a bundle's models, read from the models."""

from __future__ import annotations

from typing import Mapping

from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import Model

# TensorFlow's converter writes here which release's runtime the operators need: "2.3.0".
_TFLITE_KEY = "min_runtime_version"


def requirements(plain: Model, compiled: Model | None) -> Mapping[str, object]:
    """Versions that a device needs: ``tensorflow_lite`` ("" if unknown), ``edgetpu_runtime``.

    ``edgetpu_runtime`` is libedgetpu's runtime version (14 is the last); None without a compiled
    model.

    Raises:
        ModelFormatError: The compiled model's package is damaged.
    """
    index = plain.metadata.get(_TFLITE_KEY)
    raw = b"" if index is None else plain.buffers[index].tobytes()
    packages = read_packages(compiled) if compiled is not None else ()
    return {
        "tensorflow_lite": raw.split(b"\0")[0].decode("utf-8", "replace"),
        "edgetpu_runtime": max(
            (each.package.min_runtime_version for each in packages), default=None
        ),
    }
