# SPDX-License-Identifier: Apache-2.0
"""``edgekit compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli import completion
from edgekit.cli.metric_words import difference_text, is_share, metric_text
from edgekit.cli.output import JsonOption, emit, table
from edgekit.errors import GateError

if TYPE_CHECKING:
    from edgekit.evaluate import CompareResult
    from edgekit.evaluate.compare import Difference

_Result = Annotated[
    Path,
    typer.Argument(
        metavar="RESULT.json",
        help="The output of edgekit evaluate --json or benchmark --json.",
        autocompletion=completion.results,
    ),
]


def compare(
    first: _Result,
    second: _Result,
    max_drop: Annotated[
        Optional[float],
        typer.Option(
            metavar="POINTS",
            min=0,
            help="The largest drop of a metric, in percentage points: from 98 % to 97 % is 1. "
            "Errors (mae, rmse) may rise by that many percent.",
        ),
    ] = None,
    max_p95_ms: Annotated[
        Optional[float],
        typer.Option(
            "--max-p95-ms", metavar="MS", min=0, help="The highest latency for 95 % of inferences."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare two results: whether they are comparable, how they differ, what fails."""
    from edgekit.evaluate import compare as run_compare

    result = run_compare(first, second, max_drop=max_drop, max_p95_ms=max_p95_ms)
    emit(result, lambda: "\n".join(render(result)), as_json=json)
    if result.passed is False:
        raise typer.Exit(GateError.exit_status)


def render(result: CompareResult) -> Iterator[str]:
    """Yield the comparison for people, line by line."""
    yield f"first      {result.first}"
    yield f"second     {result.second}"
    yield f"comparable {'yes' if result.comparable else 'no'}"
    for text in result.obstacles:
        yield f"           {text}"
    for text in result.notes:
        yield f"note       {text}"
    if result.metrics:
        head = ("metric", "first", "second", "difference", "95 % interval", "")
        yield table(head, [_metric(each) for each in result.metrics])
    if result.latency_ms:
        yield table(
            ("latency ms", "first", "second", "difference"),
            [
                (each.name, f"{each.first:.3f}", f"{each.second:.3f}", f"{each.difference:+.3f}")
                for each in result.latency_ms
            ],
        )
    for text in result.remarks:
        yield f"remark     {text}"
    for text in result.failures:
        yield f"not met    {text}"
    if result.passed is not None:
        yield f"verdict    {'passed' if result.passed else 'failed'}"


def _metric(each: Difference) -> tuple[str, ...]:
    name, interval = each.name, "unknown"
    if each.ci95 is not None:
        interval = " to ".join(difference_text(name, bound) for bound in each.ci95)
    unit = "points" if is_share(name) else ""
    kind = ", ".join(part for part in (unit, "paired" if each.paired else "") if part)
    both = (metric_text(name, each.first), metric_text(name, each.second))
    return (name, *both, difference_text(name, each.difference), interval, kind)
