# SPDX-License-Identifier: Apache-2.0
"""``edgekit benchmark``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from typing_extensions import Annotated

from edgekit.cli.options import (
    DeviceOption,
    DeviceTimeoutOption,
    FallbackOption,
    KernelsOption,
    ModelArgument,
    RecoverOption,
    RuntimeOption,
    ThreadsOption,
    UnprovenOption,
)
from edgekit.cli.output import JsonOption, emit, measured_on

if TYPE_CHECKING:
    from edgekit.evaluate import BenchmarkResult


def benchmark(
    model: ModelArgument,
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
    json: JsonOption = False,
) -> None:
    """Measure separately: loading, the first inference and the steady state."""
    from edgekit.evaluate import benchmark as run_benchmark

    result = run_benchmark(
        model,
        device=device,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
        fallback=fallback,
        recover=recover,
        timeout_s=timeout_sec,
        unproven=unproven,
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
            *([f"preprocess {result.preprocess} (not timed)"] if result.preprocess else []),
            *measured_on(result),
        ]
    )
