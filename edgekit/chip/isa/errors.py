# SPDX-License-Identifier: Apache-2.0
"""The errors of the emulator; they name the instruction, program counter and field."""

from __future__ import annotations

from edgekit.chip.isa.decode import Instruction
from edgekit.errors import UnsupportedModelError


class EmulationError(UnsupportedModelError):
    """The program does something whose result is not proven, or something impossible."""

    code = "model.emulation"


class SyncError(EmulationError):
    """Strict synchronization: the program would race, overflow a buffer or wait for ever."""

    code = "model.sync"


class UnprovenError(EmulationError):
    """The program has forms of instructions that are in no program that equals its source."""

    code = "model.unproven"


def not_proven(
    instruction: Instruction, what: str, field_name: str, why: str = ""
) -> EmulationError:
    """Return an error that names an instruction, its program counter and a field."""
    return EmulationError(
        what,
        where=f"{instruction.where}, field {field_name}",
        why=why or "what the chip does then is not proven",
    )
