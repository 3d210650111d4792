# SPDX-License-Identifier: Apache-2.0
"""``edgekit estimate``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Iterator

import typer
from typing_extensions import Annotated

from edgekit.cli.grammar import OneOf
from edgekit.cli.options import ModelArgument
from edgekit.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from edgekit.edgetpu.estimate import Estimate

# Copied from edgekit.edgetpu, because importing it would make --help slow. A test compares them.
CONNECTIONS = ("usb3", "usb2", "pcie", "dev-board", "dev-board-mini", "dev-board-micro")


def estimate(
    model: ModelArgument,
    device: Annotated[
        str,
        typer.Option(
            help="How the Edge TPU is connected, or its board; this machine does not need one."
        ),
        OneOf(*CONNECTIONS),
    ] = "usb3",
    json: JsonOption = False,
) -> None:
    """Estimate latency and memory on an Edge TPU, and show the known error of the estimate."""
    from edgekit.opencompiler.estimate import estimate as run_estimate

    result = run_estimate(model, device=device)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: Estimate) -> Iterator[str]:
    """Yield the result for people, line by line, with two significant digits."""
    latency = result.latency_ms
    where = f"({result.device}, {result.host}; {result.kind} model)"
    is_bound = math.isnan(latency.mid)
    if is_bound:
        yield f"latency    not published; at least {_ms(latency.low)} {where}"
    else:
        likely = f"likely {_ms(latency.low)} to {_ms(latency.high)}"
        yield f"latency    {_ms(latency.mid)}, {likely} {where}"
    if result.cost_note:
        yield f"cost from  {result.cost_from}: {result.cost_note}"
    least = "at least " if is_bound else ""
    yield f"first      {least}{_ms(result.first_inference_ms)}, with the upload of parameters"
    parts = ", ".join(f"{name} {_ms(value)}" for name, value in result.parts_ms.items() if value)
    yield f"of which   {parts}"
    yield f"why        {result.why}"
    yield f"would help {result.advice}"
    crossing = (
        f"; with operator {result.crossing_layer} the chip is full" if result.crossing_layer else ""
    )
    yield (
        f"parameters {result.on_chip_bytes:,} bytes on the chip, {result.streamed_bytes:,} "
        f"streamed with each inference{crossing}"
    )
    if result.pipeline:
        yield _throughput(result)
    for each in result.published:
        yield f"published  {each.network}: {each.latency_ms:g} ms ({each.source})"
    yield from _known_error(result)
    for sentence in result.beyond_calibration:
        yield f"beyond     {sentence}; the interval is wider because of this and may be wrong"
    yield "measured   nothing: there was no Edge TPU"


def _throughput(result: Estimate) -> str:
    rates = ", ".join(
        f"{each.num_tpus}: {_rounded(each.throughput_hz)}" for each in result.pipeline
    )
    return f"throughput inferences a second by Edge TPUs in a pipeline of even segments: {rates}"


def _known_error(result: Estimate) -> Iterator[str]:
    known = result.calibration
    if not known.rows:
        yield f"error      not known: {known.note}"
        return
    kind = "all on the Edge TPU" if known.kind == "mapped" else "with a CPU part"
    yield (
        f"error      such estimates ({kind}, {known.device} rows) were off by "
        f"{known.median_error:.0%} in the median of {known.rows} published latencies left out of "
        f"the fit; {known.coverage:.0%} lay in the interval"
    )
    if known.note:
        yield f"           {known.note}"


def _ms(value: float) -> str:
    """Return two significant digits; an estimate is not more accurate."""
    return f"{_rounded(value)} ms"


def _rounded(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{round(value, 2 - len(str(int(value)))):,.0f}"
