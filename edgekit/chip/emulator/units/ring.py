# SPDX-License-Identifier: Apache-2.0
"""The ring bus: 256-byte packets from wide memory, the host or the scalar core to tiles.

A packet is a row number here, so sending does not copy data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.emulator.plan import Planner, Task, check_aligned
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.memories import NUM_TILES, ROW_UNITS, tiles_of
from edgekit.chip.isa.walks import Walk, coarse_walk, has_short_group, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NARROW_TO_WIDE = 13  # sync counter
_WAIT = 1  # operation of a record
_TO_SCALAR = 1 << NUM_TILES  # bit of ``dest``


def num_steps_of(instruction: Instruction, walk: Walk) -> int:
    """The number of steps of a walk that are executed: its last group may be short."""
    if not has_short_group(instruction):
        return walk.num_steps
    last = instruction["group"] + 1
    if walk.counts[1] > 1:
        return walk.counts[0] * (walk.counts[1] - 1) + last
    return last


class RingSend(Task):
    """ringProducer: rows of wide memory, or a stream that arrives there, to tiles or scalar core.

    A producer with slots reads the stream that narrowToWide writes at its address.
    """

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        check_aligned(instruction, "addr")
        walk = coarse_walk(instruction, "", 4, instruction["addr"], unit=ROW_UNITS)
        self.places = walk.addresses() // ROW_UNITS
        self.rows: list[int] = self.places.tolist()
        self.read = frozenset(self.rows)
        self.streams = instruction["slots"] > 0
        # Records of the other counters order the producers.
        self.waits = [
            (_NARROW_TO_WIDE, instruction[f"r{k}_val"])
            for k in range(3)
            if instruction[f"r{k}_en_a"] and instruction[f"r{k}_id"] == _WAIT << 5 | _NARROW_TO_WIDE
        ]
        self.dest = instruction["dest"]
        if self.dest & _TO_SCALAR:
            self.units = (*self.units, "to_scalar")

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether its stream is complete; the scalar core receives producers in program order."""
        if self.dest & _TO_SCALAR and any(
            task is not self and "to_scalar" in task.units and task.order < self.order
            for task in planner.pending
        ):
            return False
        if self.streams:
            return len(planner.tiles[tile].queue(self.rows[0])) >= len(self.rows)
        counters = planner.tiles[tile].counters
        if any(counters[counter] < value for counter, value in self.waits):
            return False
        return not planner.written_before(self, tile, self.read)

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Move row numbers into the receivers' queues."""
        inbox = self.instruction["to_consumer1"]
        receivers = tiles_of(self.dest & _TO_SCALAR - 1)
        for tile in tiles:
            if self.streams:
                packets = planner.tiles[tile].queue(self.rows[0]).take(len(self.rows))
            else:
                where = f"{self.instruction.where}, field addr"
                packets = planner.wide.at(tile, self.places, where)
            if self.dest & _TO_SCALAR:
                last = len(packets) - 1
                numbers = packets.tolist()
                planner.to_scalar.extend((number, k == last) for k, number in enumerate(numbers))
            for receiver in receivers:
                planner.tiles[receiver].inbox[inbox].put(packets)
            self.waiting &= ~(1 << tile)


class RingReceive(Task):
    """ringConsumer 0 or 1: packets to wide memory, and into the streams that read it.

    With headers, one set of header rows (multipliers, bias, zero points) precedes every group of
    weight rows.
    """

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        self.inbox = 1 if instruction.layout.name == "ring.recv1" else 0
        base = instruction["addr"] & ~3  # the low bits are flags
        walk = coarse_walk(instruction, "", 4, base, unit=ROW_UNITS)
        num_rows = num_steps_of(instruction, walk)
        self.arriving = walk.addresses()[:num_rows] // ROW_UNITS
        self.rows: list[int] = self.arriving.tolist()
        self.base = base // ROW_UNITS
        self.written = frozenset(self.rows)
        self.header_rows = instruction["header_rows"] + 1 if instruction["header_en"] else 0
        self.per_header = num_rows
        if self.header_rows:
            self.per_header = product(walk.counts[: instruction["header_level"] + 1])
            last = max(instruction["header_last"], instruction["header_addr"]) + self.header_rows
            self.written |= frozenset(range(instruction["header_addr"], last))
        self.streams = bool(instruction["slots"] or instruction["circular"] or self.inbox)
        self.queued = self.streams or self.header_rows > 0
        self.num_packets = num_rows + self.header_rows * -(-num_rows // self.per_header)

    def begin(self, planner: Planner) -> None:
        """Check the flags in the address's low bits: one value for a program, 2 if it caches."""
        flags = self.instruction["addr"] % ROW_UNITS
        planner.receive_flags.add(flags)
        allowed = (0, 2) if planner.is_caching else (0,)
        if flags not in allowed or len(planner.receive_flags) > 1:
            raise self.stop(
                f"wide memory address {self.instruction['addr']:#x} is not aligned to 256 bytes",
                "addr",
                "the low bits differ from those of the program's other consumers",
            )

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether all packets have arrived."""
        return len(planner.tiles[tile].inbox[self.inbox]) >= self.num_packets

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Store the row numbers in wide memory and in the streams."""
        where = f"{self.instruction.where}, field addr"
        header = self.instruction["header_addr"]
        places, headers, data = self._places()
        numbers = np.empty((len(tiles), len(places)), np.int64)
        for tile, line in zip(tiles, numbers):
            queues = planner.tiles[tile]
            line[:] = queues.inbox[self.inbox].take(len(places))
            if headers is not None:
                queues.header_queue(header).put(line[headers])
            if self.queued:
                queues.queue(self.base).put(line[data] if headers is not None else line)
            self.waiting &= ~(1 << tile)
        planner.wide.put(tiles, places, numbers, where)
        planner.wide.arrive(tiles, self.arriving)

    def _places(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, NDArray[np.int64]]:
        """Return the wide row of each packet, the packets of each set of headers, the others."""
        rows, per_set = self.arriving, self.header_rows
        if not per_set:
            return rows, None, rows
        header = self.instruction["header_addr"]
        ring = self.instruction["header_last"] - header + 1
        place = np.arange(per_set * -(-len(rows) // self.per_header))
        of_sets = header + (place % ring if self.streams and ring > 0 else place)
        sets = place.reshape(-1, per_set)
        headers = sets + self.per_header * np.arange(len(sets))[:, None]
        data = np.arange(len(rows)) + per_set * (np.arange(len(rows)) // self.per_header + 1)
        places = np.empty(len(place) + len(rows), np.int64)
        places[headers.reshape(-1)], places[data] = of_sets, rows
        return places, headers, data
