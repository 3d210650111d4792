# SPDX-License-Identifier: Apache-2.0
"""The scalar core: bundles whose slots all read before any writes, over 4,096 words of memory.

Source: tinycoral, docs/isa/scalar.md; operations by their use in compiled softmax and re-layout
loops.
"""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from edgekit.emulator.decode import Instruction
from edgekit.emulator.errors import EmulationError
from edgekit.emulator.plan import Step
from edgekit.emulator.state import SCALAR_WORDS, State

_WORD = 0xFFFFFFFF
_SIGN = 0x80000000
_MAX_BUNDLES = 20_000_000  # more than any softmax of the largest allowed size takes


def _signed(value: int) -> int:
    return value - (1 << 32) if value & _SIGN else value


def _real(bits: int) -> np.float32:
    return np.uint32(bits).view(np.float32)


def _bits(value: np.float32) -> int:
    return int(np.float32(value).view(np.uint32))


def _to_integer(bits: int) -> int:
    value = float(_real(bits))
    return int(np.rint(value)) & _WORD if np.isfinite(value) else 0


# alu_op -> result of (y, operand), both as 32-bit patterns.
_RESULTS: dict[int, Callable[[int, int], int]] = {
    1: lambda y, b: y + b & _WORD,
    2: lambda y, b: y - b & _WORD,
    3: lambda y, b: y & b,
    4: lambda y, b: y | b,
    5: lambda y, b: y ^ b,
    6: lambda y, b: y << (b & 31) & _WORD,
    7: lambda y, b: y >> (b & 31),
    8: lambda y, b: _signed(y) >> (b & 31) & _WORD,
    15: lambda _, b: b,
    16: lambda _, b: _bits(np.float32(_signed(b))),
    17: lambda _, b: _to_integer(b),
    18: lambda y, b: _bits(_real(y) + _real(b)),
    19: lambda y, b: _bits(_real(y) - _real(b)),
    20: lambda y, b: _bits(_real(y) * _real(b)),
    21: lambda y, b: _bits(max(_real(y), _real(b))),
    22: lambda y, b: _bits(min(_real(y), _real(b))),
}
_COMPARISONS: dict[int, Callable[[int, int], bool]] = {
    9: lambda y, b: y == b,
    10: lambda y, b: y != b,
    11: lambda y, b: _signed(y) > _signed(b),
    12: lambda y, b: _signed(y) < _signed(b),
    13: lambda y, b: y >= b,
    14: lambda y, b: _signed(y) >= _signed(b),
}
_STORE_AT, _STORE, _STORE_NEXT, _TO_HOST, _DESCRIPTOR, _ISSUE = 2, 4, 6, 8, 10, 12
_LOAD_AT = 1  # the word whose number the instruction holds
_INCREMENT = 5  # bit of the slot of _STORE_NEXT
_RECIPROCAL, _EXP2 = 2, 3


def touches_data(instruction: Instruction) -> bool:
    """Whether a bundle reads or writes what inputs can change."""
    return bool(
        instruction["load"]
        or instruction["special"]
        or instruction["vector"] in {_STORE_AT, _STORE, _STORE_NEXT, _TO_HOST}
    )


class ScalarStep(Step):
    """A run of bundles, loops and branches without anything else between them."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self.instructions = tuple(instructions)
        self.index = {each.pc: position for position, each in enumerate(instructions)}
        self.first_byte = 0  # of what goes to the host, in the output stream
        self.start: tuple[list[int], list[int]] | None = (
            None  # registers, where inputs do not matter
        )
        self.descriptors: list[tuple[int, ...]] = []

    @property
    def touches_data(self) -> bool:
        """Whether inputs can change what it does."""
        return any(touches_data(each) for each in self.instructions if each.layout.name == "alu")

    def run(self, state: State) -> None:
        """Execute; words for the host go to their place in the output."""
        if self.start is not None:
            state.registers[:], state.predicates[:] = self.start
        with np.errstate(all="ignore"):  # infinities are values
            words = self.execute(state)
        if words:
            data = np.array(words, np.uint32).view(np.uint8)
            state.output[self.first_byte : self.first_byte + data.size] = data

    def execute(self, state: State) -> list[int]:
        """Execute and return the words for the host, as 32-bit patterns."""
        host: list[int] = []
        descriptor = [0] * 4
        loops: list[list[int]] = []  # [first, last, passes left], as positions
        at, executed = 0, 0
        while at < len(self.instructions):
            instruction = self.instructions[at]
            name, following = instruction.layout.name, at + 1
            executed += 1
            if executed > _MAX_BUNDLES:
                raise _stop(instruction, f"more than {_MAX_BUNDLES} bundles", "count")
            if name == "alu":
                if not instruction["gate"] or (
                    state.predicates[instruction["pred"]] == instruction["polarity"]
                ):
                    _bundle(instruction, state, host, descriptor, self.descriptors)
            elif name == "loop":
                loops.append([at + 1, at + instruction["body"], instruction["count"]])
            elif name == "branch" and (state.predicates[0] or instruction["cond"] != 17):
                raise _stop(instruction, "a branch that is taken", "offset")
            while loops and following == loops[-1][1] + 1:
                loops[-1][2] -= 1
                if loops[-1][2] > 0:
                    following = loops[-1][0]
                    break
                loops.pop()
            at = following
        return host


def _stop(instruction: Instruction, what: str, name: str) -> EmulationError:
    return EmulationError(
        what,
        where=f"{instruction.where}, field {name}",
        why="what the scalar core does then is not proven",
    )


def _bundle(
    instruction: Instruction,
    state: State,
    host: list[int],
    descriptor: list[int],
    issued: list[tuple[int, ...]],
) -> None:
    """One bundle: every slot reads the registers as they were before it."""
    fields, registers = instruction.fields, state.registers
    writes: list[tuple[int, int]] = []
    op = fields["alu_op"]
    if op:
        operand = fields["imm"] if fields["immediate"] else registers[fields["imm"] & 31]
        if op in _COMPARISONS:
            state.predicates[fields["x"] & 7] = int(
                _COMPARISONS[op](registers[fields["y"]], operand)
            )
        elif op in _RESULTS:
            writes.append((fields["x"], _RESULTS[op](registers[fields["y"]], operand)))
        else:
            raise _stop(instruction, f"scalar operation {op}", "alu_op")
    if fields["load"] == _LOAD_AT:
        address = fields["load_from"] | fields["load_inc"] << 5 | fields["load_rest"] << 6
        writes.append((fields["load_to"], int(state.scalar[_checked(instruction, address)])))
    elif fields["load"] >= 2:
        address = registers[fields["load_from"]]
        writes.append((fields["load_to"], int(state.scalar[_checked(instruction, address)])))
        if fields["load"] == 3 and fields["load_inc"]:
            writes.append((fields["load_from"], address + 1 & _WORD))
    vector = fields["vector"]
    if vector in {_STORE, _STORE_NEXT}:
        register = fields["vector_slot"] & 31
        address = _checked(instruction, registers[register])
        state.scalar[address] = registers[fields["vector_from"]]
        if vector == _STORE_NEXT and fields["vector_slot"] >> _INCREMENT & 1:
            writes.append((register, address + 1))
    elif vector == _STORE_AT:
        address = _checked(instruction, fields["vector_slot"] | fields["vector_cmd"] << 8)
        state.scalar[address] = registers[fields["vector_from"]]
    elif vector == _TO_HOST:
        host.append(registers[fields["vector_from"]])
    elif vector == _DESCRIPTOR:
        descriptor[fields["vector_slot"] & 3] = registers[fields["vector_from"]]
    elif vector == _ISSUE:
        issued.append(tuple(descriptor))
    elif vector:
        raise _stop(instruction, f"vector operation {vector}", "vector")
    if fields["special"]:
        writes.append((fields["special_to"], _special(instruction, registers)))
    for register, value in writes:
        registers[register] = value


def _special(instruction: Instruction, registers: list[int]) -> int:
    value = _real(registers[instruction["special_from"]])
    if instruction["special"] == _RECIPROCAL:
        return _bits(np.float32(1) / value) if value else 0x7F800000
    if instruction["special"] == _EXP2:
        # The chip's exp2 is not perfectly rounded (tinycoral); the nearest float32 is used here.
        return _bits(np.float32(np.exp2(np.float64(value))))
    raise _stop(instruction, f"special function {instruction['special']}", "special")


def _checked(instruction: Instruction, address: int) -> int:
    if address >= SCALAR_WORDS:
        raise _stop(instruction, f"scalar memory word {address} of {SCALAR_WORDS}", "load_from")
    return address
