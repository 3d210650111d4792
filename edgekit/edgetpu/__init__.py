# SPDX-License-Identifier: Apache-2.0
"""Predict what the Edge TPU and its compiler can do, without using either.

The names are bound on first use (PEP 562): the device side uses only `edgekit.edgetpu.issues`, and
the doctor needs it before it has checked that numpy works.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.edgetpu.check import check_model
    from edgekit.edgetpu.report import CheckReport, CheckReports, NotMappedError
    from edgekit.edgetpu.support import OperatorVerdict, judge_operators

__all__ = [
    "CheckReport",
    "CheckReports",
    "NotMappedError",
    "OperatorVerdict",
    "check_model",
    "judge_operators",
]

_HOMES = {
    "CheckReport": "edgekit.edgetpu.report",
    "CheckReports": "edgekit.edgetpu.report",
    "NotMappedError": "edgekit.edgetpu.report",
    "OperatorVerdict": "edgekit.edgetpu.support",
    "check_model": "edgekit.edgetpu.check",
    "judge_operators": "edgekit.edgetpu.support",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOMES:
        raise AttributeError(f"module 'edgekit.edgetpu' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
