# SPDX-License-Identifier: Apache-2.0
"""Parameters that the host sends: once, to the tiles that cache them, or with every inference.

Source: fields read off Google's programs (runtime 12 to 14).
"""

from __future__ import annotations

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.stages.fields import stream_nest

UNIT_BYTES = 64  # of a stream
_BUFFER_UNITS = 1 << 10  # of the host queue


def pop_parameters(emitter: Emitter, units: int, **counts: int) -> None:
    """Take ``units`` from the host; ``counts`` are the instruction's first unit and credits."""
    emitter.put(
        "pop",
        k121=1,
        k124=1,
        parameters=1,
        k174=1,
        k177=1,
        k178=1,
        k199=1,
        k215=1,
        **counts,
        **stream_nest(units, _BUFFER_UNITS, 16),
    )


def send_parameters(
    emitter: Emitter, offset: int, units: int, *, tiles: int, lanes: int, **waits: int
) -> None:
    """Send units of the stream, from ``offset`` on, to the tiles of a mask, ``lanes`` a row."""
    emitter.put(
        "infeed",
        offset=offset % 2048,
        k157=1,
        k160=1,
        parameters=1,
        k311=1,
        k314=1,
        pop_wait=(offset + 1) % (1 << 16),
        k336=1,
        k352=1,
        k392=1,
        tiles=tiles,
        row=15,
        lanes=lanes - 1,
        **waits,
        **stream_nest(units, _BUFFER_UNITS, 21),
    )
