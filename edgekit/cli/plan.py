# SPDX-License-Identifier: Apache-2.0
"""``edgekit plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional, Sequence

import typer
from typing_extensions import Annotated

from edgekit.cli.estimate import CONNECTIONS
from edgekit.cli.grammar import OneOf
from edgekit.cli.options import ModelArgument
from edgekit.cli.output import JsonOption, emit, table

if TYPE_CHECKING:
    from edgekit.opencompiler.plan import PlannedCut, PlanResult

_KIB = 1024
_ONE_TPU = 1000  # inferences a second times milliseconds
_LONGEST_NAME = 48


def plan(
    model: ModelArgument,
    num_tpus: Annotated[
        int, typer.Option(metavar="COUNT", min=2, help="Number of Edge TPUs in a row.")
    ] = 2,
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
    """Cut a model into segments for several Edge TPUs, by predicted time."""
    from edgekit.opencompiler.plan import plan as run_plan

    result = run_plan(model, num_tpus=num_tpus, device=device, output=output)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


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
