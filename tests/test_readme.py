# SPDX-License-Identifier: Apache-2.0
"""What the README shows can be typed: commands and options exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from edgekit.cli.main import app

_REPOSITORY = Path(__file__).resolve().parents[1]
_README = (_REPOSITORY / "README.md").read_text()
_TYPED = sorted(set(re.findall(r"(?:^\$ |`)(edgekit [^`\n]+)", _README, re.MULTILINE)))


def _options(command: str) -> set[str]:
    group = typer.main.get_command(app)
    found = group.commands[command]  # type: ignore[attr-defined] # a group, by the callback
    return {option for parameter in found.params for option in parameter.opts}


def test_the_readme_shows_commands() -> None:
    assert len(_TYPED) > 15


@pytest.mark.parametrize("line", _TYPED)
def test_every_command_and_option_exists(line: str) -> None:
    _, command, *words = shlex.split(line, comments=True)
    options = _options(command)
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in options, line


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", _README))))
def test_every_link_leads_to_a_file(link: str) -> None:
    assert (_REPOSITORY / link).exists()


def test_every_command_is_in_the_readme() -> None:
    commands = {each.callback.__name__ for each in app.registered_commands if each.callback}
    named = {line.split()[1] for line in _TYPED}
    assert commands <= named
