# SPDX-License-Identifier: Apache-2.0
"""Instructions to bytes: the exact inverse of `edgekit.chip.isa.decode`."""

from __future__ import annotations

from typing import Iterable, Mapping

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.table import LAYOUTS, OPCODE_FIRST_BIT, WORD_BYTES, Field
from edgekit.errors import UsageError


def encode(instructions: Iterable[Instruction]) -> bytes:
    """Return the bitstream of ``instructions``, from their fields and unnamed bits."""
    return b"".join(encode_one(each.opcode, each.fields, each.rest) for each in instructions)


def encode_one(opcode: int, fields: Mapping[str, int], rest: int = 0) -> bytes:
    """Return one instruction; fields that are not given are 0, except the opcode.

    Raises:
        UsageError: The opcode or a field is unknown, or a value does not fit its field.
    """
    layout = LAYOUTS.get(opcode)
    if layout is None:
        raise UsageError(f"no opcode {opcode:#04x}")
    known = _WRITERS[opcode]
    code = rest | opcode << OPCODE_FIRST_BIT
    for name, value in fields.items():
        writer = known.get(name)
        if writer is None:
            raise UsageError(f"{layout.name} has no field {name}")
        low, high, shift, mask = writer
        if value and name != "opcode":
            if not low <= value < high:
                width = mask.bit_length()
                raise UsageError(
                    f"{value} does not fit the {width} bits of {name}", where=layout.name
                )
            code |= (value & mask) << shift
    return code.to_bytes(layout.num_words * WORD_BYTES, "little")


def make_instruction(opcode: int, fields: Mapping[str, int]) -> Instruction:
    """Return what `decode` reads from `encode_one`, at the beginning of a bitstream.

    Raises:
        UsageError: As for `encode_one`.
    """
    code = int.from_bytes(encode_one(opcode, fields), "little")
    values = {**_ZEROS[opcode], **fields, "opcode": opcode}
    return Instruction(0, LAYOUTS[opcode], values, 0, code)


def _writer(field: Field) -> tuple[int, int, int, int]:
    """Its lowest value, the end of its values, its shift, and its mask before the shift."""
    end = 1 << (field.width - field.signed)
    return -end if field.signed else 0, end, field.first_bit, (1 << field.width) - 1


# Opcode -> field name -> see `_writer`.
_WRITERS = {
    opcode: {field.name: _writer(field) for field in layout.fields}
    for opcode, layout in LAYOUTS.items()
}
_ZEROS = {opcode: dict.fromkeys(writers, 0) for opcode, writers in _WRITERS.items()}
