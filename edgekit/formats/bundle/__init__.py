# SPDX-License-Identifier: Apache-2.0
"""The .edgekit bundle: one zip archive with a model and all other files that a device needs."""

from __future__ import annotations

from edgekit.formats.bundle.archive import SIGNATURE_PATH, read_archive, write_archive
from edgekit.formats.bundle.bundle import (
    Bundle,
    is_bundle,
    model_content,
    read_bundle,
    write_bundle,
)
from edgekit.formats.bundle.manifest import (
    MANIFEST_PATH,
    MODEL_PATH,
    BundleFile,
    Manifest,
    parse_manifest,
)

__all__ = [
    "MANIFEST_PATH",
    "MODEL_PATH",
    "SIGNATURE_PATH",
    "Bundle",
    "BundleFile",
    "Manifest",
    "is_bundle",
    "model_content",
    "parse_manifest",
    "read_archive",
    "read_bundle",
    "write_archive",
    "write_bundle",
]
