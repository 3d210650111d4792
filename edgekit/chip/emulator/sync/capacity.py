# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: check that the queues fit into wide memory.

A stream uses a ring of slots. No slot may contain a parameter that the caching program has
stored, and no slot may lie beyond the end of the memory: the chip does not check either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.chip.emulator.units.ring import RingReceive
from edgekit.chip.emulator.units.tile_dma import NarrowToWide
from edgekit.chip.isa.errors import SyncError
from edgekit.chip.isa.memories import WIDE_ROWS

if TYPE_CHECKING:
    from edgekit.chip.emulator.plan import Task


def slots_of(task: Task) -> range:
    """The rows of wide memory that the task's stream uses as slots; empty without slots."""
    if isinstance(task, RingReceive):
        return range(task.base, task.base + task.instruction["slots"])
    if isinstance(task, NarrowToWide) and task.streams:
        return range(task.rows[0], task.rows[0] + task.instruction["w_rows"])
    return range(0)


def check_capacity(task: Task, tiles: list[int], cached: list[set[int]] | None) -> None:
    """Raise if a stream's slots contain parameters or lie outside the memory.

    Args:
        task: The task that is about to run.
        tiles: The tiles it runs on.
        cached: Rows of each tile that contain parameters; None for the program that caches them.

    Raises:
        SyncError: A slot contains parameters or lies outside the memory.
    """
    slots = slots_of(task)
    if not slots:
        return
    name = "slots" if isinstance(task, RingReceive) else "w_rows"
    where = f"{task.instruction.where}, field {name}"
    if slots[-1] >= WIDE_ROWS:
        raise SyncError(
            f"a queue of {len(slots)} rows from row {slots[0]}, the memory has {WIDE_ROWS}",
            where=where,
            why="the queue ends beyond the last row",
        )
    if cached is None:
        return
    for tile in tiles:
        covered = cached[tile].intersection(slots)
        if covered:
            raise SyncError(
                f"a queue of {len(slots)} rows from row {slots[0]} covers {len(covered)} rows of "
                f"parameters of tile {tile}",
                where=where,
                why="the stream would overwrite them, in this inference or the next",
            )
