# SPDX-License-Identifier: Apache-2.0
"""Fields that several stages set alike."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Callable, Sequence

from edgekit.chip.codegen.emitter import NARROW_TO_WIDE, PARAMETERS, Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    Nest,
    nest_fields,
    op_nest_fields,
)
from edgekit.chip.codegen.nodes import OutputStage
from edgekit.chip.isa.memories import NUM_TILES

INFINITY, NEGATIVE_INFINITY = 0x7F800000, 0xFF800000
LANES = 4  # values of a word
# An op that works for itself: no progress of a stream to wait for.
UNSYNCHRONIZED: Fields = {"sync0": 0x4000, "sync1": 0x4000}
ALL_CHANNELS: Fields = {"channels": LANES - 1, "channels_last": LANES - 1}  # of a word
UNLIMITED: Fields = {"clamp_max": INFINITY, "clamp_min": NEGATIVE_INFINITY}
# A narrow-to-wide copy that hands its rows to the op unit one by one.
HANDED_OVER: Fields = {
    "s0_en0": 1,
    "s0_id": 1,
    "s0_en1": 1,
    "s0_val": 0xFFFF,
    "s1_f2": 1,
    "s1_f3": 1,
}


def loops(*counts: int) -> Fields:
    """The loops of an op, innermost first."""
    return {f"loop{k}": count - 1 for k, count in enumerate(counts)}


def wait_for_handover(emitter: Emitter) -> None:
    """Wait until the rows of such copies have been used."""
    emitter.fence(counters=1 << NARROW_TO_WIDE)
    emitter.fence(counters=1 << PARAMETERS)
    emitter.reset()


@dataclass(frozen=True)
class Walk:
    """A walk over positions of a block: address, and the steps of columns and rows."""

    address: int
    step_x: int
    step_y: int


def value_by_value(source: Walk, output: Walk, counts: tuple[int, int, int], row: int) -> Fields:
    """An op that passes every word through a row of wide memory.

    Args:
        source: What it reads.
        output: What it writes.
        counts: Columns, rows, words of a position.
        row: The address of the row: the identity, or one that makes some bytes 0.
    """
    width, height, words = counts
    fields: Fields = {
        "in_base": source.address,
        "in_flag": 3,
        "out_base": output.address,
        "out_flag": 3,
        "par_base": row,
        "psum_levels": 0x800,
        # It waits for no copy to wide memory: the row was there before the counters' last reset.
        "cfg1": 0x4D,
        "cfg2": 6,
        "group_level": 1,
        **ALL_CHANNELS,
        **UNSYNCHRONIZED,
    }
    read, written = (_positions(walk, width, height) for walk in (source, output))
    if len(read) == 1:
        positions: Nest = [(0, width * height)]
        fields.update(loops(width * height, words), in_levels=1)
        fields.update(out_levels=2 * len(written) - 1, cfg0=0x63 + 2 * len(written))
    else:
        read, written = ([(w.step_x, width), (w.step_y, height)] for w in (source, output))
        positions = [(0, width), (0, height)]
        fields.update(loops(*counts), in_levels=3, out_levels=3, cfg0=5)
    repeated = [level for level in [*positions, (0, words)] if level[1] > 1]
    for prefix, nest in (("in_", read), ("out_", written)):
        fields.update(op_nest_fields(prefix, [(WORD, 1), *nest, (WORD, words)]))
    fields.update(op_nest_fields("par_", repeated), **op_nest_fields("psum_", repeated))
    if not repeated:
        fields.update(par_lo0=1, psum_lo0=1, psum_levels=0)
    return fields


def _positions(walk: Walk, width: int, height: int) -> Nest:
    """The positions of a walk: one level if they lie one after the other."""
    if height == 1 or walk.step_y == width * walk.step_x:
        return [(walk.step_x, width * height)]
    return [(walk.step_x, width), (walk.step_y, height)]


def by_tile(tiles: Sequence[int], fields_of: Callable[[int], Fields | None]) -> list[Fields | None]:
    """The fields of an instruction for each of ``tiles``; None for the others."""
    result: list[Fields | None] = [None] * NUM_TILES
    for tile in tiles:
        result[tile] = fields_of(tile)
    return result


def float_bits(value: float) -> int:
    """The bits of a float32."""
    bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    return bits


def copy_stage() -> Fields:
    """The output stage that leaves every value as it is."""
    return {"mult": float_bits(1.0), **UNLIMITED}


def output_stage(stage: OutputStage) -> Fields:
    """Multiplier, clamps and zero points."""
    return {
        "in_zp": stage.input_zero_point,
        **({"offset": stage.offset} if stage.offset else {}),
        "out_zp": stage.output_zero_point,
        "mult": float_bits(stage.multiplier),
        "clamp_max": float_bits(stage.high),
        "clamp_min": float_bits(stage.low),
    }


def modular(first: int, bits: int) -> int:
    """``-first`` modulo 2**bits: how a counter is wound back."""
    return -first % (1 << bits)


def stream_nest(units: int, buffer: int, bits: int) -> Fields:
    """A walk over ``units`` of a stream through a buffer of ``buffer`` units.

    All passes but the last fill the buffer. ``bits`` is the width of the signed increments.
    """
    passes = -(-units // buffer)
    last = units - (passes - 1) * buffer
    rewind = _signed(modular(buffer - 1, bits), bits)
    fields = {
        "inc0": 1,
        "cnt0": buffer - 1,
        "inc1": rewind,
        "cnt1": passes - 1,
        "inc2": rewind,
    }
    if last != buffer:
        fields.update(last=last - 1, last_en=1, last_neg=modular(last, buffer.bit_length() - 1))
    return fields


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def dma_nest(nest: Sequence[tuple[int, int]], levels: int = 4) -> Fields:
    """The walk of a ring transfer."""
    return nest_fields("", nest, levels)


def words_of_packets(buffer: int, packets: int, address: int, words: int) -> Fields:
    """A w2n that writes ``words`` from ring packets, received at ``buffer``, to narrow memory."""
    return {
        "w_addr": buffer,
        "w_levels": int(packets > 1),
        "w_circular": 1,
        "w_rows": packets,
        "n_addr": address // WORD,
        "n_levels": 1,
        "s0_en0": 1,
        "s0_id": 14,
        "s0_level": 1,
        "s0_en1": 1,
        "s0_val": 0x8000,
        "s0_en2": 1,
        "tail": 1,
        **nest_fields("w_", [(1, packets)], DMA_LEVELS),
        **nest_fields("n_", [(1, words)], NARROW_DMA_LEVELS),
    }
