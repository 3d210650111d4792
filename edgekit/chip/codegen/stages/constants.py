# SPDX-License-Identifier: Apache-2.0
"""Rows of constants for one stage: written by fills, copied to wide memory."""

from __future__ import annotations

from typing import Sequence

from edgekit.chip.codegen.emitter import ALL_TILES, Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.nests import DMA_LEVELS, NARROW_DMA_LEVELS, nest_fields

ROW_WORDS = 4  # of a row: four outputs, four bytes each


def fill_words(emitter: Emitter, narrow: int, words: Sequence[int], tiles: int = ALL_TILES) -> None:
    """Write ``words`` to narrow memory, one fill for each run of equal ones."""
    first = 0
    while first < len(words):
        number = 1
        while first + number < len(words) and words[first + number] == words[first]:
            number += 1
        nest = {"i_levels": 1, **nest_fields("i_", [(1, number)], DMA_LEVELS)}
        emitter.put(
            "mesh.north",
            tiles=tiles,
            i_addr=narrow + WORD * first,
            i_mode=3,
            fill_en=1,
            fill=words[first],
            **(nest if number > 1 else {"i_inc0": 1}),
        )
        first += number


def write_rows(
    emitter: Emitter, narrow: int, wide: int, words: Sequence[int], tiles: int = ALL_TILES
) -> None:
    """Write rows of four words to ``narrow`` and copy them to ``wide``; the copy is not awaited."""
    fill_words(emitter, narrow, words, tiles)
    emitter.fence()
    rows = len(words) // ROW_WORDS
    several = rows > 1
    emitter.put(
        "n2w",
        tiles=tiles,
        n_addr=narrow,
        n_levels=3 if several else 1,
        w_addr=wide,
        w_levels=int(several),
        tail=2,
        **nest_fields("n_", [(1, ROW_WORDS), (ROW_WORDS, rows)], NARROW_DMA_LEVELS),
        **nest_fields("w_", [(1, rows)], DMA_LEVELS),
    )
