# SPDX-License-Identifier: Apache-2.0
"""Read from a bundle's models which versions a device needs."""

from __future__ import annotations

from typing import Mapping

from edgekit.formats.darwinn import read_packages
from edgekit.formats.tflite import Model

# Here TensorFlow's converter writes the oldest runtime release for the operators: "2.3.0".
_TFLITE_KEY = "min_runtime_version"


def requirements(plain: Model, compiled: Model | None) -> Mapping[str, object]:
    """Return the versions that a device needs: ``tensorflow_lite`` and ``edgetpu_runtime``.

    ``tensorflow_lite`` is "" if unknown. ``edgetpu_runtime`` is libedgetpu's runtime version (14 is
    the last); None without a compiled model.

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
