# SPDX-License-Identifier: Apache-2.0
"""From a program to a plan: the order of all transfers and operations, computed once.

Which transfer uses which buffer, and in what order, does not depend on values: the units of a
tile are in-order queues, and a program is a network of queues between them. The planner issues
instructions in program order, runs each on the tiles where its streams have arrived, and
records the result as steps on row and word numbers. A run then only executes the steps.

Source of the model: units, queues and counters as in tinycoral, docs/isa. The result does not
depend on queue capacities: this is a property of such networks (Kahn, 1974).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Sequence, Tuple

import numpy as np

from edgekit.chip.emulator.queues import TileQueues
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.streams import Streams
from edgekit.chip.emulator.wide import WideMemories
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.errors import EmulationError, not_proven
from edgekit.chip.isa.limits import Deadline, check_memory
from edgekit.chip.isa.memories import NUM_TILES, ROW_BYTES, ROW_UNITS, WIDE_ROWS, tiles_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MANY_ROWS = 1 << 15  # after so many new ones it is worth looking for those that are free again
_LEAST_GAP = 64  # of free rows, to be used again
# Bytes of memory, with what belongs to each: a row with its place in the plan, a word on the mesh,
# a step of the plan, and a step of a loop nest while it is read and afterwards.
_ROW, _MESH_WORD, _STEP, _READ, _KEPT = 2048, 32, 8192, 64, 32


Range = Tuple[int, int]  # first byte, end


class Move(NamedTuple):
    """A copy of words, in their order."""

    kind: int  # from where to where, a constant of `edgekit.chip.emulator.kernels`
    sources: NDArray[np.int64]  # words of the source, -1 for a 0; or the constant that is stored
    targets: NDArray[np.int64]  # words of the target


class Step:
    """One action of a run; addresses and row numbers are fixed."""

    num_moved = 0  # words that a copy moves, see `move`

    def run(self, state: State) -> None:
        """Execute the step on ``state``."""
        raise NotImplementedError

    def move(self) -> Move:
        """Return a copy of words as its addresses."""
        raise NotImplementedError


def check_aligned(instruction: Instruction, name: str) -> None:
    """Raise if a wide address does not start a row; the chip misreads such regions (tinycoral)."""
    if instruction[name] % ROW_UNITS:
        raise EmulationError(
            f"wide memory address {instruction[name]:#x} is not aligned to 256 bytes",
            where=f"{instruction.where}, field {name}",
            why="transfers work on whole rows",
        )


class Task:
    """An instruction that has been issued and still waits on some tiles."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        self.instruction = instruction
        self.order = order
        self.units: tuple[str, ...] = (instruction.layout.unit,)
        self.waiting: int = instruction.fields.get("tiles", 1)
        self.written: frozenset[int] = frozenset()  # wide rows it will write
        self.narrow_written: Range | None = None  # bytes of narrow memory it will write
        self.signals = False  # whether the scalar core can wait for its end

    def begin(self, planner: Planner) -> None:
        """Run when the instruction is issued; most instructions do nothing then."""

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether everything it waits for has arrived on ``tile``."""
        raise NotImplementedError

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Add its steps for ``tiles`` to the plan, and move its data between the queues."""
        raise NotImplementedError

    def stop(self, what: str, field_name: str, why: str = "") -> EmulationError:
        """See `not_proven`."""
        return not_proven(self.instruction, what, field_name, why)


@dataclass(frozen=True)
class Plan:
    """The steps of one run and the memory they need."""

    steps: tuple[Step, ...]
    num_rows: int
    mesh_words: int
    output_bytes: int
    wide_rows: tuple[frozenset[int], ...]  # rows it has written, for each tile
    streams: Streams  # of the host, in the order of the transfers
    joined: tuple[Step, ...] = ()  # the same steps for compiled code

    def run(self, state: State) -> None:
        """Run all steps in order."""
        state.prepare(self.num_rows, self.mesh_words, self.output_bytes)
        with np.errstate(over="ignore"):  # columns that no op reads are computed too
            for step in self.steps if state.kernels is None else self.joined or self.steps:
                step.run(state)


class Checker:
    """The base checker: does nothing. `SyncChecker` overrides it."""

    def issued(self, instruction: Instruction) -> None:
        """An instruction is issued."""

    def branched(self) -> None:
        """The program continues at an instruction that does not follow the last one."""

    def before(self, task: Task, tiles: list[int]) -> None:
        """A task is about to run on ``tiles``."""

    def after(self, task: Task, tiles: list[int]) -> None:
        """A task has run on ``tiles``."""

    def sends(self, task: Task, tile: int, words: NDArray[np.int64]) -> None:
        """The outbound half of a mesh transfer runs on ``tile``."""

    def received(self, task: Task, tile: int, words: NDArray[np.int64]) -> None:
        """The inbound half of a mesh transfer, or a fill, has run on ``tile``."""


class Planner:
    """Issues a program's instructions and records the plan."""

    def __init__(
        self, checker: Checker | None = None, known_rows: Sequence[set[int]] | None = None
    ) -> None:
        self.checker = checker or Checker()
        self.is_caching = known_rows is None  # the rows that a caching program has written
        self.wide = WideMemories(known_rows)
        self.steps: list[Step] = []
        self.pending: list[Task] = []
        self.tiles = [TileQueues() for _ in range(NUM_TILES)]
        self.num_rows = NUM_TILES * WIDE_ROWS
        self.free_rows: list[tuple[int, int]] = []  # (first, end) of rows below ``num_rows``
        self.rows_since_reuse = 0
        # Of each row: how many of its first bytes are the same in every inference.
        self.constant_bytes = np.zeros(_MANY_ROWS, np.int16)
        self.mark_constant(0, self.num_rows, ROW_BYTES)
        self.mesh_words = 0
        self.output_bytes = 0
        self.to_scalar: deque[tuple[int, bool]] = deque()  # packet, whether its producer ends
        self.loopback: deque[int] = deque()
        self.memory_has_data = False  # scalar memory depends on the inputs
        self.receive_flags: set[int] = set()  # low bits of ring consumers' addresses
        self.order = 0
        self.work = 0
        self.deadline = Deadline()
        self.streams: Streams = Streams((), (), ())
        self.parameters: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.parameters_sent = 0
        self.popped = self.next_pop = 0  # bytes of the activation stream
        self.fed = 0  # units that were fed in after the last pop
        self.descriptors: list[tuple[int, ...]] = []

    def add(self, step: Step) -> None:
        """Append a step; raise if the plan has too many."""
        self.steps.append(step)
        check_memory(len(self.steps), _STEP, "steps")

    def add_work(self, steps: int, where: str) -> None:
        """Count the steps of a loop nest, so that a damaged program ends soon."""
        self.work += steps
        check_memory(steps, _READ, "steps in a loop nest", where)
        check_memory(self.work, _KEPT, "steps in all loop nests", where)
        self.deadline.check(where)

    def new_rows(self, number: int) -> int:
        """Reserve ``number`` consecutive rows; return the number of the first."""
        first = self._free_rows(number)
        self.mark_constant(first, first + number, 0)
        return first

    def mark_constant(self, first: int, end: int, num_bytes: int) -> None:
        """Record that the first bytes of rows ``first`` to ``end`` do not depend on an input."""
        missing = end - len(self.constant_bytes)
        if missing > 0:
            more = np.zeros(max(missing, len(self.constant_bytes)), np.int16)
            self.constant_bytes = np.concatenate([self.constant_bytes, more])
        self.constant_bytes[first:end] = num_bytes

    def _free_rows(self, number: int) -> int:
        self.rows_since_reuse += number
        for place, (first, end) in enumerate(self.free_rows):
            if end - first >= number:
                self.free_rows[place] = first + number, end
                return first
        first = self.num_rows
        self.num_rows += number
        check_memory(self.num_rows, _ROW, "rows of wide memory")
        return first

    def reuse_rows(self) -> None:
        """Find the rows that no memory contains any more, where no data is on its way.

        The steps of a plan run in order, so that later steps may overwrite what earlier ones read.
        """
        on_their_way = self.to_scalar or self.loopback or any(t.is_busy for t in self.tiles)
        if self.rows_since_reuse < _MANY_ROWS or on_their_way:
            return
        self.rows_since_reuse = 0
        first = NUM_TILES * WIDE_ROWS  # rows before it are the content at the start
        kept = [row for row in self.wide.new_numbers().tolist() if row >= first]
        ends = [*kept, self.num_rows]
        starts = [first, *(row + 1 for row in ends[:-1])]
        self.free_rows = [
            (start, end) for start, end in zip(starts, ends) if end - start >= _LEAST_GAP
        ]

    def new_mesh_words(self, number: int) -> int:
        """Reserve ``number`` words in flight; return the number of the first."""
        first = self.mesh_words
        self.mesh_words += number
        check_memory(self.mesh_words, _MESH_WORD, "words on the mesh")
        return first

    def issue(self, task: Task) -> None:
        """Add an instruction; fire every instruction that can fire."""
        self.pending.append(task)
        self.pump()

    def pump(self) -> None:
        """Fire instructions until none can fire."""
        end = len(self.pending)
        while end:
            # Behind the last one that fired, each was tried after it: nothing has changed for them.
            end = self._fire_before(end)

    def _fire_before(self, end: int) -> int:
        """Fire, in order, those of the first ``end`` that can; return how many to try again."""
        fired = -1
        blocked: dict[str, int] = {}
        for position, task in enumerate(self.pending[:end]):
            barred = 0
            for unit in task.units:
                barred |= blocked.get(unit, 0)
            tiles = [tile for tile in tiles_of(task.waiting & ~barred) if task.ready(self, tile)]
            if tiles:
                self.checker.before(task, tiles)
                task.fire(self, tiles)
                self.checker.after(task, tiles)
                fired = position
            if task.waiting:
                for unit in task.units:
                    blocked[unit] = blocked.get(unit, 0) | task.waiting
        if fired < 0:
            return 0
        again = [task for task in self.pending[: fired + 1] if task.waiting]
        self.pending = again + [task for task in self.pending[fired + 1 :] if task.waiting]
        return len(again)

    def scalar_sync(self, instruction: Instruction) -> None:
        """The scalar core waits for fences: check that they have passed."""
        if instruction["token_wait"] and any(task.signals for task in self.pending):
            self.check_idle(f"pc {instruction.pc}, {instruction.layout.name}")

    def written_before(self, task: Task, tile: int, rows: frozenset[int]) -> bool:
        """Whether a pending task before ``task`` will still write one of ``rows``."""
        for other in self.pending:
            if other is task:
                return False
            if other.waiting >> tile & 1 and not other.written.isdisjoint(rows):
                return True
        return False

    def narrow_before(self, task: Task, tile: int, read: Range) -> bool:
        """Whether a pending task before ``task`` will still write into ``read``."""
        for other in self.pending:
            if other is task:
                return False
            span = other.narrow_written
            if span and other.waiting >> tile & 1 and span[0] < read[1] and read[0] < span[1]:
                return True
        return False

    def check_idle(self, where: str) -> None:
        """Raise if an instruction still waits: nothing that it waits for can arrive any more."""
        if self.pending:
            task = self.pending[0]
            raise EmulationError(
                f"{len(self.pending)} instructions wait for ever at {where}",
                where=f"{task.instruction.where}, field tiles ({task.waiting:#06x} still wait)",
                why="what they wait for never arrives in this model of the chip",
            )
