# SPDX-License-Identifier: Apache-2.0
"""Loads of the non-linear unit."""

from __future__ import annotations

import numpy as np

from edgekit.chip.arithmetic.spline import MODE, Spline
from edgekit.chip.codegen.emitter import Emitter


def load_spline(emitter: Emitter, table: Spline, tiles: int, mode: int = MODE) -> None:
    """Load the polynomials and limits of ``table`` on ``tiles``."""
    coefficients = table.coefficients.astype(np.float32).reshape(-1).view(np.uint32).tolist()
    breaks = table.breaks.astype(np.float32).view(np.uint32).tolist()
    emitter.put(
        "nlu.load",
        tiles=tiles,
        mode=mode,
        **{f"c{k}": bits for k, bits in enumerate(coefficients)},
        **{f"b{k}": bits for k, bits in enumerate(breaks)},
    )
