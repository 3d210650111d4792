# SPDX-License-Identifier: Apache-2.0
"""Kinds of faults that can be seeded into a compiled program: each changes one place of it.

A kind lists every change that it could make to a program, so that any program can be searched for
places, and a place can be drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from edgekit.chip.isa import Instruction, decode, encode, encode_one
from edgekit.formats.darwinn import Executable, InstructionBitstream, Package
from scripts.idle_fences import is_idle, is_idle_swap

_SUMS = 0x12  # cfg2 of the ops whose result goes to wide memory
_DRAIN = 0x3FF  # units of a fence that waits for all of them
_ALU = 0x20
_OUT_COUNTERS = 7  # from here on, a mesh record waits for space at the other end
_ROW_UNITS = 4
_QUEUED = ("op", "ring_send", "ring_recv0", "ring_recv1", "n2w", "w2n")
_PLACE = ("seq", "opcode")
Fields = dict[str, int]


@dataclass(frozen=True)
class Program:
    """A package with its decoded instructions: a list for each bitstream."""

    package: Package
    inference: tuple[tuple[Instruction, ...], ...]
    caching: tuple[tuple[Instruction, ...], ...]

    @classmethod
    def of(cls, package: Package) -> Program:
        """Decode the programs of a package."""
        caching = package.caching
        return cls(package, _decoded(package.inference), _decoded(caching) if caching else ())


@dataclass(frozen=True)
class Fault:
    """A changed package, and what was changed."""

    package: Package
    text: str
    # Whether the program does the same: a mesh transfer waits for a higher count, or a fence that
    # has no effect is elsewhere. The emulator honours these waits: if the program ends all the
    # same, it is right all the same.
    is_harmless: bool = False


@dataclass(frozen=True)
class Edit:
    """New fields for an instruction; without fields it is dropped or swapped with the next."""

    chunk: int
    position: int
    fields: Fields | None
    is_swap: bool = False
    is_harmless: bool = False


# A kind finds the edits that it could make to the inference program.
Finder = Callable[[Program], Iterator[Edit]]


def seed(program: Program, kind: str, draw: random.Random) -> Fault | None:
    """Return one random fault of a kind; None if the program has no place for it."""
    if kind in SPECIAL:
        return SPECIAL[kind](program, draw)
    edits = list(EDITS[kind](program))
    return apply(program, draw.choice(edits)) if edits else None


def kinds() -> tuple[str, ...]:
    """Return the names of all kinds."""
    return (*EDITS, *SPECIAL)


def apply(program: Program, edit: Edit) -> Fault:
    """Return the program with one change."""
    chunks = [list(chunk) for chunk in program.inference]
    chunk, at = chunks[edit.chunk], edit.position
    old = chunk[at]
    if edit.is_swap:
        following = chunk[at + 1]
        chunk[at : at + 2] = [_numbered(following, old["seq"]), _numbered(old, following["seq"])]
        text = f"{old.where} after {following.where}"
    elif edit.fields is None:
        chunk[at] = decode(encode_one(_ALU, {}))[0]
        chunks = _renumbered(chunks)
        text = f"{old.where} dropped"
    else:
        chunk[at] = replace(old, fields={**old.fields, **edit.fields})
        text = f"{old.where} {edit.fields}"
    executable = _with_chunks(program.package.inference, chunks)
    changed = with_executable(program.package, executable)
    return Fault(changed, text, edit.is_harmless or _moves_what_is_idle(program, edit))


def _moves_what_is_idle(program: Program, edit: Edit) -> bool:
    chunks = program.inference
    position = edit.position + sum(len(chunk) for chunk in chunks[: edit.chunk])
    instructions = [each for chunk in chunks for each in chunk]
    pair = instructions[position : position + 1 + edit.is_swap]
    names = [each.layout.name for each in pair]
    if edit.fields is not None or ("fence" not in names and names != ["op", "op"]):
        return False
    return (is_idle_swap if edit.is_swap else is_idle)(instructions, position)


def with_executable(package: Package, executable: Executable) -> Package:
    """Return the package with the executable of the same type replaced."""
    return replace(
        package,
        executables=tuple(
            executable if each.type is executable.type else each for each in package.executables
        ),
    )


def _decoded(executable: Executable) -> tuple[tuple[Instruction, ...], ...]:
    return tuple(decode(chunk.bitstream.tobytes()) for chunk in executable.instruction_bitstreams)


def _with_chunks(executable: Executable, chunks: Sequence[Sequence[Instruction]]) -> Executable:
    return replace(
        executable,
        instruction_bitstreams=tuple(
            replace(old, bitstream=np.frombuffer(encode(new), np.uint8))
            for old, new in zip(executable.instruction_bitstreams, chunks, strict=True)
        ),
    )


def _numbered(instruction: Instruction, number: int) -> Instruction:
    width = next(each.width for each in instruction.layout.fields if each.name == "seq")
    fields = {**instruction.fields, "seq": number % (1 << width)}
    return replace(instruction, fields=fields)


def _renumbered(chunks: list[list[Instruction]]) -> list[list[Instruction]]:
    """Number the instructions of the tiles anew."""
    number = 0
    for chunk in chunks:
        for at, instruction in enumerate(chunk):
            if instruction.layout.on_tiles:
                chunk[at] = _numbered(instruction, number)
                number += 1
    return chunks


def _each(program: Program, fields_of: Callable[[Instruction], list[Fields]]) -> Iterator[Edit]:
    for chunk, instructions in enumerate(program.inference):
        for position, instruction in enumerate(instructions):
            for fields in fields_of(instruction):
                if any(instruction[name] != value for name, value in fields.items()):
                    yield Edit(chunk, position, fields)


# Waits: what an instruction names as its wait, with the change that removes it and those that
# change its count.


@dataclass(frozen=True)
class _Wait:
    """The fields without the wait, and those with another count: one less, one more."""

    removed: Fields
    lower: Fields | None
    higher: Fields


def _waits(instruction: Instruction) -> list[_Wait]:
    """Return the waits for data of an instruction; credits, which wait for space, are left out."""
    name, fields = instruction.layout.name, instruction.fields
    if name.startswith("mesh"):
        return [
            _record(f"s{k}", fields, step=4, parts=("en_a", "en_b", "id", "val"))
            for k in range(5)
            if fields[f"s{k}_en_a"]
            and fields[f"s{k}_val"] >= 4
            and fields[f"s{k}_id"] >> 1 < _OUT_COUNTERS
            and not fields[f"s{k}_id"] & 1
        ]
    if name == "ring.send":
        return [
            _record(f"r{k}", fields, step=1, parts=("en_a", "en_b", "id", "val"))
            for k in range(3)
            if fields[f"r{k}_en_a"]
        ]
    if name == "scalar.sync":
        return [
            _Wait(
                {"wait": fields["wait"] & ~(1 << bit)},
                {f"threshold{bit}": fields[f"threshold{bit}"] - 1}
                if fields[f"threshold{bit}"]
                else None,
                {f"threshold{bit}": fields[f"threshold{bit}"] + 1},
            )
            for bit in (5, 6)
            if fields["wait"] >> bit & 1
        ]
    if name == "w2n" and fields["s0_id"]:
        return [_numbers_of_record("s0", fields)]
    if name == "op" and fields["cfg0"] & 0x20:
        return [_wait_of_op(fields)]
    return []


def _record(prefix: str, fields: Fields, *, step: int, parts: Sequence[str]) -> _Wait:
    name, value = f"{prefix}_val", fields[f"{prefix}_val"]
    lower = {name: value - step} if value >= step else None
    return _Wait({f"{prefix}_{part}": 0 for part in parts}, lower, {name: value + step})


def _numbers_of_record(prefix: str, fields: Fields) -> _Wait:
    """A record of a tile transfer: its count begins with one bit before the value."""
    number = fields[f"{prefix}_val"] << 1 | fields[f"{prefix}_en1"]

    def changed(value: int) -> Fields:
        return {f"{prefix}_val": value >> 1, f"{prefix}_en1": value & 1}

    lower = changed(number - 1) if number & 0xFFFF else None
    return _Wait({f"{prefix}_id": 0}, lower, changed(number + 1))


def _wait_of_op(fields: Fields) -> _Wait:
    """The fills of parameters that an op waits for: two bits in cfg1, the others in sync0."""
    number = fields["cfg1"] >> 8 | (fields["sync0"] & 0x3FFF) << 2

    def changed(value: int) -> Fields:
        low = fields["cfg1"] & 0xFF | (value & 3) << 8
        return {"cfg1": low, "sync0": fields["sync0"] & 0xC000 | value >> 2}

    return _Wait(changed(0), changed(number - 1) if number > 1 else None, changed(number + 1))


def _removed_waits(program: Program) -> Iterator[Edit]:
    return _each(program, lambda each: [wait.removed for wait in _waits(each)])


def _lower_counts(program: Program) -> Iterator[Edit]:
    return _each(program, lambda each: [wait.lower for wait in _waits(each) if wait.lower])


def _higher_counts(program: Program) -> Iterator[Edit]:
    for edit in _each(program, lambda each: [wait.higher for wait in _waits(each)]):
        name = program.inference[edit.chunk][edit.position].layout.name
        yield replace(edit, is_harmless=name.startswith("mesh"))


def _dropped_fences(program: Program) -> Iterator[Edit]:
    for chunk, instructions in enumerate(program.inference):
        for position, instruction in enumerate(instructions):
            if instruction.layout.name == "fence" and instruction["units"]:
                yield Edit(chunk, position, None)


def _swaps(program: Program) -> Iterator[Edit]:
    """Neighbours whose order means something: a drain and what it separates, and one queue."""
    for chunk, instructions in enumerate(program.inference):
        for position, pair in enumerate(pairwise(instructions)):
            if all(each.layout.on_tiles for each in pair) and _are_ordered(*pair):
                yield Edit(chunk, position, None, is_swap=True)


def _are_ordered(first: Instruction, second: Instruction) -> bool:
    if not first["tiles"] & second["tiles"]:
        return False
    fences = [each.layout.name == "fence" for each in (first, second)]
    if any(fences):
        if any(_fills(each) for each in (first, second)):
            return False  # constants are written long before they are read
        drains = first if fences[0] else second
        return not all(fences) and drains["units"] == _DRAIN
    return first.layout.unit == second.layout.unit and first.layout.unit in _QUEUED


# Addresses.


def _addresses(instruction: Instruction) -> dict[str, int]:
    """Return the address fields of an instruction: name -> one step of its memory."""
    name, fields = instruction.layout.name, instruction.fields
    if name.startswith("mesh"):
        halves = [half for half in "oi" if fields[f"{half}_levels"]]
        return {f"{half}_addr": 4 for half in halves}
    if name.startswith("op"):
        sums = fields["cfg2"] == _SUMS
        narrow = {} if sums else {"out_base": 4}
        if fields["in_flag"]:
            narrow["in_base"] = 4
        return {**narrow, "par_base": _ROW_UNITS}
    if name in {"ring.send", "ring.recv0", "ring.recv1"}:
        return {"addr": _ROW_UNITS}
    if name == "n2w":
        return {"n_addr": 4, "w_addr": _ROW_UNITS}
    if name == "w2n":
        return {"w_addr": _ROW_UNITS} if fields["scaling"] else {"w_addr": _ROW_UNITS, "n_addr": 1}
    return {}


def _wrong_addresses(program: Program) -> Iterator[Edit]:
    return _each(
        program,
        lambda each: [
            {name: each[name] + change}
            for name, step in _addresses(each).items()
            for change in (-step, step)
            if each[name] + change >= 0
        ],
    )


def _overlapping_fifos(program: Program) -> Iterator[Edit]:
    """Let a stream arrive where another one does."""
    places = {
        (chunk, position): (name, each[name])
        for chunk, instructions in enumerate(program.inference)
        for position, each in enumerate(instructions)
        for name in [_fifo(each)]
        if name
    }
    targets = sorted({address for _, address in places.values()})
    for (chunk, position), (name, address) in places.items():
        for target in targets:
            if target != address:
                yield Edit(chunk, position, {name: target})


def _fifo(instruction: Instruction) -> str:
    """The field with the place in wide memory where a stream arrives; empty for no stream."""
    name, fields = instruction.layout.name, instruction.fields
    if name in {"ring.recv0", "ring.recv1"} and (fields["slots"] or fields["circular"]):
        return "addr"
    return "w_addr" if name == "n2w" and fields["w_rows"] else ""


def _host_orders(program: Program) -> Iterator[Edit]:
    """Neighbours that take turns at the scalar core: what leaves it, and what returns."""
    for chunk, instructions in enumerate(program.inference):
        of_host = [
            (position, each)
            for position, each in enumerate(instructions)
            if each.layout.name in {"infeed", "outfeed"}
        ]
        for (position, first), (after, second) in pairwise(of_host):
            if first.layout is second.layout and first.fields != second.fields:
                fields = {name: second[name] for name in second.fields if name not in _PLACE}
                if fields != {name: first[name] for name in fields}:
                    yield Edit(chunk, position, fields)
                    yield Edit(chunk, after, {name: first[name] for name in fields})


def _written(instruction: Instruction) -> str:
    """The field with the place in narrow memory that an instruction writes; empty for none."""
    name = instruction.layout.name
    if name == "op" and instruction["cfg2"] != _SUMS:
        return "out_base"
    receives = name.startswith("mesh") and instruction["i_levels"] and not _fills(instruction)
    return "i_addr" if receives else ""


def _fills(instruction: Instruction) -> bool:
    """Whether a mesh instruction writes a constant."""
    return bool(instruction.fields.get("fill_en"))


def _overlapping(program: Program, draw: random.Random) -> Fault | None:
    """Move what an instruction writes onto what another one writes."""
    places = [
        (chunk, position, _written(instruction), instruction)
        for chunk, instructions in enumerate(program.inference)
        for position, instruction in enumerate(instructions)
        if _written(instruction)
    ]
    targets = sorted({each[name] for _, _, name, each in places})
    if len(targets) < 2:
        return None
    target = draw.choice(targets)
    moved = [place for place in places if place[3][place[2]] != target]
    chunk, position, name, _ = draw.choice(moved)
    return apply(program, Edit(chunk, position, {name: target}))


def _unaligned(program: Program, draw: random.Random) -> Fault | None:
    """Move a parameter region by one to three units of 64 bytes."""
    step, caching = draw.choice((1, 2, 3)), program.package.caching
    if caching is not None and draw.random() < 0.5:
        places = [
            (chunk, position)
            for chunk, instructions in enumerate(program.caching)
            for position, each in enumerate(instructions)
            if each.layout.name == "ring.recv0"
        ]
        if places:
            chunk, position = draw.choice(places)
            chunks = [list(each) for each in program.caching]
            old = chunks[chunk][position]
            chunks[chunk][position] = replace(
                old, fields={**old.fields, "addr": old["addr"] + step}
            )
            changed = with_executable(program.package, _with_chunks(caching, chunks))
            return Fault(changed, f"caching {old.where} +{step}")
    edits = list(
        _each(
            program,
            lambda each: (
                [{"addr": each["addr"] + step}]
                if each.layout.name == "ring.send" and not each["slots"]
                else []
            ),
        )
    )
    return apply(program, draw.choice(edits)) if edits else None


def _relocation(program: Program, draw: random.Random) -> Fault | None:
    """Move a relocation outside: past the end, or away from the immediate that it patches."""
    executable = program.package.inference
    chunk = draw.randrange(len(executable.instruction_bitstreams))
    stream: InstructionBitstream = executable.instruction_bitstreams[chunk]
    if not stream.field_offsets:
        return None
    position = draw.randrange(len(stream.field_offsets))
    offsets = list(stream.field_offsets)
    past = 8 * stream.bitstream.size + draw.randrange(1 << 12)
    near = offsets[position].offset_bit + draw.choice((-32, -1, 1, 32))
    moved = draw.choice((past, near))
    offsets[position] = replace(offsets[position], offset_bit=moved)
    chunks = list(executable.instruction_bitstreams)
    chunks[chunk] = replace(stream, field_offsets=tuple(offsets))
    changed = replace(executable, instruction_bitstreams=tuple(chunks))
    return Fault(with_executable(program.package, changed), f"relocation {position} to bit {moved}")


EDITS: dict[str, Finder] = {
    "a removed wait": _removed_waits,
    "a dropped fence": _dropped_fences,
    "a lowered count": _lower_counts,
    "a raised count": _higher_counts,
    "a swapped order": _swaps,
    "a wrong address": _wrong_addresses,
    "two overlapping FIFOs": _overlapping_fifos,
    "a host transfer in the place of its neighbour": _host_orders,
}
SPECIAL: dict[str, Callable[[Program, random.Random], Fault | None]] = {
    "two overlapping buffers": _overlapping,
    "a parameter region off 256 bytes": _unaligned,
    "a relocation outside": _relocation,
}
# Kinds that change which words are read or written; the others change when.
VALUE_KINDS = ("a wrong address", "two overlapping buffers")
