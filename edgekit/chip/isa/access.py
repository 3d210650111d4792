# SPDX-License-Identifier: Apache-2.0
"""The classes of ops: the width of activations and weights, and the target of results.

``cfg2`` and ``cfg3`` choose them. Bit 3 of cfg2 makes activations 16 bits wide, bit 4 weights;
cfg3 = 6 or 7 reads one element in each step instead of a whole word. A class that is not in the
table is not proven. Source: the multiplications, additions, pools and softmaxes of the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.chip.isa.decode import Instruction


@dataclass(frozen=True)
class Access:
    """One class: the elements of a step, for activations and weights."""

    activations: str  # "u1" or "u2" as in numpy; "": none are read
    per_step: int  # activation elements in each step
    weights: str  # "quad": four byte lanes; "lane": one; "pair": two int16; "half": one uint16
    sums: bool = False  # int32 sums to wide memory instead of requantized values

    @property
    def activation_bytes(self) -> int:
        """The bytes of activations in each step."""
        return self.per_step * int(self.activations[1]) if self.activations else 0

    @property
    def lanes(self) -> bool:
        """Whether a step reads only some columns of a weight row."""
        return self.weights in {"lane", "half"}


WORDS = Access("u1", 4, "quad")
_POOL = Access("", 0, "lane")
_CLASSES = {
    ("op", 0x2, 0): WORDS,
    ("op", 0x3, 0): WORDS,
    ("op", 0x6, 0): WORDS,
    ("op", 0x7, 0): WORDS,
    ("op", 0x6, 7): Access("u1", 1, "lane"),
    ("op", 0xE, 6): Access("u2", 1, "lane"),
    ("op", 0xE, 0): Access("u2", 2, "quad"),
    ("op", 0x16, 0): Access("u1", 2, "pair"),
    ("op", 0x1E, 0): Access("u2", 1, "half"),
    ("op", 0x12, 6): Access("u1", 1, "half", sums=True),
    ("op.max", 0x6, 0): _POOL,
    ("op.max", 0x6, 7): _POOL,
    ("op.sum", 0x6, 0): _POOL,
    ("op.sum", 0x6, 7): _POOL,
    ("op.sum", 0x16, 0): Access("", 0, "pair"),
}


def access_of(instruction: Instruction) -> Access | None:
    """Return the class of an op; None if it is not proven."""
    key = (instruction.layout.name, instruction["cfg2"], instruction["cfg3"] & 7)
    return _CLASSES.get(key)
