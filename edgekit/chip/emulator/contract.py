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

    A hint may stand for a read of scratch memory and the write to the bytes behind it: a compiler
    of Google's joins the two in a program of a YOLOv8.

    Raises:
        EmulationError: The number of bytes of one kind differs.
    """
    requested = [(tag, size) for _, _, size, tag in descriptors if tag not in _INTERRUPT_TAGS]
    hinted = [
        (_tag(step.meta.desc, hint.direction), step)
        for hint in executable.dma_hints
        for step in (hint.any_hint,)
        if isinstance(step, DmaDescriptorHint)
    ]
    if _follows_with_joins(requested, hinted):
        return
    for tag in (_INPUT, _PARAMETERS, _OUTPUT):
        mine = sum(size for kind, size in requested if kind == tag)
        theirs = sum(step.size_in_bytes for kind, step in hinted if kind == tag)
        if mine != theirs:
            raise EmulationError(
                f"the program transfers {mine} bytes with tag {tag}, the package {theirs}",
                where="alu, field imm of a descriptor",
                why="host and chip would wait for each other",
            )


def _follows_with_joins(
    requested: Sequence[tuple[int, int]], hinted: Sequence[tuple[int, DmaDescriptorHint]]
) -> bool:
    """Whether the requests are the hints in order, some of scratch memory in several parts."""
    left = list(requested)
    for tag, hint in hinted:
        size, joins = 0, hint.meta.desc is Description.BASE_ADDRESS_SCRATCH
        while left and size < hint.size_in_bytes and (left[0][0] == tag or (joins and size)):
            size += left.pop(0)[1]
        if size != hint.size_in_bytes:
            return False
    return not left


def _tag(description: Description, direction: Direction) -> int:
    if direction is Direction.OUTFEED:
        return _OUTPUT
    return _PARAMETERS if description is Description.BASE_ADDRESS_PARAMETER else _INPUT
