# SPDX-License-Identifier: Apache-2.0
"""The non-linear unit's tables: eight polynomials of degree four, and the limits between them.

The coefficients are those that Google's compiler loads for LOGISTIC in every program of the corpus
(`nlu.load`), read with `edgekit disasm`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Table:
    """Float32 bit patterns: 40 coefficients, 7 limits; and the clamp before it."""

    coefficients: tuple[int, ...]
    limits: tuple[int, ...]
    clamp_bits: int

    @property
    def clamp(self) -> float:
        """The largest magnitude that is looked up."""
        return float(np.uint32(self.clamp_bits).view(np.float32))


# fmt: off
LOGISTIC = Table(
    coefficients=(
        0x4200549C, 0x415DB7C6, 0x40111A70, 0x3E29F7BB, 0x3B95F260,
        0x4304A187, 0x42AB6803, 0x41AEE024, 0x40251EB8, 0x3DF136B6,
        0x43077562, 0x42A46B63, 0x418371FD, 0x3F05681A, 0xBE04C80F,
        0x4300006A, 0x427FE396, 0xBEA8C7FE, 0xC0C9F57D, 0xBF94C0E4,
        0x430000B8, 0x427FB331, 0x3EF2682D, 0xC0CF35B5, 0x3F9CB2B2,
        0x42DDC7C6, 0x42C56C6F, 0xC1D72011, 0x405BE5C6, 0xBE2FF6D3,
        0x4343D750, 0x41EFBC0B, 0xC0B6A9CD, 0x3EFB0C86, 0xBC82C2D7,
        0x4374CC57, 0x4085560C, 0xBF168355, 0x3D187E2A, 0xBA69A584,
    ),
    limits=(
        0xC0B479B1, 0xC03DC92E, 0xBFABA1F5, 0x3DB069F8, 0x3FE71FBC, 0x4099A343, 0x41078F0A,
    ),
    clamp_bits=0x41265904,
)
# fmt: on

SPLINES = {"LOGISTIC": LOGISTIC}
