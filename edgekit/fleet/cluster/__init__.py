# SPDX-License-Identifier: Apache-2.0
"""Work on a Dask cluster: evaluations in shards, benchmarks of every worker, trials of a search."""

from __future__ import annotations

from edgekit.fleet.cluster.benchmark import (
    ClusterBenchmarkResult,
    WorkerBenchmark,
    benchmark_workers,
)
from edgekit.fleet.cluster.pool import ClusterPool, cluster

__all__ = [
    "ClusterBenchmarkResult",
    "ClusterPool",
    "WorkerBenchmark",
    "benchmark_workers",
    "cluster",
]
