# SPDX-License-Identifier: Apache-2.0
"""The README and the pages are right: commands and options exist, links have targets."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from edgekit.cli.main import build

_REPOSITORY = Path(__file__).resolve().parents[1]
_PAGES = (
    "README.md",
    "docs/quick-start.md",
    *(str(path.relative_to(_REPOSITORY)) for path in sorted((_REPOSITORY / "docs").glob("*/*.md"))),
)
_WRITTEN = tuple(page for page in _PAGES if "/codes/" not in page)
_COMMAND = re.compile(r"(?:^\$ |^ +- run: |`)(edgekit [^`\n]+)", re.MULTILINE)


def _typed(page: str) -> list[str]:
    return sorted(set(_COMMAND.findall((_REPOSITORY / page).read_text())))


_TYPED = [(page, line) for page in _WRITTEN for line in _typed(page)]


def _options(command: str) -> set[str]:
    """The options of a command; of edgekit itself if there is an option instead of a command."""
    group = typer.main.get_command(build())
    found = (
        group if command.startswith("-") else group.commands[command]  # type: ignore[attr-defined] # a group, by the callback
    )
    return {option for parameter in found.params for option in parameter.opts}


def test_the_pages_show_commands() -> None:
    assert len(_typed("README.md")) > 15
    assert len({page for page, _ in _TYPED}) > 8


@pytest.mark.parametrize(("page", "line"), _TYPED)
def test_every_command_and_option_exists(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    options = _options(words[0])
    for word in words:
        if word in ("|", ">"):
            break
        if word.startswith("-") and word != "-":
            assert word.split("=")[0] in options, f"{page}: {line}"


@pytest.mark.parametrize("page", _WRITTEN)
def test_every_link_has_a_target(page: str) -> None:
    path = _REPOSITORY / page
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert (path.parent / link).exists(), link


def test_every_command_is_in_the_readme() -> None:
    commands = {each.callback.__name__ for each in build().registered_commands if each.callback}
    named = {line.split()[1] for line in _typed("README.md")}
    assert commands <= named
