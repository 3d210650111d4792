# SPDX-License-Identifier: Apache-2.0
"""The chip's tiles and memories: how many, how large, and how addresses count them.

Source: tinycoral, docs/isa.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_TILES = 16
TILES_PER_ROW = 4
NARROW_BYTES = 192 << 10  # activations
ROW_BYTES = 256
ROW_UNITS = 4  # an address in wide memory counts 64 bytes
WIDE_ROWS = 0x2080 // ROW_UNITS
SCALAR_WORDS = 4096


def tile_words(
    tiles: Sequence[int], words: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the index of ``words`` of narrow memory on ``tiles``: one row for each tile."""
    return np.array(tiles, np.int64)[:, None], words[None, :]


@lru_cache(maxsize=None)  # of 2 to the power of 16 masks
def tiles_of(mask: int) -> tuple[int, ...]:
    """Return the tiles in ``mask``, lowest first."""
    return tuple(tile for tile in range(NUM_TILES) if mask >> tile & 1)
