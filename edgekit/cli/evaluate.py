# SPDX-License-Identifier: Apache-2.0
"""``edgekit evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.options import (
    DataOption,
    DeviceOption,
    FallbackOption,
    KernelsOption,
    ModelArgument,
    PreprocessOption,
    RecoverOption,
    RuntimeOption,
    SamplesOption,
    ThreadsOption,
)
from edgekit.cli.output import JsonOption, emit, measured_on, note, progress

if TYPE_CHECKING:
    from edgekit.evaluate import EvaluateResult


def evaluate(
    model: ModelArgument,
    data: DataOption,
    against: Annotated[
        Optional[Path],
        typer.Option(metavar="MODEL", help="Another model to compare with, often the float one."),
    ] = None,
    preprocess: PreprocessOption = None,
    split: Annotated[str, typer.Option(help="test or train, of a file that holds both.")] = "test",
    num_samples: SamplesOption = None,
    label_offset: Annotated[int, typer.Option(help="Added to each label of the data.")] = 0,
    device: DeviceOption = "cpu",
    runtime: RuntimeOption = None,
    kernels: KernelsOption = "fast",
    num_threads: ThreadsOption = 1,
    num_workers: Annotated[
        Optional[int],
        typer.Option(min=1, help="Interpreters side by side; one for each core by default."),
    ] = None,
    fallback: FallbackOption = False,
    recover: RecoverOption = False,
    json: JsonOption = False,
) -> None:
    """Measure a classifier's accuracy and latency over a data set."""
    from edgekit.evaluate import evaluate as run_evaluate

    with progress("evaluating") as on_progress:
        result = run_evaluate(
            model,
            data,
            against=against,
            preprocess=preprocess,
            split=split,
            num_samples=num_samples,
            label_offset=label_offset,
            device=device,
            runtime=runtime,
            kernels=kernels,
            num_threads=num_threads,
            num_workers=num_workers,
            fallback=fallback,
            recover=recover,
            progress=on_progress,
        )
    for warning in result.warnings:
        note(f"warning: {warning}")
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: EvaluateResult) -> Iterator[str]:
    """The result for people, line by line."""
    yield f"samples    {result.num_samples:,}"
    if result.num_failed:
        yield f"failed     {result.num_failed}: {'; '.join(result.failed)}"
    for name, value in result.metrics.items():
        low, high = result.metrics_ci95[name]
        yield f"{name:10} {value:.2%}  (95 % interval {low:.2%} to {high:.2%})"
    other = result.against
    if other is not None:
        yield f"against    {other.model}: same answer on {other.agreement:.2%}"
        for name, value in other.difference.items():
            low, high = other.difference_ci95[name]
            yield (
                f"{name:10} {other.metrics[name]:.2%} there; difference {value * 100:+.2f} points "
                f"(95 % interval {low * 100:+.2f} to {high * 100:+.2f})"
            )
    latency = result.latency_ms
    names = ("p50", "p90", "p99")
    yield (
        "latency    "
        + ", ".join(f"{name} {latency[name]:.3f}" for name in names)
        + f" ms, preprocessing apart ({result.latency_samples} single inferences)"
    )
    yield from measured_on(result)
