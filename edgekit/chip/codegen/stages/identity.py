# SPDX-License-Identifier: Apache-2.0
"""Rows of constants in wide memory, made by fills: no parameter and no transfer is needed."""

from __future__ import annotations

from edgekit.chip.codegen.emitter import SOUTH_IN, Emitter
from edgekit.chip.codegen.nests import DMA_LEVELS, NARROW_DMA_LEVELS, divide_up, nest_fields
from edgekit.chip.isa.memories import NUM_TILES

IDENTITY_BYTES = 16
_ROW_WORDS = 64


def write_identity(emitter: Emitter, narrow: int, wide: int, *, zero_words: int = 0) -> None:
    """Write the 4 x 4 identity to ``narrow`` and copy it to ``wide``, in every tile.

    With ``zero_words`` that many words of zeros follow it.
    """
    for lane in range(4):
        last = {} if zero_words or lane < 3 else {"i_mode": 3}
        emitter.put(
            "mesh.north",
            i_addr=narrow + 4 * lane,
            i_inc0=1,
            fill_en=1,
            fill=1 << 8 * lane,
            **last,
        )
    if zero_words:
        nest = nest_fields("i_", [(1, zero_words)], DMA_LEVELS)
        emitter.put("mesh.north", i_addr=narrow + IDENTITY_BYTES, i_levels=1, fill_en=1, **nest)
        emitter.fence()
    words = 4 + zero_words
    # Without a fence the copy waits for the four fills.
    wait = {"s0_en0": 1, "s0_f1": 1, "s0_id": 5, "s0_level": 1, "s0_en1": 1, "s1_f2": 1}
    emitter.put(
        "n2w",
        n_addr=narrow,
        n_levels=1,
        w_addr=wide,
        w_levels=int(words > _ROW_WORDS),
        tail=2,
        **nest_fields("n_", [(1, words)], NARROW_DMA_LEVELS),
        **nest_fields("w_", [(1, divide_up(words, _ROW_WORDS))], DMA_LEVELS),
        **({} if zero_words else wait),
    )
    for tile in range(NUM_TILES):
        emitter.counters.by_tile[tile][SOUTH_IN] += 4 + bool(zero_words)
