# SPDX-License-Identifier: Apache-2.0
"""``edgekit benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, List

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.clusters import open_pool
from edgekit.cli.options import (
    ClusterOption,
    DeviceOption,
    DeviceTimeoutOption,
    FallbackOption,
    KernelsOption,
    RecoverOption,
    RuntimeOption,
    ThreadsOption,
    UnprovenOption,
)
from edgekit.cli.output import JsonOption, emit, measured_on, runs_on, table
from edgekit.errors import UsageError
from edgekit.extras import require_part

if TYPE_CHECKING:
    from edgekit.evaluate import BenchmarkResult


def benchmark(
    model: Annotated[
        List[Path],
        typer.Argument(
            metavar="MODEL...",
            help="A .tflite file or a bundle; or the segments of one model in their order, which "
            "run as a pipeline, each on its own device.",
            autocompletion=completion.models,
        ),
    ],
    device: DeviceOption = "cpu",
    runtime: RuntimeOption = None,
    kernels: KernelsOption = "fast",
    num_threads: ThreadsOption = 1,
    num_runs: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Number of inferences to measure.")
    ] = 50,
    warmup_runs: Annotated[
        int,
        typer.Option(
            metavar="COUNT", min=0, help="Number of inferences to run first, without measuring."
        ),
    ] = 5,
    fallback: FallbackOption = False,
    recover: RecoverOption = False,
    timeout_sec: DeviceTimeoutOption = None,
    unproven: UnprovenOption = False,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Measure separately: loading, the first inference and the steady state."""
    from edgekit.evaluate import benchmark as run_benchmark
    from edgekit.runtime import RunnerOptions

    options = RunnerOptions(
        device=device,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
        fallback=fallback,
        recover=recover,
        timeout_s=timeout_sec,
        unproven=unproven,
    )
    if cluster is not None:
        if len(model) > 1:
            raise UsageError(
                "segments with --cluster", fix="give one model: every worker runs the whole of it"
            )
        with open_pool(cluster) as pool:
            found = require_part("fleet.cluster").benchmark_workers(
                pool, model[0], options, num_runs=num_runs, warmup_runs=warmup_runs
            )
        emit(found, lambda: _workers(found), as_json=json)
        return
    result = run_benchmark(
        model if len(model) > 1 else model[0],
        options=options,
        num_runs=num_runs,
        warmup_runs=warmup_runs,
    )
    emit(result, lambda: render(result), as_json=json)


def render(result: BenchmarkResult) -> str:
    """Return the result for people."""
    latency = result.latency_ms
    names = ("min", "mean", "p50", "p90", "p99", "std")
    return "\n".join(
        [
            f"load       {result.load_ms:.3f} ms",
            f"first      {result.first_ms:.3f} ms",
            "steady     " + ", ".join(f"{name} {latency[name]:.3f}" for name in names) + " ms",
            f"           {result.runs} inferences after {result.warmup_runs} to warm up, "
            f"{result.throughput_hz:,.1f} a second",
            *_pipeline(result),
            *([f"preprocess {result.preprocess} (not timed)"] if result.preprocess else []),
            *measured_on(result),
        ]
    )


def _pipeline(result: BenchmarkResult) -> Iterator[str]:
    """Yield what a pipeline of segments does; the lines above are of one inference at a time."""
    if result.pipeline is None:
        return
    yield f"pipeline   {result.pipeline.throughput_hz:,.1f} a second, all segments at the same time"
    for number, each in enumerate(result.pipeline.segments):
        busy = f"{each.mean_ms:.3f} ms, busy {each.busy:.0%}"
        yield f"           segment {number} on {each.device}: {busy}"


def _workers(result: Any) -> str:  # noqa: ANN401 - of the host
    """Return what each worker of a cluster measured, a `ClusterBenchmarkResult`."""
    names = ("min", "mean", "p50", "p90", "p99")
    rows = []
    for each in result.workers:
        one = each.benchmark
        times = ("",) * len(names) if one is None else [f"{one.latency_ms[n]:.3f}" for n in names]
        on = each.error if one is None else runs_on(one)
        rows.append((each.worker, each.host, *times, on))
    return table(("worker", "host", *(f"{name} ms" for name in names), "on"), rows)
