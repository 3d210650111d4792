# SPDX-License-Identifier: Apache-2.0
"""Strict synchronization: check that the program waits for the data that it reads.

The planner runs each unit as early as its streams allow, so a missing wait may not change a value.
This checker checks the waits themselves. For every word of narrow memory it records the unit that
wrote it last and the count that the unit's counter had then reached; a fence that drains the unit
clears the record. An instruction that reads a recorded word must wait for that counter, and for at
least that count (the first round of a wait that repeats). Producers on the ring must name the
count of packets before them, and the scalar core must name the final counts.

Every program of Google's compiler that the emulator runs passes these checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.emulator.plan import Checker, Task
from edgekit.chip.emulator.sync.arrivals import ArrivalChecker
from edgekit.chip.emulator.sync.capacity import check_capacity
from edgekit.chip.emulator.sync.counts import CountChecker, records_of_op
from edgekit.chip.emulator.sync.frame import FrameChecker
from edgekit.chip.emulator.sync.order import OrderChecker
from edgekit.chip.emulator.sync.reuse import ReuseChecker
from edgekit.chip.emulator.units.fences import Fence
from edgekit.chip.emulator.units.mesh import Mesh, steps_of, waits_of
from edgekit.chip.emulator.units.op import Op
from edgekit.chip.emulator.units.ring import RingSend
from edgekit.chip.emulator.units.tile_dma import NarrowToWide, WideToNarrow
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.errors import SyncError
from edgekit.chip.isa.memories import NARROW_BYTES, NUM_TILES
from edgekit.chip.isa.walks import product

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUM_WORDS = NARROW_BYTES // 4
_AVDATA, _WIDE_TO_NARROW, _NARROW_TO_WIDE = 0, 11, 13
_NO_WRITER = -1
_MESH_SIDES = (3, 4, 5, 6)  # counters of incoming words: north, east, south, west
_NAMES = {0: "AVDATA", 3: "MESH_NORTH_IN", 4: "MESH_EAST_IN", 5: "MESH_SOUTH_IN", 6: "MESH_WEST_IN"}
# Counter -> the unit whose drain makes its words safe to read.
_UNIT_OF = {0: "op", 3: "mesh_south", 4: "mesh_west", 5: "mesh_north", 6: "mesh_east"}
_PRODUCERS = (17, 18)  # RING_PRODUCER_A, RING_PRODUCER_B
_STREAM_COUNTERS = (13, 14, 15)  # NARROW_TO_WIDE, RING_READ_A, RING_READ_B
_ORDINAL = 2  # operation of a record that counts producers, not packets
_LOOPBACK_MODE = 0
_NEVER = 1 << 40  # count of words whose arrival nothing signals


class SyncChecker(Checker):
    """Follows a program as it is planned and stops at the first missing wait."""

    def __init__(self, cached: list[set[int]] | None = None) -> None:
        self.cached = cached
        self.writer = np.full((NUM_TILES, _NUM_WORDS), _NO_WRITER, np.int8)
        # The counters in each row of `writer`: most units have written nothing since a fence.
        self.writers: list[set[int]] = [set() for _ in range(NUM_TILES)]
        self.count = np.zeros((NUM_TILES, _NUM_WORDS), np.int64)
        self.av = [0] * NUM_TILES
        self.sides = [dict.fromkeys(_MESH_SIDES, 0) for _ in range(NUM_TILES)]
        self.producers = dict.fromkeys(_PRODUCERS, 0)
        self.to_wide = [0] * NUM_TILES  # signals of narrowToWide
        self.streams: dict[tuple[int, int], int] = {}  # (tile, row): count of its first row
        # Rows of wide memory that narrowToWide writes and that have not been drained.
        self.unfinished: list[set[int]] = [set() for _ in range(NUM_TILES)]
        self.uncounted: set[int] = set()
        self.waited = dict.fromkeys(_PRODUCERS, 0)
        self.seq = -1
        self.counts, self.frame, self.order = CountChecker(), FrameChecker(), OrderChecker()
        self.reuse, self.arrivals = ReuseChecker(), ArrivalChecker()

    # -- in program order

    def branched(self) -> None:
        """See `Checker`: numbering continues with that of the next instruction."""
        self.seq = -1

    def issued(self, instruction: Instruction) -> None:
        """An instruction is issued."""
        if instruction.layout.on_tiles:
            if self.seq >= 0 and instruction["seq"] != self.seq + 1:
                raise _fault(instruction, f"number {instruction['seq']} after {self.seq}", "seq")
            self.seq = instruction["seq"]
        self.frame.issued(instruction)
        self.counts.issued(instruction)
        name = instruction.layout.name
        if name == "ring.send":
            self._producer(instruction)
        elif name == "scalar.sync":
            self._thresholds(instruction)
        elif name == "fence" and not instruction["count"]:
            for counter in _PRODUCERS:
                if instruction["counters"] >> counter & 1:
                    self._restart(instruction, counter)

    def _restart(self, instruction: Instruction, counter: int) -> None:
        """Check that the scalar core has waited for all packets before their count restarts."""
        if self.waited[counter] < self.producers[counter]:
            raise _fault(
                instruction,
                f"{self.producers[counter]} packets were sent, the scalar core waited for "
                f"{self.waited[counter]}",
                "counters",
            )
        self.producers[counter] = self.waited[counter] = 0

    def _producer(self, instruction: Instruction) -> None:
        """Check the first record: the counter that orders the producer, and its required count."""
        if not instruction["r0_en_a"] or instruction["r0_id"] & 31 not in _PRODUCERS:
            if instruction["r0_en_a"] and instruction["r0_id"] & 31 == _NARROW_TO_WIDE:
                return  # the only producer of its phase
            raise _fault(instruction, "a producer that is not ordered after others", "r0_id")
        packets = product([instruction[f"cnt{k}"] + 1 for k in range(4)])
        loopback = instruction["dest"] >> NUM_TILES & 1 and instruction["mode"] == _LOOPBACK_MODE
        for k in range(3):
            counter, operation = instruction[f"r{k}_id"] & 31, instruction[f"r{k}_id"] >> 5
            if not instruction[f"r{k}_en_a"] or counter not in _PRODUCERS:
                continue
            expected = self.producers[counter] - (1 if loopback and k == 0 else 0)
            if instruction[f"r{k}_val"] != expected:
                raise _fault(
                    instruction,
                    f"waits for {instruction[f'r{k}_val']} packets before it, expected {expected}",
                    f"r{k}_val",
                )
            if k == 0 or loopback:  # packets that return through the scalar core count twice
                self.producers[counter] += 1 if operation == _ORDINAL else packets
        if instruction["slots"] and not any(
            instruction[f"r{k}_en_a"]
            and instruction[f"r{k}_id"] & 31 == _NARROW_TO_WIDE
            and instruction[f"r{k}_val"] >= 1
            for k in range(3)
        ):
            raise _fault(instruction, "a stream is sent without waiting for narrowToWide", "r1_id")

    def _thresholds(self, instruction: Instruction) -> None:
        for bit, counter in ((5, 17), (6, 18)):
            if instruction["wait"] >> bit & 1:
                expected = self.producers[counter]
                self.waited[counter] = expected
                if instruction[f"threshold{bit}"] != expected:
                    raise _fault(
                        instruction,
                        f"waits for {instruction[f'threshold{bit}']} packets, expected {expected}",
                        f"threshold{bit}",
                    )

    # -- as units run

    def before(self, task: Task, tiles: list[int]) -> None:
        """A task is about to run on ``tiles``."""
        check_capacity(task, tiles, self.cached)
        if isinstance(task, NarrowToWide):
            self._check_transfer(task, tiles)
            self.reuse.to_wide(task, tiles)
            self._streamed(task, tiles)
        elif isinstance(task, WideToNarrow):
            self._check_source(task)
            self._check_written(task, tiles)
            self.reuse.to_narrow(task, tiles)
        elif isinstance(task, RingSend) and task.streams:
            self._check_stream(task, tiles)
        elif isinstance(task, Mesh):
            self._check_relay(task)
        elif isinstance(task, Op):
            self._check_op(task, tiles)
            self._check_rows(task, tiles)

    def sends(self, task: Task, tile: int, words: NDArray[np.int64]) -> None:
        """The outbound half of a mesh transfer runs on ``tile``."""
        instruction = task.instruction
        self.order.read(task, tile, words)
        self.reuse.reads(task, tile, words)
        self.arrivals.sends(instruction, tile)
        waits: dict[int, tuple[int, int]] = {}
        for counter, value, level in waits_of(instruction):
            waits[counter] = max(waits.get(counter, (0, 0)), (value, level))
        counts = [instruction[f"o_cnt{k}"] + 1 for k in range(4)]
        steps = steps_of(instruction, "o_", tuple(counts))
        for counter in (_AVDATA, *_MESH_SIDES):
            theirs = self.writer[tile, words] == counter
            if not theirs.any():
                continue
            threshold, level = waits.get(counter, (0, 0))
            # Each iteration of the level waits for one more.
            reached = threshold + steps[theirs] // product(counts[:level]) if threshold else 0
            missing = self.count[tile, words][theirs] - reached
            if missing.max() > 0:
                needed = int(self.count[tile, words][theirs][missing.argmax()])
                raise _fault(
                    instruction,
                    f"sends words of tile {tile} when {_NAMES[counter]} is "
                    f"{needed - int(missing.max())}, but they are complete at {needed}",
                    "s0_val" if counter in waits else "s0_en_a",
                )

    def after(self, task: Task, tiles: list[int]) -> None:
        """A task has run on ``tiles``."""
        if isinstance(task, Op):
            self._op_wrote(task, tiles)
        elif isinstance(task, NarrowToWide) and not task.streams:
            for tile in tiles:
                self.unfinished[tile].update(task.rows)
        elif isinstance(task, Fence):
            self._passed(task, tiles)

    def received(self, task: Task, tile: int, words: NDArray[np.int64]) -> None:
        """The inbound half of a mesh transfer, or a fill, has run on ``tile``."""
        instruction = task.instruction
        self.order.written(task, tile, words)
        if not isinstance(task, Mesh):
            return
        self.reuse.received(task, tile, words)
        self.writer[tile, words] = task.counter
        self.writers[tile].add(task.counter)
        if not instruction["i_mode"] & 1:
            self.count[tile, words] = _NEVER
            return
        level = min(instruction["i_mode"] >> 1, 4)
        unit = product([instruction[f"i_cnt{k}"] + 1 for k in range(level)])
        base = self.sides[tile][task.counter]
        self.count[tile, words] = base + np.arange(len(words)) // unit + 1
        self.sides[tile][task.counter] = base + -(-len(words) // unit)

    def _op_wrote(self, task: Op, tiles: list[int]) -> None:
        if task.nest.access.sums:
            return
        words = task.nest.out_words.reshape(-1) // 4
        order = np.arange(len(words))
        if task.nest.keep is not None:
            words, order = words[task.nest.keep.reshape(-1)], order[task.nest.keep.reshape(-1)]
        signals = task.instruction["cfg0"] & 1
        level = task.instruction["cfg0"] >> 1 & 7
        unit = product(task.nest.out.counts[:level])
        for tile in tiles:
            self.order.written(task, tile, words)
            self.writer[tile, words] = _AVDATA
            self.writers[tile].add(_AVDATA)
            if signals:
                self.count[tile, words] = self.av[tile] + order // unit + 1
                self.av[tile] += product(task.nest.out.counts[level:])
            else:
                self.count[tile, words] = _NEVER

    def _passed(self, task: Fence, tiles: list[int]) -> None:
        instruction = task.instruction
        self.reuse.passed(task.units, tiles)
        for tile in tiles:
            if not instruction["count"]:
                counts = {_AVDATA: self.av[tile], **self.sides[tile]}
                self.arrivals.passed(instruction, task.units, tile, counts)
            if "n2w" in task.units:
                self.unfinished[tile].clear()
            if not instruction["count"] and instruction["counters"] >> _NARROW_TO_WIDE & 1:
                self.to_wide[tile] = 0
                self.uncounted.discard(tile)
            for counter, unit in _UNIT_OF.items():
                if unit in task.units and counter in self.writers[tile]:
                    self.writer[tile][self.writer[tile] == counter] = _NO_WRITER
                    self.writers[tile].remove(counter)
                if not instruction["counters"] >> counter & 1:
                    continue
                if counter == _AVDATA:
                    self.av[tile] = instruction["count"]
                else:
                    self.sides[tile][counter] = instruction["count"]

    def _check_transfer(self, task: NarrowToWide, tiles: list[int]) -> None:
        """Check that the transfer names the counters; the meaning of its counts is not known."""
        instruction = task.instruction
        named = {instruction[f"s{k}_id"] for k in range(6)}
        for tile in tiles:
            self.order.read(task, tile, task.words)
            for counter in set(np.unique(self.writer[tile, task.words]).tolist()) - {_NO_WRITER}:
                if counter not in named:
                    raise _fault(
                        instruction,
                        f"reads words of tile {tile} without waiting for {_NAMES[counter]}",
                        "s0_id",
                    )

    def _streamed(self, task: NarrowToWide, tiles: list[int]) -> None:
        """Record the count from which the stream's first row is complete."""
        signals = product(task.narrow.counts[task.instruction["tail"] >> 1 :])
        if task.instruction["s0_id"] == _WIDE_TO_NARROW or task.instruction["transpose"]:
            self.uncounted.update(
                tiles
            )  # unknown: how often half of a pair, or a transpose, signals
        for tile in tiles:
            before = self.to_wide[tile]
            self.streams[tile, task.rows[0]] = before + 1
            self.to_wide[tile] = before + signals

    def _check_stream(self, task: RingSend, tiles: list[int]) -> None:
        threshold = max((value for _, value in task.waits), default=0)
        for tile in tiles:
            needed = self.streams.get((tile, task.rows[0]), 0)
            if threshold < (min(needed, 1) if tile in self.uncounted else needed):
                raise _fault(
                    task.instruction,
                    f"sends the stream of tile {tile} at count {threshold}, it begins at {needed}",
                    "r1_val",
                )

    @staticmethod
    def _check_source(task: WideToNarrow) -> None:
        """Check that the read waits for the counter of the unit that brings the stream."""
        if task.streams and task.instruction["s0_id"] not in _STREAM_COUNTERS:
            raise _fault(task.instruction, "reads a stream without waiting for it", "s0_id")

    def _check_written(self, task: WideToNarrow, tiles: list[int]) -> None:
        """Check that a copy waits for rows that narrowToWide has been told to write."""
        if task.streams or task.from_ring or task.instruction["s0_id"] == _NARROW_TO_WIDE:
            return
        for tile in tiles:
            rows = self.unfinished[tile].intersection(task.rows)
            if rows:
                raise _fault(
                    task.instruction,
                    f"reads wide memory row {min(rows)} of tile {tile} without waiting for "
                    f"narrowToWide",
                    "s0_id",
                )

    @staticmethod
    def _check_relay(task: Mesh) -> None:
        """Check that a relay through a small buffer waits for incoming words."""
        instruction = task.instruction
        waits = {
            instruction[f"s{k}_id"] >> 1
            for k in range(5)
            if instruction[f"s{k}_en_a"] and instruction[f"s{k}_val"] >> 2 >= 1
        }
        if (task.relay or task.from_corner) and not waits.intersection(_MESH_SIDES):
            raise _fault(instruction, "passes words on without waiting for them", "s0_en_a")

    def _check_op(self, task: Op, tiles: list[int]) -> None:
        """Check for a fence before an op that reads words from the mesh: an op cannot wait."""
        if not task.nest.access.activation_bytes or task.nest.chunked:
            self.reuse.op(task, tiles, None)
            return
        words = np.unique(task.nest.in_addresses // 4)
        self.reuse.op(task, tiles, words)
        for tile in tiles:
            writers = set(np.unique(self.writer[tile, words]).tolist()) & set(_MESH_SIDES)
            if writers:
                raise _fault(
                    task.instruction,
                    f"reads words of tile {tile} from the mesh without a fence in between",
                    "in_base",
                )

    def _check_rows(self, task: Op, tiles: list[int]) -> None:
        """Check that an op waits for rows that narrowToWide has been told to write."""
        waits = {record.counter for record in records_of_op(task.instruction)}
        if task.nest.stream_row >= 0 or _NARROW_TO_WIDE in waits:
            return
        for tile in tiles:
            rows = self.unfinished[tile] & task.nest.read
            if rows:
                raise _fault(
                    task.instruction,
                    f"reads wide memory row {min(rows)} of tile {tile} without waiting for "
                    f"narrowToWide",
                    "par_base",
                )


def _fault(instruction: Instruction, what: str, name: str) -> SyncError:
    return SyncError(
        what,
        where=f"{instruction.where}, field {name}",
        why="on the chip this is a race: units do not wait for each other on their own",
        fix="compare with a program of Google's compiler for the same step",
    )
