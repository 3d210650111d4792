# SPDX-License-Identifier: Apache-2.0
"""The results of `compile`, by whichever compiler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.explain import MAPPED
from edgekit.opencompiler.compilers import GOOGLE
from edgekit.result import Result


@dataclass(frozen=True)
class OperatorCount(Result):
    """A row of the operator table; an operator has one row for each status."""

    opcode: str
    count: int
    status: str  # in the compiler's words

    @property
    def mapped(self) -> bool:
        """Whether these operations run on the Edge TPU."""
        return self.status == MAPPED


@dataclass(frozen=True)
class Verification(Result):
    """How edgekit's program was verified before it was written.

    A program is run in the emulator, which also checks every wait (strict mode), and all outputs
    have to equal those of the chip's arithmetic in numpy.
    """

    inputs: tuple[str, ...]  # the kinds of inputs: "random", "all 0", ...
    num_values: int  # that were compared, and equal


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
    predicted_cycles: int | None = None  # of the busiest tile's arithmetic; by edgekit only
    verification: Verification | None = None  # by edgekit only
    # By edgekit only: the share of instructions whose form, level pattern and order Google's
    # programs contain, or that a chip has confirmed; and the number of the others.
    seen_share: float | None = None
    num_unseen: int | None = None
    num_confirmed: int | None = None  # of the seen ones: by programs that a chip ran rightly

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
    """The outcome of one run of a compiler."""

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
    compiler: str = GOOGLE  # google | edgekit
