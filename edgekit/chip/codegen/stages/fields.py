# SPDX-License-Identifier: Apache-2.0
"""Fields that several stages set alike."""

from __future__ import annotations

import struct
from typing import Callable, Sequence

from edgekit.chip.codegen.emitter import NARROW_TO_WIDE, PARAMETERS, Emitter
from edgekit.chip.codegen.nests import Fields, nest_fields
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
