# SPDX-License-Identifier: Apache-2.0
"""Runs of the scalar core as rows of numbers, which compiled code executes.

A row is (0, gate, predicate, polarity, ALU operation, x, y, operand, whether it is immediate, load,
its address register, its target, its word, whether the address moves on, vector operation, its
slot, its source, its word, special function, its source, its target) of a bundle, or
(1, bundles in the body, passes) of a loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.emulator.state import State
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.slots import load_word, store_word

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBERS = 21
_FIELDS = (
    "gate", "pred", "polarity", "alu_op", "x", "y", "imm", "immediate", "load", "load_from",
    "load_to", "load_inc", "vector", "vector_slot", "vector_from", "special", "special_from",
    "special_to",
)  # fmt: skip


def scalar_code(instructions: Sequence[Instruction]) -> NDArray[np.int64] | None:
    """Return the rows of a run; None if it has a branch, which only the planner follows."""
    if any(each.layout.name not in {"alu", "loop"} for each in instructions):
        return None
    rows = np.zeros((len(instructions), _NUMBERS), np.int64)
    for row, each in zip(rows, instructions):
        if each.layout.name == "loop":
            row[:3] = 1, each["body"], max(each["count"], 1)
            continue
        values = [each[name] for name in _FIELDS]
        values.insert(11, load_word(each))
        values.insert(16, store_word(each))
        row[1:] = values
        row[7] &= 0xFFFFFFFF
    return rows


def run_code(state: State, code: NDArray[np.int64], most: int) -> NDArray[np.uint32] | None:
    """Execute a run of up to ``most`` bundles on ``state``; return the words for the host.

    None, with ``state`` unchanged, if an address is outside the memory, or a result is not a
    number: the Python functions have to execute the run.
    """
    kernels = state.kernels
    if kernels is None:
        return None
    registers = np.array(state.registers, np.uint32)
    predicates = np.array(state.predicates, np.int64)
    memory, host = state.scalar.copy(), np.empty(most, np.uint32)
    sent = kernels.run_scalar(code, registers, predicates, memory, host)
    if sent < 0:
        return None
    state.registers[:], state.predicates[:] = registers.tolist(), predicates.tolist()
    state.scalar[:] = memory
    return host[:sent]
