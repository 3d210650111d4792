# SPDX-License-Identifier: Apache-2.0
"""The computing time of the tiles, counted from the instructions.

Instructions consist of 128-bit words; the opcode decides the number of words. An operation of the
tiles' arithmetic unit contains eight nested loop counts. One pass of the innermost loop reads four
bytes of every lane and takes one cycle of the tile. Found by comparing programs with their models:
counts of stacked convolutions equal height * width / 16 tiles * taps * channels / 4 * groups of 64.
"""

from __future__ import annotations

from typing import Iterator

from edgekit.formats.darwinn.package import Executable

WORD_BYTES = 16
# Words of an instruction by opcode, bits 6 to 11 of its first word; all others have one word.
INSTRUCTION_WORDS = {
    0x01: 17,  # multiply-accumulate, requantize, copy
    0x02: 17,  # maximum
    0x03: 17,  # sum, mean
    0x05: 17,  # resize
    0x10: 4,
    0x11: 4,
    0x12: 4,
    0x13: 7,
    0x14: 7,
    0x15: 6,
    0x16: 6,
    0x17: 6,
    0x18: 6,
    0x19: 13,
    0x24: 2,
    0x25: 2,
    0x26: 4,
    0x27: 2,
}
ARITHMETIC = (0x01, 0x02, 0x03, 0x05)
_NUM_TILES = 16
_TILES_BIT = 12  # a mask of 16 tiles
_LOOPS_BIT, _LOOP_BITS, _NUM_LOOPS = 62, 14, 8  # counts minus 1


def arithmetic_cycles(executable: Executable) -> tuple[int, ...]:
    """Return the busy cycles of the arithmetic unit of each of the 16 tiles in one run."""
    cycles = [0] * _NUM_TILES
    for tiles, passes in _operations(executable):
        for tile in range(_NUM_TILES):
            cycles[tile] += passes * (tiles >> tile & 1)
    return tuple(cycles)


def _operations(executable: Executable) -> Iterator[tuple[int, int]]:
    """Yield (mask of tiles, passes of all loops) of each arithmetic instruction."""
    for chunk in executable.instruction_bitstreams:
        content = chunk.bitstream.tobytes()
        position = 0
        while position < len(content):
            opcode = int.from_bytes(content[position : position + 2], "little") >> 6 & 0x3F
            if opcode in ARITHMETIC:
                head = content[position : position + 2 * WORD_BYTES]
                yield _loops(int.from_bytes(head, "little"))
            position += WORD_BYTES * INSTRUCTION_WORDS.get(opcode, 1)


def _loops(head: int) -> tuple[int, int]:
    passes = 1
    for loop in range(_NUM_LOOPS):
        count = head >> (_LOOPS_BIT + _LOOP_BITS * loop) & ((1 << _LOOP_BITS) - 1)
        passes *= count + 1
    return head >> _TILES_BIT & 0xFFFF, passes
