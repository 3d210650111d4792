# SPDX-License-Identifier: Apache-2.0
"""Bundles of the scalar core as Python functions; all slots read registers before any writes.

Registers contain 32-bit patterns. A bundle is decoded once into a function without arguments that
works on the lists of a `Core`; a loop then only calls it.

Source: tinycoral, docs/isa/scalar.md; the operations were identified by their use in compiled
softmax and re-layout loops.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Callable, Tuple

import numpy as np

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.errors import EmulationError
from edgekit.chip.isa.memories import SCALAR_WORDS
from edgekit.chip.isa.slots import (
    DESCRIPTOR,
    EXP2,
    ISSUE,
    LOAD_AT,
    LOAD_NEXT,
    RECIPROCAL,
    STORE,
    STORE_AT,
    STORE_INCREMENT,
    STORE_NEXT,
    TO_HOST,
    load_word,
    store_word,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = 0xFFFFFFFF
_SIGN = 0x80000000
_INFINITY = 0x7F800000
_AS_BITS, _AS_REAL = struct.Struct("<I"), struct.Struct("<f")


def _signed(value: int) -> int:
    return value - (1 << 32) if value & _SIGN else value


def _real(bits: int) -> float:
    real: float = _AS_REAL.unpack(_AS_BITS.pack(bits))[0]
    return real


def _bits(value: float) -> int:
    """The bits of the nearest float32.

    Sums and products of two float32 values, computed in double and rounded once more, equal those
    of float32: 53 bits are at least 2 x 24 + 2 (Figueroa, 1995).
    """
    try:
        bits: int = _AS_BITS.unpack(_AS_REAL.pack(value))[0]
    except OverflowError:
        return _INFINITY if value > 0 else _INFINITY | _SIGN
    return bits


def _to_integer(bits: int) -> int:
    value = _real(bits)
    return round(value) & _WORD if isfinite(value) else 0


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
    16: lambda _, b: _bits(_signed(b)),
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

Action = Callable[[], None]
Write = Tuple[int, Callable[[], int]]  # a register, and its new value


@dataclass
class Core:
    """The data that bundles read and write; a `State` owns the first three."""

    registers: list[int]
    predicates: list[int]
    memory: NDArray[np.uint32]
    host: list[int] = field(default_factory=list)  # words sent, as 32-bit patterns
    descriptor: list[int] = field(default_factory=lambda: [0] * 4)
    issued: list[tuple[int, ...]] = field(default_factory=list)


def touches_data(instruction: Instruction) -> bool:
    """Whether a bundle reads or writes data that depends on the inputs."""
    return bool(
        instruction["load"]
        or instruction["special"]
        or instruction["vector"] in {STORE_AT, STORE, STORE_NEXT, TO_HOST}
    )


def stop(instruction: Instruction, what: str, name: str) -> EmulationError:
    """Return an error that names a bundle and one of its fields."""
    return EmulationError(
        what,
        where=f"{instruction.where}, field {name}",
        why="what the scalar core does then is not proven",
    )


def bundle(instruction: Instruction, core: Core) -> Action:
    """Return the function that executes a bundle.

    Raises:
        EmulationError: A slot contains an operation that is not proven.
    """
    actions, writes = _vector(instruction, core)
    writes += _load(instruction, core) + _special(instruction, core)
    op = instruction["alu_op"]
    if op in _COMPARISONS:
        actions.append(_comparison(instruction, core))
    elif op in _RESULTS:
        writes.append((instruction["x"], _result(instruction, core)))
    elif op:
        raise stop(instruction, f"scalar operation {op}", "alu_op")
    return _gated(instruction, core, _together(core.registers, actions, writes))


def _together(registers: list[int], actions: list[Action], writes: list[Write]) -> Action:
    """Return all slots as one function; it computes every result before it writes one."""
    if not writes and len(actions) == 1:
        return actions[0]
    if len(writes) == 1 and not actions:
        ((register, value),) = writes

        def write() -> None:
            registers[register] = value()

        return write

    def all_slots() -> None:
        results = [(register, value()) for register, value in writes]
        for action in actions:
            action()
        for register, result in results:
            registers[register] = result

    return all_slots


def _gated(instruction: Instruction, core: Core, action: Action) -> Action:
    if not instruction["gate"]:
        return action
    predicates, predicate, polarity = core.predicates, instruction["pred"], instruction["polarity"]

    def gated() -> None:
        if predicates[predicate] == polarity:
            action()

    return gated


def _result(instruction: Instruction, core: Core) -> Callable[[], int]:
    compute, registers = _RESULTS[instruction["alu_op"]], core.registers
    y, operand = instruction["y"], instruction["imm"]
    if instruction["immediate"]:
        return lambda: compute(registers[y], operand)
    operand &= 31
    return lambda: compute(registers[y], registers[operand])


def _comparison(instruction: Instruction, core: Core) -> Action:
    compare, registers = _COMPARISONS[instruction["alu_op"]], core.registers
    y, operand, immediate = instruction["y"], instruction["imm"], instruction["immediate"]
    predicates, predicate = core.predicates, instruction["x"] & 7

    def decide() -> None:
        other = operand if immediate else registers[operand & 31]
        predicates[predicate] = int(compare(registers[y], other))

    return decide


def _load(instruction: Instruction, core: Core) -> list[Write]:
    registers, memory, source = core.registers, core.memory, instruction["load_from"]
    if not instruction["load"]:
        return []
    if instruction["load"] == LOAD_AT:
        word = _checked(instruction, load_word(instruction), "load_from")
        return [(instruction["load_to"], lambda: int(memory[word]))]

    def loaded() -> int:
        return int(memory[_checked(instruction, registers[source], "load_from")])

    writes: list[Write] = [(instruction["load_to"], loaded)]
    if instruction["load"] == LOAD_NEXT and instruction["load_inc"]:
        writes.append((source, lambda: registers[source] + 1 & _WORD))
    return writes


def _vector(instruction: Instruction, core: Core) -> tuple[list[Action], list[Write]]:
    registers, memory = core.registers, core.memory
    vector, slot, source = (instruction[f"vector{name}"] for name in ("", "_slot", "_from"))
    register, part = slot & 31, slot & 3

    def store() -> None:
        memory[_checked(instruction, registers[register], "vector_slot")] = registers[source]

    def store_at() -> None:
        word = _checked(instruction, store_word(instruction), "vector_slot")
        memory[word] = registers[source]

    def describe() -> None:
        core.descriptor[part] = registers[source]

    writes: list[Write] = []
    if vector == STORE_NEXT and slot >> STORE_INCREMENT & 1:
        writes.append((register, lambda: registers[register] + 1 & _WORD))
    actions: dict[int, Action] = {
        STORE_AT: store_at,
        STORE: store,
        STORE_NEXT: store,
        TO_HOST: lambda: core.host.append(registers[source]),
        DESCRIPTOR: describe,
        ISSUE: lambda: core.issued.append(tuple(core.descriptor)),
    }
    if vector and vector not in actions:
        raise stop(instruction, f"vector operation {vector}", "vector")
    return [actions[vector]] if vector else [], writes


def _special(instruction: Instruction, core: Core) -> list[Write]:
    registers, source = core.registers, instruction["special_from"]

    def reciprocal() -> int:
        value = _real(registers[source])
        return _bits(1 / value) if value else _INFINITY

    def power() -> int:
        # The chip's exp2 is not correctly rounded (tinycoral); this uses the nearest float32.
        return _bits(float(np.exp2(_real(registers[source]))))

    functions = {RECIPROCAL: reciprocal, EXP2: power}
    special = instruction["special"]
    if special and special not in functions:
        raise stop(instruction, f"special function {special}", "special")
    return [(instruction["special_to"], functions[special])] if special else []


def _checked(instruction: Instruction, address: int, name: str) -> int:
    if address >= SCALAR_WORDS:
        raise stop(instruction, f"scalar memory word {address} of {SCALAR_WORDS}", name)
    return address
