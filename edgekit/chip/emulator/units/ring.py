# SPDX-License-Identifier: Apache-2.0
"""The ring bus: 256-byte packets from wide memory, the host or the scalar core to tiles.

A packet is a row number here, so sending does not copy data.
"""

from __future__ import annotations

from collections import deque
from itertools import compress

from edgekit.chip.emulator.plan import Planner, Task, check_aligned
from edgekit.chip.emulator.queues import take
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.memories import NUM_TILES, ROW_UNITS
from edgekit.chip.isa.walks import Walk, coarse_walk, product

_NARROW_TO_WIDE = 13  # sync counter
_WAIT = 1  # operation of a record
_TO_SCALAR = 1 << NUM_TILES  # bit of ``dest``


def short_walk(walk: Walk, last: int, *, shortened: bool) -> int:
    """The number of steps of a walk whose last group has only ``last`` + 1 members."""
    if not shortened:
        return walk.num_steps
    if walk.counts[1] > 1:
        return walk.counts[0] * (walk.counts[1] - 1) + last + 1
    return last + 1


class RingSend(Task):
    """ringProducer: rows of wide memory, or a stream that arrives there, to tiles or scalar core.

    A producer with slots reads the stream that narrowToWide writes at its address.
    """

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        check_aligned(instruction, "addr")
        walk = coarse_walk(instruction, "", 4, instruction["addr"], unit=ROW_UNITS)
        self.rows = [int(address) // ROW_UNITS for address in walk.addresses()]
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
        for tile in tiles:
            if self.streams:
                queue = planner.tiles[tile].queue(self.rows[0])
                packets = [queue.popleft() for _ in self.rows]
            else:
                where = f"{self.instruction.where}, field addr"
                packets = [planner.row_at(tile, row, where) for row in self.rows]
            if self.dest & _TO_SCALAR:
                last = len(packets) - 1
                planner.to_scalar.extend((number, k == last) for k, number in enumerate(packets))
            for receiver in range(NUM_TILES):
                if self.dest >> receiver & 1:
                    planner.tiles[receiver].inbox[inbox].extend(packets)
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
        shortened = bool(instruction["group"] or instruction["group_stride"])
        num_rows = short_walk(walk, instruction["group"], shortened=shortened)
        self.rows = [int(address) // ROW_UNITS for address in walk.addresses()[:num_rows]]
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
        allowed = (0,) if planner.known_rows is not None else (0, 2)
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
        places, sets, is_data = self._places()
        for tile in tiles:
            queues = planner.tiles[tile]
            inbox = queues.inbox[self.inbox]
            numbers = take(inbox, len(places))
            planner.put_rows(tile, places, numbers, where)
            queues.arrived(self.rows)
            for first in sets:
                one = tuple(numbers[first : first + self.header_rows])
                queues.headers.setdefault(header, deque()).append(one)
            if self.queued:
                queues.queue(self.base).extend(compress(numbers, is_data) if sets else numbers)
            self.waiting &= ~(1 << tile)

    def _places(self) -> tuple[list[int], list[int], list[bool]]:
        """Return the wide row of each packet, the first packet of each set of headers, the rest."""
        if not self.header_rows:
            return self.rows, [], []
        header = self.instruction["header_addr"]
        ring = self.instruction["header_last"] - header + 1
        wrap = self.streams and ring > 0
        places: list[int] = []
        sets, is_data = [], []
        for number, start in enumerate(range(0, len(self.rows), self.per_header)):
            sets.append(len(places))
            of_set = range(number * self.header_rows, (number + 1) * self.header_rows)
            places += [header + (place % ring if wrap else place) for place in of_set]
            group = self.rows[start : start + self.per_header]
            places += group
            is_data += [False] * self.header_rows + [True] * len(group)
        return places, sets, is_data
