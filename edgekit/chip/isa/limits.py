# SPDX-License-Identifier: Apache-2.0
"""How large a program may be on this machine: limits from its memory, and a limit of time.

A damaged program can ask for any number of steps. So what a program needs is estimated before it is
allocated, and a program that needs more than half of the machine's memory is refused.
"""

from __future__ import annotations

import os
import sys
import time
from functools import lru_cache

from edgekit.chip.isa.errors import EmulationError

_SHARE = 2  # half of the memory
_UNKNOWN_BYTES = 4 << 30  # of a machine that does not say how much it has
_LONGEST_S = 1800.0  # to plan a program; the largest at hand takes 10 seconds
_EACH = 64  # checks for one look at the clock, which takes long on some systems


@lru_cache(maxsize=None)
def memory_bytes() -> int:
    """Return how many bytes of memory a program may need here."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # no such name on this system
        total = _UNKNOWN_BYTES
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
        if 0 < allowed < total:
            total = allowed
    return max(total, 1) // _SHARE


def check_memory(number: int, unit_bytes: int, what: str, where: str = "") -> None:
    """Check that the machine has memory for ``number`` of something of ``unit_bytes`` each.

    Raises:
        EmulationError: It does not.
    """
    limit = memory_bytes() // unit_bytes
    if number > limit:
        raise EmulationError(
            f"this program is too large for this machine: more than {limit:,} {what}",
            where=where,
            why=f"each needs about {unit_bytes:,} bytes, and the emulator uses up to "
            f"{memory_bytes() >> 20:,} MiB, half of the memory",
            fix="run it on an Edge TPU, or emulate it on a machine with more memory",
        )


class Deadline:
    """The end of the time for a plan."""

    def __init__(self) -> None:
        self._end_s = time.monotonic() + _LONGEST_S
        self._checks = 0

    def check(self, where: str) -> None:
        """Raise if it has passed."""
        self._checks += 1
        if self._checks % _EACH == 0 and time.monotonic() > self._end_s:
            raise EmulationError(
                "this program is too large for this machine: it was not planned in "
                f"{_LONGEST_S / 60:.0f} minutes",
                where=where,
                fix="run it on an Edge TPU",
            )
