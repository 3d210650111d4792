# SPDX-License-Identifier: Apache-2.0
"""``edgekit explain``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Iterator

import typer
from typing_extensions import Annotated

from edgekit.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from edgekit.explain import ExplainResult, Explanation

_STDIN = "-"


def explain(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="TEXT|LOG|CODE",
            help="An error message in quotes, a file with a log, - for standard input, or a code.",
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Explain what a compiler log, a runtime error or an issue code means, and what to do.

    Lines without an explanation are listed as unknown, with exit status 0. A single word that is
    neither a code nor a file is bad input (exit status 3).
    """
    from edgekit.errors import InputError
    from edgekit.explain import explain as run_explain
    from edgekit.explain import explain_text
    from edgekit.files import MOST_TEXT_BYTES, read_stream

    if subject == _STDIN:
        content = read_stream(sys.stdin.buffer, MOST_TEXT_BYTES)
        if content is None:
            raise InputError(f"the text has more than {MOST_TEXT_BYTES:,} bytes", where="stdin")
        result = explain_text(content.decode("utf-8", errors="replace"))
    else:
        result = run_explain(subject)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: ExplainResult) -> Iterator[str]:
    """Yield the result for people, line by line."""
    for index, each in enumerate(result.matches):
        if index:
            yield ""
        yield from _render_one(each)
    if result.unknown:
        if result.matches:
            yield ""
        yield "unknown to edgekit:"
        for origin in result.origins:
            if origin.program:
                yield f"  from {origin.program} ({origin.layer}):"
            yield from (f"  {line}" for line in origin.lines)
        yield "If a tool for the Edge TPU printed this, please report it with the command."
    if not result.matches and not result.unknown:
        yield "These lines do not report a failure: they come from a successful compilation."


def _render_one(each: Explanation) -> Iterator[str]:
    yield f"{each.code}: {each.title}"
    for line in each.text.splitlines():
        yield f"  | {line}"
    for label, text in _parts(each):
        if text:
            yield f"  {label}: {text}"


def _parts(each: Explanation) -> Iterator[tuple[str, str]]:
    yield "cause", each.cause
    yield "fix", each.fix
    yield "versions", each.versions
    yield "source", each.source
