# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: check the frame of a program, its first fence and its tokens.

A chip keeps the counters of the program before it, so a program first sets those of all units to 0
(old compilers reset the two of the ring's producers at the end of a program instead). When
a signalling fence ends, each of its tiles gives a token to the scalar core; the core may wait for a
token only once for each such fence, or it waits for ever.
"""

from __future__ import annotations

from edgekit.chip.emulator.queues import NUM_COUNTERS
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.errors import SyncError

_OF_UNITS = (1 << NUM_COUNTERS - 2) - 1


class FrameChecker:
    """Follows a program in the order in which it is issued."""

    def __init__(self) -> None:
        self._begun = 0  # tiles whose counters are known
        self._tokens = 0  # tiles that have given a token which was not waited for

    def issued(self, instruction: Instruction) -> None:
        """Check one instruction.

        Raises:
            SyncError: It uses counters that were never reset, or waits for a token that no fence
                gives.
        """
        name = instruction.layout.name
        if name == "fence":
            if not instruction["count"] and not _OF_UNITS & ~instruction["counters"]:
                self._begun |= instruction["tiles"]
            if instruction["signal"]:
                self._tokens |= instruction["tiles"]
        if instruction.layout.on_tiles and instruction["tiles"] & ~self._begun:
            raise SyncError(
                "an instruction before the first reset of the counters",
                where=f"{instruction.where}, field tiles",
                why="the counters still have the values of the program that ran before",
            )
        if name == "scalar.sync" and instruction["token_wait"]:
            if instruction["token_tiles"] & ~self._tokens:
                raise SyncError(
                    "waits for a token that no fence before it gives",
                    where=f"{instruction.where}, field token_wait",
                    why="the scalar core would wait for ever",
                )
            self._tokens &= ~instruction["token_tiles"]
