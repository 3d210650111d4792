# SPDX-License-Identifier: Apache-2.0
"""``edgekit plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional, Sequence

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.estimate import CONNECTIONS
from edgekit.cli.grammar import OneOf
from edgekit.cli.output import JsonOption, emit, progress, table
from edgekit.errors import GateError, UsageError

if TYPE_CHECKING:
    from edgekit.building.fitting import FitResult
    from edgekit.opencompiler.plan import PlannedCut, PlanResult

_KIB = 1024
_ONE_TPU = 1000  # inferences a second times milliseconds
_LONGEST_NAME = 48


def plan(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A .tflite file or a bundle; with --fit also package.module:function, which "
            "returns a Keras model for a size, width or depth.",
            autocompletion=completion.models,
        ),
    ],
    num_tpus: Annotated[
        Optional[int],
        typer.Option(metavar="COUNT", min=2, help="Number of Edge TPUs in a row; by default 2."),
    ] = None,
    fit: Annotated[
        Optional[str],
        typer.Option(
            help="Instead of a cut: find the largest input size, width or depth whose parameters "
            "stay on one Edge TPU."
        ),
        OneOf("size", "width", "depth"),
    ] = None,
    max_ms: Annotated[
        Optional[float],
        typer.Option(
            metavar="MS", min=0.0, help="With --fit: the predicted latency must not be larger."
        ),
    ] = None,
    values: Annotated[
        Optional[str],
        typer.Option(
            metavar="LIST",
            help="With --fit: the values to choose from, ascending, with commas; by default "
            "multiples of 32 up to 1024, of 0.125 up to 3, or 1 to 32.",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(help="How the Edge TPUs are connected; this machine does not need one."),
        OneOf(*CONNECTIONS),
    ] = "usb3",
    output: Annotated[
        Optional[Path],
        typer.Option("--output", "-o", metavar="FOLDER", help="The folder for the segments."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Cut a model into segments for several Edge TPUs, by predicted time, or find what fits one."""
    if fit is not None:
        if num_tpus is not None or output is not None:
            raise UsageError("--fit with --num-tpus or --output", fix="--fit cuts nothing")
        _fit(model, fit, max_ms, device, values, as_json=json)
        return
    if max_ms is not None or values is not None:
        raise UsageError("--max-ms or --values without --fit", fix="give --fit size")
    from edgekit.opencompiler.plan import plan as run_plan

    result = run_plan(model, num_tpus=num_tpus or 2, device=device, output=output)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def _fit(
    model: str,
    knob: str,
    max_ms: Optional[float],
    device: str,
    values: Optional[str],
    *,
    as_json: bool,
) -> None:
    from edgekit.building.fitting import fit as run_fit

    try:
        chosen = None if values is None else [float(each) for each in values.split(",")]
    except ValueError as error:
        raise UsageError(
            f"--values {values}", why=str(error), fix="give numbers with commas: 96,128,160"
        ) from error
    with progress("trying") as on_progress:
        result = run_fit(
            model, knob, max_ms=max_ms, device=device, values=chosen, progress=on_progress
        )
    emit(result, lambda: "\n".join(render_fit(result)), as_json=as_json)
    if result.best is None:
        raise typer.Exit(GateError.exit_status)


def render_fit(result: FitResult) -> Iterator[str]:
    """Yield what fits for people, line by line."""
    limit = "" if result.max_ms is None else f", and at most {result.max_ms:g} ms"
    best = result.best
    yield f"source     {result.source}"
    wanted = f"the largest {result.knob} with all parameters on chip{limit}"
    yield f"wanted     {wanted} ({result.device})"
    if best is None:
        yield "result     none of the values fits; estimated, not measured"
    else:
        shape = " x ".join(map(str, best.input_shape))
        yield (
            f"result     {result.knob} {best.value:g} (input {shape}): {best.latency_ms:.2f} ms, "
            f"{_kib(best.on_chip_bytes)} on chip; estimated, not measured"
        )
    if result.is_largest:
        yield "largest    the largest value that was allowed fits: --values can allow more"
    rows = [
        (
            f"{each.value:g}",
            " x ".join(map(str, each.input_shape)),
            f"{each.latency_ms:.2f}",
            _kib(each.on_chip_bytes),
            _kib(each.streamed_bytes),
            each.num_unmapped,
            "yes" if each.fits else "no",
        )
        for each in result.tried
    ]
    yield table((result.knob, "input", "est. ms", "on chip", "streamed", "on CPU", "fits"), rows)


def render(result: PlanResult) -> Iterator[str]:
    """Yield the plan for people, line by line."""
    yield f"model      {result.model}"
    yield (
        f"whole      {result.whole_ms:.2f} ms on one Edge TPU ({result.device}), "
        f"{1000 / result.whole_ms:.0f} inferences a second; {_kib(result.whole_streamed_bytes)} "
        "streamed for each"
    )
    names = {"time": "cut by predicted time", "parameters": "cut evenly by parameters"}
    for cut in result.cuts:
        yield ""
        rate = f"{cut.throughput_hz:.0f} inferences a second, {cut.latency_ms:.2f} ms each"
        yield f"{names[cut.rule]}: {rate}; estimated, not measured"
        yield _segments(cut)
    if result.cuts[0].throughput_hz * result.whole_ms <= _ONE_TPU:
        yield ""
        yield "no gain    one Edge TPU is as fast: a cut moves more data than it saves time"
    if result.commands:
        yield ""
        yield from (f"next       {command}" for command in result.commands)


def _segments(cut: PlannedCut) -> str:
    rows = [
        (
            number,
            f"{each.first} to {each.last}",
            f"{each.latency_ms:.2f}",
            _kib(each.on_chip_bytes),
            _kib(each.streamed_bytes),
            each.output or _short(each.outputs),
        )
        for number, each in enumerate(cut.segments)
    ]
    return table(("segment", "operators", "est. ms", "on chip", "streamed", "output"), rows)


def _kib(count: int) -> str:
    return f"{count / _KIB:,.0f} KiB"


def _short(names: Sequence[str]) -> str:
    """Return the first tensor's name; TensorFlow joins those of fused layers."""
    first = names[0].split(";")[0][:_LONGEST_NAME]
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"
