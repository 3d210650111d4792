# SPDX-License-Identifier: Apache-2.0
"""From an executable to a plan: pass each instruction, in order, to the unit that runs it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np

from edgekit.chip.emulator.contract import check_descriptors, check_relocations
from edgekit.chip.emulator.plan import Checker, Plan, Planner, Step, Task
from edgekit.chip.emulator.state import ScalarState, State
from edgekit.chip.emulator.steps.base import OpStep
from edgekit.chip.emulator.streams import total
from edgekit.chip.emulator.sync.strict import SyncChecker
from edgekit.chip.emulator.transfers import Transfers
from edgekit.chip.emulator.units.fences import Fence
from edgekit.chip.emulator.units.host import Infeed, Outfeed, Pop
from edgekit.chip.emulator.units.mesh import Mesh
from edgekit.chip.emulator.units.op import Op
from edgekit.chip.emulator.units.resize import Resize
from edgekit.chip.emulator.units.ring import RingReceive, RingSend
from edgekit.chip.emulator.units.scalar import ScalarStep
from edgekit.chip.emulator.units.spline_load import SplineLoad
from edgekit.chip.emulator.units.tile_dma import NarrowToWide, WideToNarrow
from edgekit.chip.isa.decode import Instruction, decode
from edgekit.chip.isa.errors import EmulationError
from edgekit.chip.isa.memories import NUM_TILES, WIDE_ROWS
from edgekit.chip.isa.table import LAYOUTS
from edgekit.chip.isa.walks import product
from edgekit.formats.darwinn import Executable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TASKS: dict[str, Callable[[Instruction, int], Task]] = {
    "op": Op,
    "op.max": Op,
    "op.sum": Op,
    "op.resize": Resize,
    "ring.send": RingSend,
    "ring.recv0": RingReceive,
    "ring.recv1": RingReceive,
    "n2w": NarrowToWide,
    "w2n": WideToNarrow,
    "mesh.south": Mesh,
    "mesh.west": Mesh,
    "mesh.north": Mesh,
    "mesh.east": Mesh,
    "fence": Fence,
    "nlu.load": SplineLoad,
    "pop": Pop,
    "infeed": Infeed,
    "outfeed": Outfeed,
}
_BUNDLE_WORK = 8  # steps of a loop nest that take as long as a bundle
_ON_PREDICATE = 17  # cond of a branch: on predicate 0
# A program that executes more instructions than this, and more than this many times its length,
# has a loop without an end.
_MANY_ISSUED, _MANY_PASSES = 100_000, 64
_SCALAR = frozenset({"alu", "loop", "branch", "halt", "start", "end"})


class WriteBack(Step):
    """Write replaced rows, which the program had read before, to wide memory for the next run."""

    def __init__(self, places: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
        self.places, self.numbers = places, numbers

    def run(self, state: State) -> None:
        """Copy."""
        state.rows[self.places] = state.rows[self.numbers]


def make_plan(
    executable: Executable,
    *,
    known_rows: list[set[int]] | None = None,
    strict_sync: bool = False,
    checker: Checker | None = None,
) -> Plan:
    """Return the plan of ``executable``.

    ``known_rows`` are the rows of each tile's wide memory that a caching program has filled; None
    for a caching program itself, which keeps all rows it writes. ``strict_sync`` also checks that
    units wait for each other; another ``checker`` can take its place.

    Raises:
        SyncError: ``strict_sync`` found a fault.
        EmulationError: The program does something that is not proven, or waits for ever.
        ModelFormatError: The bitstream is not a program.
    """
    planner = Planner(SyncChecker(known_rows) if strict_sync else checker, known_rows)
    planner.parameters = np.asarray(executable.parameters)
    transfers = Transfers()
    scalar = _ScalarRuns(planner, transfers)
    for chunk in executable.instruction_bitstreams:
        instructions = decode(chunk.bitstream.tobytes())
        check_relocations(chunk, instructions)
        instructions = transfers.relocated(chunk, instructions)
        _run(planner, scalar, instructions)
    scalar.flush()
    planner.check_idle("the end of the program")
    expected = total(planner.streams.results)
    if planner.output_bytes != expected:
        raise EmulationError(
            f"{planner.output_bytes} bytes to the host, the package announces {expected}"
        )
    if executable.fully_deterministic:
        check_descriptors(executable, planner.descriptors)
    _write_back(planner)
    return Plan(
        tuple(planner.steps),
        planner.num_rows,
        planner.mesh_words,
        planner.output_bytes,
        planner.wide.written(),
        planner.streams,
    )


def _run(planner: Planner, scalar: _ScalarRuns, instructions: Sequence[Instruction]) -> None:
    """Issue every instruction in the order in which the scalar core reaches it."""
    index = {each.pc: position for position, each in enumerate(instructions)}
    position = issued = 0
    while position < len(instructions):
        instruction = instructions[position]
        position += 1
        name = instruction.layout.name
        if name == "branch" and scalar.decides(instruction):
            target = scalar.branch(instruction)
            if target not in index:
                raise _stop(
                    instruction, f"a branch to pc {target}, inside an instruction", "offset"
                )
            if index[target] != position:
                planner.checker.branched()
            position = index[target]
        elif name in _SCALAR:
            scalar.take(instruction)
        else:
            scalar.flush()
            _issue(planner, scalar.with_registers(instruction))
        issued += 1
        if issued > max(_MANY_ISSUED, _MANY_PASSES * len(instructions)):
            raise EmulationError(
                f"this program is too large for the emulator: it executed {issued - 1:,} "
                f"instructions and has {len(instructions):,}",
                where=instruction.where,
                why="one of its loops may never end",
            )


def _stop(instruction: Instruction, what: str, name: str) -> EmulationError:
    return EmulationError(
        what,
        where=f"{instruction.where}, field {name}",
        why="what the chip does then is not proven",
    )


def _issue(planner: Planner, instruction: Instruction) -> None:
    name = instruction.layout.name
    planner.checker.issued(instruction)
    if instruction["gate"]:
        raise EmulationError(
            "a predicated instruction",
            where=f"{instruction.where}, field gate",
            why="no known compiler emits one",
        )
    if name == "scalar.sync":
        planner.scalar_sync(instruction)
        return
    make = _TASKS.get(name)
    if make is None:
        raise EmulationError(
            f"the instruction {name}",
            where=f"{instruction.where}, field opcode",
            why="what it computes is not proven",
        )
    planner.order += 1
    planner.add_work(work_of(instruction), instruction.where)
    task = make(instruction, planner.order)
    task.begin(planner)
    planner.issue(task)


# The counts of each walk that an instruction can have.
_COUNTS = [
    [f"{prefix}cnt{k}" for k in range(dims)]
    for prefix, dims in (("", 4), ("n_", 6), ("w_", 4), ("o_", 4), ("i_", 4))
]
# Instruction -> those of these fields that it has, for each of its walks.
_COUNTS_OF = {
    layout.name: [
        [each for each in names if each in there]
        for names in _COUNTS
        if not there.isdisjoint(names)
    ]
    for layout in LAYOUTS.values()
    for there in [{each.name for each in layout.fields}]
}


def work_of(instruction: Instruction) -> int:
    """The iterations of an instruction's longest nest, counted before the nest is expanded."""
    if instruction.layout.unit == "op" and instruction.layout.name != "nlu.load":
        return product([instruction[f"loop{k}"] + 1 for k in range(8)])
    fields = instruction.fields
    walks = _COUNTS_OF[instruction.layout.name]
    return max([product([fields[name] + 1 for name in names]) for names in walks], default=1)


class _ScalarRuns:
    """Collects bundles; executes those that no input can change, makes a step of the others."""

    def __init__(self, planner: Planner, transfers: Transfers) -> None:
        self.planner, self.transfers = planner, transfers
        self.run: list[Instruction] = []
        self.state = ScalarState()
        self.depends = False
        self.loop_end = -1  # last pc of a hardware loop in the run

    def take(self, instruction: Instruction) -> None:
        """Add an instruction to the run."""
        if instruction.layout.name == "loop":
            self.loop_end = max(self.loop_end, instruction.pc + instruction["body"])
        if instruction.layout.name in {"alu", "loop", "branch"}:
            self.run.append(instruction)

    def decides(self, branch: Instruction) -> bool:
        """Whether a branch does not depend on inputs and is not part of a hardware loop."""
        if self.run and branch.pc <= self.loop_end:
            return False
        self.flush()
        return not self.depends

    def branch(self, instruction: Instruction) -> int:
        """Return the pc where the program continues after a branch."""
        if instruction["cond"] not in {0, _ON_PREDICATE}:
            raise _stop(instruction, f"a branch on condition {instruction['cond']}", "cond")
        taken = instruction["cond"] == 0 or self.state.predicates[0]
        return instruction.pc + (instruction["offset"] if taken else 1)

    def with_registers(self, instruction: Instruction) -> Instruction:
        """Return the instruction with its address and tiles replaced by scalar register values."""
        fields = instruction.fields
        changed = {}
        if fields.get("n_addr_reg_en"):
            changed["n_addr"] = 4 * self._register(instruction, "n_addr_reg")
        if fields.get("tiles_reg_en"):
            changed["tiles"] = self._register(instruction, "tiles_reg")
        if not changed:
            if fields.get("n_addr_reg") or fields.get("tiles_reg"):
                raise _stop(instruction, "a register that nothing enables", "tiles_reg")
            return instruction
        return replace(instruction, fields={**fields, **changed})

    def _register(self, instruction: Instruction, name: str) -> int:
        if self.depends:
            raise _stop(instruction, "a register that inputs can change", name)
        return self.state.registers[instruction[name]]

    def flush(self) -> None:
        """End the run: execute it, or add it to the plan as a step."""
        if not self.run:
            return
        step = ScalarStep(self.run)
        self.planner.add_work(_BUNDLE_WORK * step.num_bundles, self.run[0].where)
        self.run, self.loop_end = [], -1
        start = (list(self.state.registers), list(self.state.predicates))
        words = step.execute(self.state)
        self.planner.descriptors += step.descriptors
        self.planner.streams = self.transfers.extended(
            self.planner.streams, self.planner.descriptors
        )
        if not step.touches_data and not self.depends:
            return
        if not self.depends:
            step.start = start
        self.depends = self.depends or self.planner.memory_has_data
        if self.depends and any("outfeed" in task.units for task in self.planner.pending):
            raise EmulationError(
                "scalar memory is read while a transfer into it is under way",
                where=step.instructions[0].where,
            )
        step.first_byte = self.planner.output_bytes
        self.planner.output_bytes += 4 * len(words)
        self.planner.add(step)


def _write_back(planner: Planner) -> None:
    places, numbers = planner.wide.replaced(unread=planner.is_caching)
    if not len(places):
        return
    is_replaced = np.zeros(NUM_TILES * WIDE_ROWS + 1, bool)  # the last one stands for new rows
    is_replaced[places] = True
    for step in planner.steps:
        if isinstance(step, OpStep) and step.reads_any(is_replaced):
            step.constant = False  # the next inference reads what this one leaves there
    planner.add(WriteBack(places, numbers))
