# SPDX-License-Identifier: Apache-2.0
"""What a model answers: to one input (`run`), and how often rightly over a data set."""

from __future__ import annotations

from edgekit.evaluate.emulate import EmulateResult, emulate
from edgekit.evaluate.evaluate import Comparison, EvaluateResult, evaluate
from edgekit.evaluate.run import RunResult, run

__all__ = [
    "Comparison",
    "EmulateResult",
    "EvaluateResult",
    "RunResult",
    "emulate",
    "evaluate",
    "run",
]
