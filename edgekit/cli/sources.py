# SPDX-License-Identifier: Apache-2.0
"""``edgekit sources``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.grammar import OneOf
from edgekit.cli.output import JsonOption, emit, note
from edgekit.extras import require_host_python

if TYPE_CHECKING:
    from edgekit.host.convert.environments import SourcesResult

ACTIONS = ("list", "install", "remove")


def sources(
    action: Annotated[
        str, typer.Argument(metavar="|".join(ACTIONS), help="What to do."), OneOf(*ACTIONS)
    ] = "list",
    name: Annotated[
        Optional[str], typer.Argument(metavar="NAME", help="Which environment: onnx or torch.")
    ] = None,
    python: Annotated[
        Optional[Path],
        typer.Option(metavar="PATH", help="The Python to make it with; by default one on PATH."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Install converters for networks of other frameworks, each in its own environment."""
    require_host_python("sources")
    from edgekit.host.convert import environments

    result = environments.sources(action, name, python=python, on_line=note)
    emit(result, lambda: "\n".join(render(result)), as_json=json)


def render(result: SourcesResult) -> Iterator[str]:
    """Yield the environments for people, line by line."""
    for each in result.environments:
        if each.python is None:
            yield f"{each.name:10} not installed: edgekit sources install {each.name} ({each.room})"
        else:
            yield f"{each.name:10} {each.python}: {', '.join(each.requirements)}"
