# SPDX-License-Identifier: Apache-2.0
"""The slots of a bundle (the scalar core's instruction word): their codes and operands.

Source: tinycoral, docs/isa/scalar.md.
"""

from __future__ import annotations

from edgekit.chip.isa.decode import Instruction

# Codes of the vector slot; _AT: the instruction contains the number of the scalar memory word.
STORE_AT, STORE, STORE_NEXT, TO_HOST, DESCRIPTOR, ISSUE = 2, 4, 6, 8, 10, 12
STORE_INCREMENT = 5  # bit of vector_slot in STORE_NEXT: the address register is incremented
LOAD_AT, LOAD_NEXT = 1, 3  # codes of the load slot
RECIPROCAL, EXP2 = 2, 3  # codes of the special slot


def load_word(instruction: Instruction) -> int:
    """The word of scalar memory that a load by number reads."""
    return instruction["load_from"] | instruction["load_inc"] << 5 | instruction["load_rest"] << 6


def store_word(instruction: Instruction) -> int:
    """The word of scalar memory that a store by number writes."""
    return instruction["vector_slot"] | instruction["vector_cmd"] << 8
