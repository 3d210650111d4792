# SPDX-License-Identifier: Apache-2.0
"""What the emulator is proven on: the aspects of programs that were equal to their source.

``scripts/make_proven.py`` compares programs of Google's compilers with the models that they were
compiled from, layer by layer, and writes proven.json from those that are equal.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.disassemble import text
from edgekit.chip.vocabulary.aspects import aspects_of
from edgekit.result import Result

PROVEN_FILE = Path(__file__).with_name("proven.json")
PROVEN_SCHEMA = "edgekit.proven/1"


@dataclass(frozen=True)
class UnprovenForm(Result):
    """A form that is in no program that was equal to its source, at its first place."""

    form: str  # in the words of `edgekit.chip.vocabulary.aspects`
    program: int  # index of the executable in its package
    pc: int
    times: int
    disassembled: str  # the instruction; for an order, the later one

    def __str__(self) -> str:
        return f"{self.form} (executable {self.program}, pc {self.pc}, {self.times} times)"


def unproven_forms(
    programs: Iterable[Sequence[Instruction]], proven: Mapping[str, Any] | None = None
) -> tuple[UnprovenForm, ...]:
    """Return the forms of programs that are not proven, in the order of their first places.

    Args:
        programs: As `decode` returns them; one that is cut into several bitstreams is one program.
        proven: Texts of aspects; by default those that edgekit contains.
    """
    known = proven_aspects() if proven is None else proven
    places: dict[str, tuple[int, Instruction]] = {}
    times: Counter[str] = Counter()
    for number, instructions in enumerate(programs):
        for index, aspect in aspects_of(instructions):
            if aspect not in known:
                times[aspect] += 1
                places.setdefault(aspect, (number, instructions[index]))
    return tuple(
        UnprovenForm(aspect, number, instruction.pc, times[aspect], text(instruction))
        for aspect, (number, instruction) in places.items()
    )


@functools.lru_cache(maxsize=None)
def proven_aspects() -> Mapping[str, int]:
    """Return the aspects of proven programs, each with the number of these programs."""
    rows = json.loads(PROVEN_FILE.read_text("utf-8"))["aspects"]
    return {aspect: programs for aspect, programs, _ in rows}
