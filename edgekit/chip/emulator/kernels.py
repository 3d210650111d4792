# SPDX-License-Identifier: Apache-2.0
"""Steps of a run by compiled code, where numba is installed (``edgekit[fast]``).

Boards have no numba, and a step that the compiled code does not cover is computed by numpy in any
case: the bytes are the same.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from edgekit import log
from edgekit.extras import BROKEN

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

PLAIN, IS_ODD, REDUCES = 0, 1, 2  # how compiled code uses the table of a function
# From where to where words are copied; FILL stores a constant in narrow memory.
TO_WIDE, TO_NARROW, TO_MESH, FROM_MESH, FILL = range(5)


@lru_cache(maxsize=None)
def compiled_kernels() -> ModuleType | None:
    """Return `edgekit.chip.emulator.compiled`; None if numba is missing or does not load."""
    try:
        importlib.import_module("numba")
    except ModuleNotFoundError:
        return None
    except BROKEN as error:
        log.warning("emulator", f"numba is installed but does not load; numpy is used: {error}")
        return None
    return importlib.import_module("edgekit.chip.emulator.compiled")


def runs_of(addresses: NDArray[np.int64], unit: int, most: int) -> tuple[NDArray[np.int64], int]:
    """Split a list of addresses, each of ``unit`` bytes, into runs of bytes that follow each other.

    Returns:
        The first byte of each run, and the length of all of them, which divides ``most``.
    """
    breaks = np.flatnonzero(np.diff(addresses) != unit) + 1
    length = int(np.gcd.reduce(breaks, initial=most // unit))
    return np.ascontiguousarray(addresses[::length]), length * unit
