# SPDX-License-Identifier: Apache-2.0
"""The splines of the functions that the non-linear unit computes, for an output scale of 1.

A program loads a table for its output scale: every coefficient times the reciprocal of the scale,
rounded to float32 (`Spline.times`). The coefficients are those of Google's compiler, taken from
the ``nlu.load`` of compiled models. Programs of the corpus have each function with at least two
scales, and the same float32 coefficients give every bit of all of them; of `RSQRT` the second
scale is that of tinycoral (docs/isa/codegen_eltops.md, 473 compiled programs). `HARD_SWISH` is
edgekit's own: the function is made of three polynomials, so its table is exact.
"""

from __future__ import annotations

import numpy as np

from edgekit.chip.arithmetic.spline import COEFFICIENTS, SEGMENTS, Spline


def _spline(coefficients: tuple[int, ...], breaks: tuple[int, ...]) -> Spline:
    """A table from the bits of its float32 numbers."""
    bits = np.array(coefficients, np.uint32).view(np.float32)
    return Spline(
        bits.reshape(SEGMENTS, COEFFICIENTS), np.array(breaks, np.uint32).view(np.float32)
    )


# fmt: off
LOGISTIC = _spline(
    (
        0x3E00549C, 0x3D5DB7C6, 0x3C111A70, 0x3A29F7BB, 0x3795F260,
        0x3F04A187, 0x3EAB6803, 0x3DAEE024, 0x3C251EB8, 0x39F136B6,
        0x3F077562, 0x3EA46B63, 0x3D8371FD, 0x3B05681A, 0xBA04C80F,
        0x3F00006A, 0x3E7FE396, 0xBAA8C7FE, 0xBCC9F57D, 0xBB94C0E4,
        0x3F0000B8, 0x3E7FB331, 0x3AF2682D, 0xBCCF35B5, 0x3B9CB2B2,
        0x3EDDC7C6, 0x3EC56C6F, 0xBDD72011, 0x3C5BE5C6, 0xBA2FF6D3,
        0x3F43D750, 0x3DEFBC0B, 0xBCB6A9CD, 0x3AFB0C86, 0xB882C2D7,
        0x3F74CC57, 0x3C85560C, 0xBB168355, 0x39187E2A, 0xB669A584,
    ),
    (0xC0B479B1, 0xC03DC92E, 0xBFABA1F5, 0x3DB069F8, 0x3FE71FBC, 0x4099A343, 0x41078F0A),
)
TANH = _spline(
    (
        0xA4900000, 0x3F7FF70C, 0x3B680451, 0xBEBA0904, 0x3DD5F798,
        0xBA573B0B, 0x3F8093C1, 0x3ADBD5C7, 0xBEC90026, 0x3E18F5D1,
        0xBD3CA9F0, 0x3F9D4C4A, 0xBED767C2, 0xBD0DC79E, 0x3D0BA428,
        0xBE1A30E6, 0x3FCAFA1B, 0xBF619BBB, 0x3E6D2B1D, 0xBCC4F1F0,
        0x3DB3D973, 0x3F8FBE7E, 0xBF0AF73C, 0x3DF7F011, 0xBC2AF5E5,
        0x3EF8C2C6, 0x3F07DE5D, 0xBE581426, 0x3D1C1331, 0xBB2C17E8,
        0x3F542A99, 0x3E103AD2, 0xBD346EFE, 0x3BCAE85E, 0xB9ACB424,
        0x3F7A3662, 0x3C65A31F, 0xBB56A9C4, 0x39B319AE, 0xB760DAFC,
    ),
    (0x3EB83694, 0x3F47DE0B, 0x3F965533, 0x4001EC93, 0x402BCF21, 0x40630652, 0x409AC3F4),
)
EXP = _spline(
    (
        0x3CE5F642, 0x3C1D8E67, 0x3AA2B04B, 0x3895CB4A, 0x35CF4691,
        0x3E59A242, 0x3DD555CB, 0x3CA041CA, 0x3AD9B65F, 0x3860D900,
        0x3F01223F, 0x3EA240B9, 0x3D9FEA04, 0x3C11304F, 0x39CB5E9E,
        0x3F44A0B5, 0x3F15E558, 0x3E39C184, 0x3CDA37CB, 0x3ACA1E57,
        0x3F6D9CE6, 0x3F51C5FE, 0x3E9F0A66, 0x3D702F7D, 0x3B94BAB2,
        0x3F7D4B54, 0x3F74D689, 0x3EDAA781, 0x3DD37331, 0x3C34D3F2,
        0x3F7FF761, 0x3F7F9534, 0x3EFC2B0D, 0x3E1A06DB, 0x3CC72BB1,
        0x3F800000, 0x3F7FFFF3, 0x3EFFFB9E, 0x3E2A2126, 0x3D1C7CFF,
    ),
    (0xC0FF9475, 0xC0AF6050, 0xC07BB089, 0xC02CB4EC, 0xBFE0F9A9, 0xBF6ABD95, 0xBE32671F),
)
RSQRT = _spline(
    (
        0x401774AA, 0xC03AA03D, 0x401B19A9, 0xBF884AED, 0x3E4375FF,
        0x4009D075, 0xC00C8CFF, 0x3FC141FD, 0xBF0C6A0B, 0x3DA66A68,
        0x3FF7D508, 0xBFCC5845, 0x3F632952, 0xBE856FDC, 0x3CFFB721,
        0x3FDE2545, 0xBF9325AB, 0x3F0363D0, 0xBDF7EECC, 0x3C3EC282,
        0x3FC6D5CF, 0xBF530BC5, 0x3E96FEED, 0xBD64530C, 0x3B8CC91C,
        0x3FB2DA7D, 0xBF199E29, 0x3E31E7C5, 0xBCD9C230, 0x3AD968D1,
        0x3FA395CF, 0xBEEB2D04, 0x3DE41050, 0xBC69E220, 0x3A43BFA9,
        0x3FA395CF, 0xBEEB2D04, 0x3DE41050, 0xBC69E220, 0x3A43BFA9,
    ),
    (0x3F96545A, 0x3FB9F21D, 0x3FE5FDA8, 0x401006EB, 0x40332A53, 0x405BFF99, 0x7F800000),
)
# fmt: on
HARD_SWISH = Spline(
    np.array([[0] * 5, [0, 0.5, 1 / 6, 0, 0], *[[0, 1, 0, 0, 0]] * 6], np.float32),
    np.array([-3, 3, *[np.inf] * 5], np.float32),
)
# The largest magnitude that is looked up.
LOGISTIC_LIMIT = np.uint32(0x41265904).view(np.float32)  # 10.396732
TANH_LIMIT = np.uint32(0x40DBFE6B).view(np.float32)  # 6.8748069
EXP_LIMIT = np.uint32(0x41509C0D).view(np.float32)  # 13.038098
