# SPDX-License-Identifier: Apache-2.0
"""The top of wide memory: where the program keeps rows that several stages use.

Addresses count 64-byte units; the last row of 256 bytes begins at 0x207C.
"""

from __future__ import annotations

from edgekit.chip.isa.memories import ROW_UNITS, WIDE_ROWS

TOP = WIDE_ROWS * ROW_UNITS  # the end of wide memory
SHARED_UNITS = 128  # kept free at the top in programs with element-wise stages
MASKS = 0x2034  # three rows: copies of some bytes of a word
SELECTION = 0x2040  # two rows: pairs of 16-bit weights, each 1 for one value
FIFO = 0x2050  # four rows: values on their way to the op unit
ADDITION = 0x2064  # four rows: the weights of an addition
IDENTITY = 0x2074  # the 4 x 4 identity: one value of each lane passes through
OUTGOING = 0x2078  # a row on its way to the host
