# SPDX-License-Identifier: Apache-2.0
"""The classes of ops: how wide an activation and a weight are, and where the result goes.

``cfg2`` and ``cfg3`` choose them. Bit 3 of cfg2 makes activations 16 bits wide, bit 4 weights;
cfg3 = 6 or 7 takes one element a step instead of a whole word. What is not in the table has not
been proven. Learned from the multiplications, additions, pools and softmaxes of the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.chip.isa.decode import Instruction


@dataclass(frozen=True)
class Access:
    """One class: elements of a step on both sides of the product."""

    activations: str  # "u1" or "u2", numpy's names; "" reads none
    per_step: int  # activation elements a step
    weights: str  # "quad": four byte lanes; "lane": one; "pair": two int16; "half": one uint16
    sums: bool = False  # int32 sums to wide memory instead of requantized values

    @property
    def activation_bytes(self) -> int:
        """Bytes of activations a step."""
        return self.per_step * int(self.activations[1]) if self.activations else 0

    @property
    def lanes(self) -> bool:
        """Whether a step reads part of a weight row's columns only."""
        return self.weights in {"lane", "half"}


WORDS = Access("u1", 4, "quad")
_POOL = Access("", 0, "lane")
_CLASSES = {
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
    """The class of an op; None where it has none that is proven."""
    key = (instruction.layout.name, instruction["cfg2"], instruction["cfg3"] & 7)
    return _CLASSES.get(key)
