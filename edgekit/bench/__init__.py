# SPDX-License-Identifier: Apache-2.0
"""How long a model takes: loading, the first inference and the steady state apart."""

from __future__ import annotations

from edgekit.bench.benchmark import BenchmarkResult, benchmark

__all__ = ["BenchmarkResult", "benchmark"]
