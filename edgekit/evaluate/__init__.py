# SPDX-License-Identifier: Apache-2.0
"""What a model answers: to one input (`run`), and how often rightly over a data set."""

from __future__ import annotations

from edgekit.evaluate.answers import Answer
from edgekit.evaluate.compare import CompareResult, compare
from edgekit.evaluate.emulate import EmulateResult, emulate
from edgekit.evaluate.evaluate import evaluate
from edgekit.evaluate.result import Comparison, EvaluateResult
from edgekit.evaluate.run import RunResult, run

__all__ = [
    "Answer",
    "CompareResult",
    "Comparison",
    "EmulateResult",
    "EvaluateResult",
    "RunResult",
    "compare",
    "emulate",
    "evaluate",
    "run",
]
