# SPDX-License-Identifier: Apache-2.0
"""Bytes to instructions: framing by opcode, fields by the table, nothing dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Iterator, Sequence

import numpy as np

from edgekit.chip.isa.table import LAYOUTS, OPCODE_BITS, OPCODE_FIRST_BIT, WORD_BYTES, Layout
from edgekit.errors import ModelFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.darwinn import Executable, Package

_HALF_BITS = 64  # of a word of the bitstream: numpy has no wider integers


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
    num_words, pc = len(bitstream) // WORD_BYTES, 0
    layouts: list[tuple[int, Layout]] = []
    starts: dict[int, list[int]] = {}  # of each opcode
    while pc < num_words:
        layout = _layout(bitstream, pc)
        end = pc + layout.num_words
        if end > num_words:
            raise ModelFormatError(
                f"the bitstream ends within an instruction: {num_words} words, expected {end}",
                where=f"pc {pc}, {layout.name}",
            )
        layouts.append((pc, layout))
        starts.setdefault(layout.opcode, []).append(pc)
        pc = end
    words = np.frombuffer(bitstream, np.dtype("<u8")).reshape(num_words, WORD_BYTES // 8)
    fields = {opcode: _fields(LAYOUTS[opcode], words, each) for opcode, each in starts.items()}
    instructions = []
    for pc, layout in layouts:
        end = pc + layout.num_words
        code = int.from_bytes(bitstream[pc * WORD_BYTES : end * WORD_BYTES], "little")
        rest = code & _UNNAMED[layout.opcode]
        instructions.append(Instruction(pc, layout, next(fields[layout.opcode]), rest, code))
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


_UNNAMED = {opcode: ~layout.named_bits for opcode, layout in LAYOUTS.items()}


def _fields(
    layout: Layout, words: NDArray[np.uint64], starts: Sequence[int]
) -> Iterator[dict[str, int]]:
    """Read the fields of all instructions of one layout, which begin at the words ``starts``."""
    rows = np.array(starts)[:, None] + np.arange(layout.num_words)
    halves = words[rows].reshape(len(starts), -1).T
    columns = []
    for field_ in layout.fields:
        at, shift = divmod(field_.first_bit, _HALF_BITS)
        value = halves[at] >> np.uint64(shift)
        if shift + field_.width > _HALF_BITS:
            value |= halves[at + 1] << np.uint64(_HALF_BITS - shift)
        value &= np.uint64((1 << field_.width) - 1)
        signed = value.view(np.int64)
        if field_.signed:
            sign = 1 << (field_.width - 1)
            signed = (signed ^ sign) - sign
        columns.append(signed.tolist())
    names = [each.name for each in layout.fields]
    return (dict(zip(names, row)) for row in zip(*columns))
