# SPDX-License-Identifier: Apache-2.0
"""Measure a model on every worker of a cluster, to compare boards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edgekit.errors import EdgeKitError, ExternalToolError
from edgekit.evaluate.benchmark import BenchmarkResult, benchmark
from edgekit.fleet.cluster.connection import killed_worker
from edgekit.formats.model_file import read_model_file
from edgekit.result import Result

if TYPE_CHECKING:
    from edgekit.fleet.cluster.connection import Worker
    from edgekit.fleet.cluster.pool import ClusterPool
    from edgekit.formats.model_file import ModelSource
    from edgekit.runtime.options import RunnerOptions


@dataclass(frozen=True)
class WorkerBenchmark(Result):
    """What one worker measured, or why it could not."""

    worker: str
    host: str
    benchmark: BenchmarkResult | None
    error: str = ""


@dataclass(frozen=True)
class ClusterBenchmarkResult(Result):
    """The latency of one model on each worker of a cluster."""

    schema: ClassVar[str] = "edgekit.cluster-benchmark/1"
    model: str
    sha256: str
    workers: tuple[WorkerBenchmark, ...]  # by name


def benchmark_workers(
    pool: ClusterPool,
    model: ModelSource,
    options: RunnerOptions,
    *,
    num_runs: int = 50,
    warmup_runs: int = 5,
) -> ClusterBenchmarkResult:
    """Run `edgekit.benchmark` on each worker; workers of one host take turns.

    A worker that cannot run the model is listed with its error.

    Raises:
        ExternalToolError: No worker has the device.
        EdgeKitError: The error of the workers, if none of them can run the model.
    """
    file = read_model_file(model)
    pool.choose_for(options.device)
    rounds: dict[str, list[Worker]] = {}
    for worker in pool.eligible():
        rounds.setdefault(worker.host, []).append(worker)
    found: list[WorkerBenchmark] = []
    errors: list[EdgeKitError] = []
    for turn in range(max(map(len, rounds.values()))):
        now = [each[turn] for each in rounds.values() if turn < len(each)]
        sent = [
            (w, pool.submit_to(w, _measure, file.given, options, num_runs, warmup_runs))
            for w in now
        ]
        for worker, future in sent:
            answer = _answer(future, worker)
            is_measured = isinstance(answer, BenchmarkResult)
            if not is_measured:
                errors.append(answer)
            found.append(
                WorkerBenchmark(
                    worker.name,
                    worker.host,
                    answer if is_measured else None,
                    "" if is_measured else answer.what,
                )
            )
    if len(errors) == len(found):
        raise errors[0]
    found.sort(key=lambda each: each.worker)
    return ClusterBenchmarkResult(file.path, file.sha256, tuple(found))


def _measure(
    content: bytes, options: RunnerOptions, num_runs: int, warmup_runs: int
) -> BenchmarkResult | EdgeKitError:
    try:
        return benchmark(content, options=options, num_runs=num_runs, warmup_runs=warmup_runs)
    except EdgeKitError as error:
        return error


def _answer(future: Any, worker: Worker) -> Any:  # noqa: ANN401 - a result or an error
    try:
        return future.result()
    except killed_worker():
        return ExternalToolError("the worker dies when it runs the model", where=worker.name)
