# SPDX-License-Identifier: Apache-2.0
"""The results of `compile`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.host.compiler.log import OperatorCount
from edgekit.result import Result


@dataclass(frozen=True)
class CompiledModel(Result):
    """One compiled model, or one segment of it; bytes are as exact as the compiler prints them."""

    model: str  # the file that was compiled
    sha256: str
    output: str
    output_bytes: int
    on_chip_bytes: int | None
    on_chip_remaining_bytes: int | None
    streamed_bytes: int | None
    num_subgraphs: int | None
    num_operators: int
    num_mapped: int
    operators: tuple[OperatorCount, ...]

    @property
    def mapped_share(self) -> float:
        """The share of operations that run on the Edge TPU, 0 to 1."""
        return self.num_mapped / self.num_operators if self.num_operators else 0.0


@dataclass(frozen=True)
class Disagreement(Result):
    """An operator that edgekit's own rules count differently from the compiler."""

    model: str
    opcode: str
    compiler_mapped: int
    check_mapped: int
    check_unknown: int  # operators of which edgekit does not state whether they map

    def __str__(self) -> str:
        return (
            f"{self.model}: the compiler maps {self.compiler_mapped} {self.opcode}, "
            f"edgekit check {self.check_mapped}"
        )


@dataclass(frozen=True)
class CompileResult(Result):
    """The outcome of one run of the compiler."""

    schema: ClassVar[str] = "edgekit.compile/1"
    outputs: tuple[str, ...]  # every file written: models, segments, logs
    compiler_version: str
    models: tuple[CompiledModel, ...]
    disagreements: tuple[Disagreement, ...]
    log: str  # what the compiler printed
    via: str  # where it ran: ssh://..., docker:..., empty for this machine
    command: tuple[str, ...]
    num_attempts: int
    time_s: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class CompileCommands(Result):
    """The commands that `compile` would run, for --dry-run."""

    schema: ClassVar[str] = "edgekit.compile_commands/1"
    via: str
    commands: tuple[tuple[str, ...], ...]
