# SPDX-License-Identifier: Apache-2.0
"""Run a model, evaluate it on data, measure its latency, compare results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.lazy import lazy_names

if TYPE_CHECKING:
    from edgekit.evaluate.answers import Answer
    from edgekit.evaluate.benchmark import BenchmarkResult, benchmark
    from edgekit.evaluate.compare import CompareResult, compare
    from edgekit.evaluate.emulate import EmulateResult, emulate
    from edgekit.evaluate.evaluate import evaluate
    from edgekit.evaluate.result import Comparison, EvaluateResult
    from edgekit.evaluate.run import RunResult, run

__all__ = [
    "Answer",
    "BenchmarkResult",
    "CompareResult",
    "Comparison",
    "EmulateResult",
    "EvaluateResult",
    "RunResult",
    "benchmark",
    "compare",
    "emulate",
    "evaluate",
    "run",
]

# Loaded when used: benchmark needs little of the package, convert only the comparison of models.
__getattr__ = lazy_names(
    __name__,
    {
        "Answer": "edgekit.evaluate.answers",
        "BenchmarkResult": "edgekit.evaluate.benchmark",
        "CompareResult": "edgekit.evaluate.compare",
        "Comparison": "edgekit.evaluate.result",
        "EmulateResult": "edgekit.evaluate.emulate",
        "EvaluateResult": "edgekit.evaluate.result",
        "RunResult": "edgekit.evaluate.run",
        "benchmark": "edgekit.evaluate.benchmark",
        "compare": "edgekit.evaluate.compare",
        "emulate": "edgekit.evaluate.emulate",
        "evaluate": "edgekit.evaluate.evaluate",
        "run": "edgekit.evaluate.run",
    },
)
