# SPDX-License-Identifier: Apache-2.0
"""Compare a program with its package: relocations and transfers must be those of the host."""

from __future__ import annotations

from typing import Sequence

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.errors import EmulationError
from edgekit.chip.isa.table import RELOCATED_BIT, WORD_BYTES
from edgekit.formats.darwinn import (
    Description,
    Direction,
    DmaDescriptorHint,
    Executable,
    InstructionBitstream,
)

_WORD_BITS = 8 * WORD_BYTES
_MOVE = 15  # alu_op
# Tags of a DMA descriptor: what the host sends or receives (tinycoral, docs/isa/scalar.md).
_INPUT, _PARAMETERS, _OUTPUT, _FIRST_INTERRUPT = 1, 2, 3, 4
_INTERRUPT_TAGS = range(_FIRST_INTERRUPT, _FIRST_INTERRUPT + 4)


def check_relocations(chunk: InstructionBitstream, instructions: Sequence[Instruction]) -> None:
    """Check that every relocation patches the 32-bit immediate of a scalar move.

    Raises:
        EmulationError: A relocation points elsewhere, or outside the bitstream.
    """
    moves = {
        each.pc
        for each in instructions
        if each.layout.name == "alu" and each["alu_op"] == _MOVE and each["immediate"]
    }
    for offset in chunk.field_offsets:
        pc, bit = divmod(offset.offset_bit, _WORD_BITS)
        if bit != RELOCATED_BIT or pc not in moves:
            raise EmulationError(
                f"a relocation points at bit {offset.offset_bit}",
                where=f"pc {pc}, field bit {bit}",
                why=f"only the immediate of a move (bit {RELOCATED_BIT} of its word) is an address",
            )


def check_descriptors(executable: Executable, descriptors: Sequence[tuple[int, ...]]) -> None:
    """Check that the program requests as many bytes of each kind as the host will transfer.

    Raises:
        EmulationError: The number of bytes of one kind differs.
    """
    requested = [(tag, size) for _, _, size, tag in descriptors if tag not in _INTERRUPT_TAGS]
    hinted = [
        (_tag(step.meta.desc, hint.direction), step.size_in_bytes)
        for hint in executable.dma_hints
        for step in (hint.any_hint,)
        if isinstance(step, DmaDescriptorHint)
    ]
    for tag in (_INPUT, _PARAMETERS, _OUTPUT):
        mine = sum(size for kind, size in requested if kind == tag)
        theirs = sum(size for kind, size in hinted if kind == tag)
        if mine != theirs:
            raise EmulationError(
                f"the program transfers {mine} bytes with tag {tag}, the package {theirs}",
                where="alu, field imm of a descriptor",
                why="host and chip would wait for each other",
            )


def _tag(description: Description, direction: Direction) -> int:
    if direction is Direction.OUTFEED:
        return _OUTPUT
    return _PARAMETERS if description is Description.BASE_ADDRESS_PARAMETER else _INPUT
