# SPDX-License-Identifier: Apache-2.0
"""``edgekit emulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.options import (
    KernelsOption,
    LabelsOption,
    PreprocessOption,
    RuntimeOption,
    ThreadsOption,
    UnprovenOption,
)
from edgekit.cli.output import JsonOption, emit
from edgekit.cli.run import render as render_run
from edgekit.errors import GateError

if TYPE_CHECKING:
    from edgekit.evaluate import EmulateResult
    from edgekit.evaluate.emulate import EmulatedLayers


_LISTED = 3  # forms that are not proven


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
    top: Annotated[
        int, typer.Option(metavar="COUNT", min=1, help="Number of classes to list.")
    ] = 5,
    preprocess: PreprocessOption = None,
    strict_sync: Annotated[
        bool,
        typer.Option("--strict-sync", help="Also check counters, queue capacities and fences."),
    ] = False,
    unproven: UnprovenOption = False,
    source: Annotated[
        Optional[Path],
        typer.Option(
            metavar="MODEL",
            help="The plain .tflite that was compiled: compare each program with it, layer by "
            "layer, on random inputs. Status 4 if an output differs.",
            autocompletion=completion.models,
        ),
    ] = None,
    trace: Annotated[
        Optional[Path],
        typer.Option(
            metavar="FILE",
            help="Write what each unit of each tile does to this file, for Perfetto or "
            "chrome://tracing; with --source with the names of its layers.",
        ),
    ] = None,
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
        unproven=unproven,
        source=source,
        trace=trace,
        labels=labels,
        top=top,
        preprocess=preprocess,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
    )
    emit(result, lambda: "\n".join(render(result)), as_json=json)
    if any(each.source and each.source.num_different for each in result.programs):
        raise typer.Exit(GateError.exit_status)


def render(result: EmulateResult) -> Iterator[str]:
    """Yield the results, then the number of instructions and steps of each program."""
    yield from render_run(result.run)
    for program in result.programs:
        total = sum(program.instructions.values())
        yield (
            f"operator {program.operator_index}: {total} instructions, {program.num_steps} steps"
            + (", synchronization checked" if result.strict_sync else "")
        )
        if program.unproven:
            yield f"unproven forms of instructions: {len(program.unproven)}, the first:"
            yield from (f"           {each}" for each in program.unproven[:_LISTED])
        if program.source:
            yield from _against_source(program.source)
    yield "Edge TPU: not measured"


def _against_source(found: EmulatedLayers) -> Iterator[str]:
    """Yield what the comparison of a program with its source found."""
    yield (
        f"layers     {found.num_exact} of {found.num_layers} equal the source's in all "
        f"{found.num_exact_values:,} values"
    )
    for name in found.differing:
        yield f"not found  {name}"
    for name in found.rescaled:
        yield f"rescaled   {name}: the program was compiled from another conversion of the network"
    compared = f"{found.num_compared} of {found.num_outputs} outputs"
    if not found.num_compared:
        yield f"outputs    not compared: their arithmetic is not documented ({compared})"
    elif found.num_different:
        yield (
            f"outputs    {found.num_different:,} of {found.num_values:,} values differ, by up to "
            f"{found.largest_difference} ({compared})"
        )
    else:
        yield f"outputs    all {found.num_values:,} values equal the source's ({compared})"
