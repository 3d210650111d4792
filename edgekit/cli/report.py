# SPDX-License-Identifier: Apache-2.0
"""``edgekit report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.output import JsonOption, emit, table

if TYPE_CHECKING:
    from edgekit.report.page import ReportResult


def report(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN_DIR", help="A folder with results as JSON, models, pictures."),
    ],
    output: Annotated[
        Optional[Path],
        typer.Option(
            "--output", "-o", metavar="FILE", help="The HTML file; RUN_DIR/report.html by default."
        ),
    ] = None,
    model: Annotated[
        Optional[str],
        typer.Option(
            metavar="MODEL", help="A model in RUN_DIR; by default the model of the results."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Create one offline HTML file of all results in a folder."""
    from edgekit.extras import require_python

    require_python((3, 10), extra="report", purpose="make the report")
    from edgekit.report.page import report as run_report

    result = run_report(run, output, model=model)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: ReportResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    yield result.verdict.text
    yield ""
    yield table(
        ("number", "value", "known from", "more"),
        [(each.name, each.value, each.evidence, each.detail) for each in result.verdict.numbers],
    )
    yield ""
    if result.missing:
        yield f"no results for: {', '.join(name.replace('_', ' ') for name in result.missing)}"
    for remark in result.remarks:
        yield f"not used: {remark}"
    yield f"report      {result.output} ({result.bytes:,} bytes)"
