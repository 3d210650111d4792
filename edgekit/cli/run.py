# SPDX-License-Identifier: Apache-2.0
"""``edgekit run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.options import (
    DeviceOption,
    FallbackOption,
    KernelsOption,
    ModelArgument,
    PreprocessOption,
    RecoverOption,
    RuntimeOption,
    ThreadsOption,
)
from edgekit.cli.output import JsonOption, emit, runs_on, table, temperatures

if TYPE_CHECKING:
    from edgekit.evaluate import RunResult


def run(
    model: ModelArgument,
    inputs: Annotated[
        List[Path], typer.Argument(metavar="INPUT...", help="Images, .npy or .npz files.")
    ],
    labels: Annotated[
        Optional[Path], typer.Option(help="A text file with one class name a line.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    preprocess: PreprocessOption = None,
    device: DeviceOption = "cpu",
    runtime: RuntimeOption = None,
    kernels: KernelsOption = "fast",
    num_threads: ThreadsOption = 1,
    fallback: FallbackOption = False,
    recover: RecoverOption = False,
    json: JsonOption = False,
) -> None:
    """Run a model once on each input and say what it answers."""
    from edgekit.evaluate import run as run_model

    result = run_model(
        model,
        inputs,
        preprocess=preprocess,
        labels=labels,
        top=top,
        device=device,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
        fallback=fallback,
        recover=recover,
    )
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: RunResult) -> Iterator[str]:
    """The answers for people, line by line."""
    for answer in result.answers:
        yield f"{answer.source}  ({answer.latency_ms:.3f} ms)"
        rows = [(f"{each.score:.4f}", each.index, each.label) for each in answer.top]
        if rows:
            yield table(("score", "class", "label" if rows[0][2] else ""), rows)
        else:
            yield table(
                ("output", "shape", "type", "min", "max", "mean"),
                [
                    (
                        each.name,
                        "x".join(map(str, each.shape)),
                        each.dtype,
                        f"{each.min:.4g}",
                        f"{each.max:.4g}",
                        f"{each.mean:.4g}",
                    )
                    for each in answer.outputs
                ],
            )
        yield ""
    yield f"on {runs_on(result)}"
    if result.thermal is not None and result.thermal.max_celsius is not None:
        yield temperatures(result.thermal)
