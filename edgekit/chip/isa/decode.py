# SPDX-License-Identifier: Apache-2.0
"""Bytes to instructions: framing by opcode, fields by the table, nothing dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgekit.chip.isa.table import LAYOUTS, OPCODE_BITS, OPCODE_FIRST_BIT, WORD_BYTES, Layout
from edgekit.errors import ModelFormatError

if TYPE_CHECKING:
    from edgekit.formats.darwinn import Executable, Package


@dataclass(frozen=True)
class Instruction:
    """One instruction of a bitstream.

    ``rest`` contains the set bits that belong to no field, at their places; 0 if all are named.
    """

    pc: int  # the index of its first word in the bitstream
    layout: Layout
    fields: dict[str, int] = field(compare=False)
    rest: int
    code: int  # all its bits, as one integer

    def __getitem__(self, name: str) -> int:
        return self.fields[name]

    @property
    def opcode(self) -> int:
        """The opcode, which is also the key of its layout."""
        return self.layout.opcode

    @property
    def where(self) -> str:
        """Its place for an error message."""
        return f"pc {self.pc}, {self.layout.name}"


def decode(bitstream: bytes) -> tuple[Instruction, ...]:
    """Split a bitstream into instructions and read their fields.

    Raises:
        ModelFormatError: It is not a whole number of words, contains an opcode that is not in the
            table, or ends within an instruction.
    """
    if len(bitstream) % WORD_BYTES:
        raise ModelFormatError(
            f"{len(bitstream)} bytes of instructions, expected a multiple of {WORD_BYTES}"
        )
    num_words, pc, instructions = len(bitstream) // WORD_BYTES, 0, []
    while pc < num_words:
        layout = _layout(bitstream, pc)
        end = pc + layout.num_words
        if end > num_words:
            raise ModelFormatError(
                f"the bitstream ends within an instruction: {num_words} words, expected {end}",
                where=f"pc {pc}, {layout.name}",
            )
        code = int.from_bytes(bitstream[pc * WORD_BYTES : end * WORD_BYTES], "little")
        instructions.append(_instruction(pc, layout, code))
        pc = end
    return tuple(instructions)


def decode_executable(executable: Executable) -> tuple[Instruction, ...]:
    """Return the instructions of all bitstreams of a program, as `decode` does."""
    return tuple(
        instruction
        for chunk in executable.instruction_bitstreams
        for instruction in decode(chunk.bitstream.tobytes())
    )


def decode_package(package: Package) -> tuple[tuple[Instruction, ...], ...]:
    """Return the instructions of each program in a package."""
    return tuple(map(decode_executable, package.executables))


def _layout(bitstream: bytes, pc: int) -> Layout:
    head = int.from_bytes(bitstream[pc * WORD_BYTES : pc * WORD_BYTES + 2], "little")
    opcode = (head >> OPCODE_FIRST_BIT) & ((1 << OPCODE_BITS) - 1)
    layout = LAYOUTS.get(opcode)
    if layout is None:
        raise ModelFormatError(
            f"opcode {opcode:#04x} is unknown",
            where=f"pc {pc}, field opcode",
            why="its length is unknown too, so nothing after it can be read",
        )
    return layout


# Layout -> (name, shift, mask, sign bit or 0) of each field, and the bits outside all fields.
_READERS = {
    opcode: (
        tuple(
            (
                each.name,
                each.first_bit,
                (1 << each.width) - 1,
                1 << (each.width - 1) if each.signed else 0,
            )
            for each in layout.fields
        ),
        ~layout.named_bits,
    )
    for opcode, layout in LAYOUTS.items()
}


def _instruction(pc: int, layout: Layout, code: int) -> Instruction:
    readers, unnamed = _READERS[layout.opcode]
    fields = {}
    for name, shift, mask, sign in readers:
        value = (code >> shift) & mask
        fields[name] = (value ^ sign) - sign if sign else value
    return Instruction(pc, layout, fields, code & unnamed, code)
