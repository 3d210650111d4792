# SPDX-License-Identifier: Apache-2.0
"""What the Edge TPU and its compiler can do, told without either."""

from __future__ import annotations

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
