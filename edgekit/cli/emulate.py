# SPDX-License-Identifier: Apache-2.0
"""``edgekit emulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.options import (
    KernelsOption,
    LabelsOption,
    PreprocessOption,
    RuntimeOption,
    ThreadsOption,
)
from edgekit.cli.output import JsonOption, emit
from edgekit.cli.run import render as render_run

if TYPE_CHECKING:
    from edgekit.evaluate import EmulateResult


def emulate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A compiled model (x_edgetpu.tflite), or a bundle.",
            autocompletion=completion.models,
        ),
    ],
    inputs: Annotated[
        List[Path], typer.Argument(metavar="INPUT...", help="Images, .npy or .npz files.")
    ],
    labels: LabelsOption = None,
    top: Annotated[int, typer.Option(min=1, help="Number of classes to list.")] = 5,
    preprocess: PreprocessOption = None,
    strict_sync: Annotated[
        bool,
        typer.Option("--strict-sync", help="Also check counters, queue capacities and fences."),
    ] = False,
    runtime: RuntimeOption = None,
    kernels: KernelsOption = "fast",
    num_threads: ThreadsOption = 1,
    json: JsonOption = False,
) -> None:
    """Run a compiled model without a chip: its Edge TPU program, value for value, in software."""
    from edgekit.evaluate import emulate as run_emulate

    result = run_emulate(
        model,
        inputs,
        strict_sync=strict_sync,
        labels=labels,
        top=top,
        preprocess=preprocess,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
    )
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: EmulateResult) -> Iterator[str]:
    """Yield the results, then the number of instructions and steps of each program."""
    yield from render_run(result.run)
    for program in result.programs:
        total = sum(program.instructions.values())
        yield (
            f"operator {program.operator_index}: {total} instructions, {program.num_steps} steps"
            + (", synchronization checked" if result.strict_sync else "")
        )
    yield "Edge TPU: not measured"
