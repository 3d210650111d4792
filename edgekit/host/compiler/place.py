# SPDX-License-Identifier: Apache-2.0
"""Where edgetpu_compiler runs: a protocol for this machine, other machines and containers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgekit.errors import ExternalToolError
from edgekit.host.compiler.errors import unusable_compiler
from edgekit.process import Finished, run_process

VERSION_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Job:
    """One run of the compiler."""

    models: tuple[Path, ...]  # absolute; all names differ
    arguments: tuple[str, ...]  # without the models and the output folder
    folder: Path  # an empty folder of this machine for the compiler's output
    deadline_s: float
    on_line: Callable[[str], None]


class Place(Protocol):
    """A machine with the compiler."""

    @property
    def name(self) -> str:
        """The place as --via names it; empty for this machine."""

    def version_output(self) -> str:
        """What ``edgetpu_compiler --version`` prints there."""

    def commands(self, job: Job) -> list[list[str]]:
        """The commands that `run` would start, as lists of words."""

    def run(self, job: Job) -> Finished:
        """Compile; afterwards the compiler's output is in ``job.folder``.

        Raises:
            CompilerError: The place cannot be reached, or has no compiler.
        """


def model_word(path: Path) -> str:
    """Return a model's name as an argument that is not read as an option, for its own folder."""
    return f"./{path.name}" if path.name.startswith("-") else path.name


def compiler_command(program: str, arguments: Sequence[str], models: Sequence[str]) -> list[str]:
    """Return the compiler's command line; it writes into its current folder."""
    return [program, *arguments, "--out_dir", ".", *models]


@dataclass(frozen=True)
class LocalPlace:
    """This machine; ``compiler`` is an absolute path."""

    compiler: str
    name: str = ""

    def version_output(self) -> str:
        """What ``edgetpu_compiler --version`` prints."""
        try:
            return run_process([self.compiler, "--version"], timeout_s=VERSION_TIMEOUT_S).stdout
        except ExternalToolError as error:
            raise unusable_compiler(self.compiler, error) from error

    def commands(self, job: Job) -> list[list[str]]:
        """The only command of `run`."""
        return [compiler_command(self.compiler, job.arguments, [str(each) for each in job.models])]

    def run(self, job: Job) -> Finished:
        """Compile in ``job.folder``; Ctrl-C and the deadline end the whole process group."""
        (command,) = self.commands(job)
        try:
            return run_process(
                command, timeout_s=job.deadline_s, cwd=job.folder, on_stdout=job.on_line
            )
        except ExternalToolError as error:
            raise unusable_compiler(self.compiler, error) from error
