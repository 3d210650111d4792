# SPDX-License-Identifier: Apache-2.0
"""What `compile` would run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.result import Result


@dataclass(frozen=True)
class CompileCommands(Result):
    """The commands that `compile` would run, for --dry-run."""

    schema: ClassVar[str] = "edgekit.compile_commands/1"
    via: str
    commands: tuple[tuple[str, ...], ...]
