# SPDX-License-Identifier: Apache-2.0
"""What --via accepts and refuses, before any connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit.host.compiler.run import compile as run_compile
from edgekit.host.compiler.run import compile_commands


@pytest.mark.parametrize(
    "via", ["ssh://", "ssh://host/path", "ssh://u:secret@host", "ssh://-oProxyCommand=x", "host"]
)
def test_an_invalid_place_is_a_usage_error(model: Path, via: str) -> None:
    with pytest.raises(UsageError) as raised:
        run_compile([model], via=via)
    assert "secret" not in str(raised.value)


def test_a_dry_run_shows_the_command_there(model: Path) -> None:
    planned = compile_commands([model], via="ssh://me@host:2222")
    assert planned.via == "ssh://me@host:2222"
    assert planned.commands == (
        ("edgetpu_compiler", "--show_operations", "--out_dir", ".", "net.tflite"),
    )
