# SPDX-License-Identifier: Apache-2.0
"""Address generators: from an instruction's increments to strides, grids and addresses.

A generator is a nest of (increment, iterations - 1), innermost first. One step finds the innermost
level that is not at its end, advances it, resets the levels inside it and adds its increment. So
``stride_k = inc_k + sum over j < k of stride_j * cnt_j``.

Source: tinycoral, docs/isa/op.md ("How a TTU works"); checked on every instruction of the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.limits import check_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEP_BYTES = 128  # while addresses are computed, compared and cut


@dataclass(frozen=True)
class Walk:
    """A base address and a nest of (stride, count), innermost first, in the unit of the memory."""

    base: int
    strides: tuple[int, ...]
    counts: tuple[int, ...]
    where: str = ""  # for an error message

    @property
    def num_steps(self) -> int:
        """The number of addresses."""
        steps = 1
        for count in self.counts:
            steps *= count
        return steps

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest address."""
        ends = [stride * (count - 1) for stride, count in zip(self.strides, self.counts)]
        return self.base + sum(min(end, 0) for end in ends), self.base + sum(
            max(end, 0) for end in ends
        )

    def addresses(self) -> NDArray[np.int64]:
        """Return every address in order, int64.

        Raises:
            EmulationError: The machine has no memory for so many.
        """
        check_memory(self.num_steps, _STEP_BYTES, "steps in a walk", self.where)
        address = np.array([self.base], np.int64)
        for stride, count in zip(self.strides, self.counts):
            if count > 1:
                steps = np.arange(count, dtype=np.int64) * stride
                address = (steps[:, None] + address[None, :]).reshape(-1)
        return address

    def grid(self) -> NDArray[np.int64]:
        """Return the addresses with one axis for each level, outermost first."""
        return self.addresses().reshape(self.counts[::-1])


def coarse_walk(
    instruction: Instruction, prefix: str, dims: int, base: int, *, unit: int = 1
) -> Walk:
    """Return the walk of a DMA; ``unit`` scales its increments."""
    fields = instruction.fields
    increments = [unit * fields[f"{prefix}inc{k}"] for k in range(dims)]
    counts = [fields[f"{prefix}cnt{k}"] for k in range(dims)]
    return _walk(instruction, prefix, base, increments, counts)


def fine_walk(instruction: Instruction, prefix: str) -> Walk:
    """Return the walk of an op: bytes of narrow memory, 64-byte units of wide memory."""
    fields = instruction.fields
    increments = [4 * fields[f"{prefix}inc{k}"] + fields[f"{prefix}lo{k}"] for k in range(8)]
    counts = [fields[f"{prefix}cnt{k}"] for k in range(8)]
    return _walk(instruction, prefix, fields[f"{prefix}base"], increments, counts)


def _walk(
    instruction: Instruction,
    prefix: str,
    base: int,
    increments: Sequence[int],
    lasts: Sequence[int],
) -> Walk:
    strides, rewind = [], 0
    for increment, last in zip(increments, lasts):
        strides.append(increment + rewind)
        rewind += strides[-1] * last
    where = f"{instruction.where}, fields {prefix}cnt0 and on"
    return Walk(base, tuple(strides), tuple(last + 1 for last in lasts), where)


def as_float(bits: int) -> np.float32:
    """The float32 whose bits are the integer ``bits``."""
    return np.uint32(bits & 0xFFFFFFFF).view(np.float32)


def product(values: Sequence[int]) -> int:
    """The product of ``values``; 1 if there are none."""
    result = 1
    for value in values:
        result *= value
    return result
