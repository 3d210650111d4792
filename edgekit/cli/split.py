# SPDX-License-Identifier: Apache-2.0
"""``edgekit split``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.options import (
    ModelArgument,
    PreprocessOption,
    ProofDataOption,
    ProofRandomOption,
    ProofSamplesOption,
    RuntimeOption,
)
from edgekit.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from edgekit.fix import SplitPart, SplitResult


def split(
    model: ModelArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder for head and tail.")
    ],
    at: Annotated[
        Optional[List[str]],
        typer.Option(metavar="TENSOR", help="Cut behind this tensor; repeat for more."),
    ] = None,
    data: ProofDataOption = None,
    preprocess: PreprocessOption = None,
    num_random: ProofRandomOption = 8,
    num_samples: ProofSamplesOption = 16,
    runtime: RuntimeOption = None,
    unproved: Annotated[
        bool, typer.Option("--unproved", help="Write the parts even if they cannot run here.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Cut a model into a head that maps to the Edge TPU and a tail for the CPU."""
    from edgekit.fix import split as run_split

    result = run_split(
        model,
        output,
        at=at or (),
        data=data,
        preprocess=preprocess,
        num_random=num_random,
        num_samples=num_samples,
        runtime=runtime,
        unproved=unproved,
    )
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: SplitResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield _part("head", result.head)
    if result.tail is None:
        yield "tail       none: no operator behind the mapped ones runs on the CPU"
    else:
        yield _part("tail", result.tail)
    for tensor in result.crossing:
        yield f"crossing   {tensor.name} {list(tensor.shape)} {tensor.dtype}"
    yield f"           {result.crossing_bytes:,} bytes from head to tail in each inference"
    if result.macs_share is not None:
        yield f"work       {result.macs_share:.1%} of the multiplications are in the head"
    yield "outputs    " + ", ".join(f"{part} {index}" for part, index in result.outputs)
    if result.identical:
        yield (
            f"measured   head and tail in sequence are bit-identical to the whole on "
            f"{result.num_samples} inputs ({result.kernels} kernels)"
        )
    if result.note:
        yield f"note       {result.note}"


def _part(kind: str, part: SplitPart) -> str:
    return (
        f"{kind}       {part.path}: {part.num_operators} operators, {part.num_mapped} of them map"
    )
