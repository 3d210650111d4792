# SPDX-License-Identifier: Apache-2.0
"""Where an integer model loses accuracy, operator by operator, and why."""

from __future__ import annotations

from edgekit.debug.debug import DebugOptions, debug_models
from edgekit.debug.result import DebugCause, DebugResult, OperatorError, OutputError

__all__ = [
    "DebugCause",
    "DebugOptions",
    "DebugResult",
    "OperatorError",
    "OutputError",
    "debug_models",
]
