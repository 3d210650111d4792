# SPDX-License-Identifier: Apache-2.0
"""edgekit: trained Keras networks, proven on the Coral Edge TPU.

One function per command, bound on first use (PEP 562), so that ``import edgekit`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "EdgeKitError": "edgekit.errors",
    "Runner": "edgekit.runtime",
    "benchmark": "edgekit.bench",
    "convert": "edgekit.host",
    "demo": "edgekit.host",
    "disasm": "edgekit.emulator",
    "emulate": "edgekit.evaluate",
    "evaluate": "edgekit.evaluate",
    "open_dataset": "edgekit.data",
    "read_model": "edgekit.formats.tflite",
    "run": "edgekit.evaluate",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604 - the names are the keys of _PUBLIC


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgekit' has no attribute '{name}'")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
