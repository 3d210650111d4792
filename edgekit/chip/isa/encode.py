# SPDX-License-Identifier: Apache-2.0
"""Instructions to bytes: the exact inverse of `edgekit.chip.isa.decode`."""

from __future__ import annotations

from typing import Iterable, Mapping

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.table import LAYOUTS, OPCODE_FIRST_BIT, WORD_BYTES
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
    known = _FIELDS[opcode]
    code = rest | opcode << OPCODE_FIRST_BIT
    for name, value in fields.items():
        field = known.get(name)
        if field is None:
            raise UsageError(f"{layout.name} has no field {name}")
        if name == "opcode":
            continue
        low, high = -1 << (field.width - 1), 1 << (field.width - 1)
        if not field.signed:
            low, high = 0, 1 << field.width
        if not low <= value < high:
            raise UsageError(
                f"{value} does not fit the {field.width} bits of {name}", where=layout.name
            )
        code |= (value << field.first_bit) & field.mask
    return code.to_bytes(layout.num_words * WORD_BYTES, "little")


# Opcode -> field name -> field.
_FIELDS = {
    opcode: {field.name: field for field in layout.fields} for opcode, layout in LAYOUTS.items()
}
