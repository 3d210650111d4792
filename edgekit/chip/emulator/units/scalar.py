# SPDX-License-Identifier: Apache-2.0
"""The scalar core: runs of bundles and loops over 4,096 words of memory.

Source: tinycoral, docs/isa/scalar.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np

from edgekit.chip.emulator.plan import Step
from edgekit.chip.emulator.state import ScalarState, State
from edgekit.chip.emulator.units.scalar_bundle import Action, Core, bundle, stop, touches_data
from edgekit.chip.emulator.units.scalar_code import run_code, scalar_code
from edgekit.chip.isa.decode import Instruction

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BUNDLES = 1 << 24  # limit of one run; a softmax over 1,001 classes executes 57 thousand
_IF_PREDICATE = 17  # the condition of a branch that is taken if predicate 0 is set


class ScalarStep(Step):
    """A run of bundles, loops and branches with no other instruction between them.

    Raises:
        EmulationError: It contains an operation that is not proven, or would execute more than
            `MAX_BUNDLES` bundles.
    """

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self.instructions = tuple(instructions)
        self.first_byte = 0  # of its words for the host, in the output stream
        # Registers and predicates before it, if they do not depend on inputs.
        self.start: tuple[list[int], list[int]] | None = None
        self.descriptors: list[tuple[int, ...]] = []
        self.num_bundles = self._count(0, len(self.instructions))

    @property
    def touches_data(self) -> bool:
        """Whether its result depends on the inputs."""
        return any(touches_data(each) for each in self.instructions if each.layout.name == "alu")

    def _count(self, first: int, end: int) -> int:
        """The number of bundles executed from position ``first`` up to ``end``."""
        number, at = 0, first
        while at < end:
            instruction, at = self.instructions[at], at + 1
            number += 1
            if instruction.layout.name == "loop":
                inside = self._end_of(instruction, at, end)
                number += self._passes(instruction) * self._count(at, inside)
                at = inside
            if number > MAX_BUNDLES:
                raise stop(instruction, f"more than {MAX_BUNDLES} bundles", "count")
        return number

    @staticmethod
    def _passes(loop: Instruction) -> int:
        return max(loop["count"], 1)

    @staticmethod
    def _end_of(loop: Instruction, at: int, end: int) -> int:
        """Return the end of the body of ``loop``, which begins at ``at``."""
        inside = at + loop["body"]
        if inside == at or inside > end:
            raise stop(loop, f"a loop over {loop['body']} bundles, {end - at} follow", "body")
        if loop["gate"]:
            raise stop(loop, "a predicated loop", "gate")
        return inside

    def run(self, state: State) -> None:
        """Execute the run and store words for the host in the output."""
        if self.start is not None:
            state.registers[:], state.predicates[:] = self.start
        words = self._execute_compiled(state)
        if words is None:
            words = np.array(self.execute(state), np.uint32)
        if len(words):
            data = words.view(np.uint8)
            state.output[self.first_byte : self.first_byte + data.size] = data

    def _execute_compiled(self, state: State) -> NDArray[np.uint32] | None:
        """Execute by compiled code; return the words for the host, or None if there is none."""
        if state.kernels is None:
            return None
        if self not in state.coded:
            state.coded[self] = scalar_code(self.instructions)
        code = state.coded[self]
        return None if code is None else run_code(state, code, self.num_bundles)

    def execute(self, state: ScalarState) -> list[int]:
        """Execute and return the words for the host, as 32-bit patterns."""
        if self not in state.compiled:
            core = Core(state.registers, state.predicates, state.scalar)
            state.compiled[self] = core, self._decoded(core, 0, len(self.instructions))
        core, actions = state.compiled[self]
        core.host.clear()
        core.issued.clear()
        core.descriptor[:] = [0] * 4
        with np.errstate(all="ignore"):  # infinities are values
            for action in actions:
                action()
        self.descriptors = list(core.issued)
        return list(core.host)

    def _decoded(self, core: Core, first: int, end: int) -> list[Action]:
        """Return the bundles as functions; a loop is one function."""
        actions: list[Action] = []
        at = first
        while at < end:
            instruction, at = self.instructions[at], at + 1
            if instruction.layout.name == "alu":
                actions.append(bundle(instruction, core))
            elif instruction.layout.name == "branch":
                actions.append(_not_taken(instruction, core))
            else:
                inside = self._end_of(instruction, at, end)
                body = self._decoded(core, at, inside)
                actions.append(_repeated(body, self._passes(instruction)))
                at = inside
        return actions


def _repeated(body: list[Callable[[], None]], passes: int) -> Action:
    def loop() -> None:
        for _ in range(passes):
            for action in body:
                action()

    return loop


def _not_taken(branch: Instruction, core: Core) -> Action:
    def check() -> None:
        if core.predicates[0] or branch["cond"] != _IF_PREDICATE:
            raise stop(branch, "a branch that is taken", "offset")

    return check
