# SPDX-License-Identifier: Apache-2.0
"""Address generators: from an instruction's increments to strides, grids and addresses.

A generator is a nest of (increment, iterations - 1), innermost first. One step finds the innermost
level that is not at its end, advances it, resets the levels inside it and adds its increment. So
``stride_k = inc_k + sum over j < k of stride_j * cnt_j``.

Source: tinycoral, docs/isa/op.md ("How a TTU works"); checked on every instruction of the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.limits import check_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP_BYTES = 128  # while addresses are computed, compared and cut
_FEW_STEPS = 1 << 12  # fit into any memory


@dataclass(frozen=True)
class Walk:
    """A base address and a nest of (stride, count), innermost first, in the unit of the memory."""

    base: int
    strides: tuple[int, ...]
    counts: tuple[int, ...]
    instruction: Instruction | None = None  # with the prefix of its fields, for error messages
    prefix: str = ""

    @property
    def where(self) -> str:
        """Its place for an error message."""
        of = self.instruction
        return "" if of is None else f"{of.where}, fields {self.prefix}cnt0 and on"

    @property
    def num_steps(self) -> int:
        """The number of addresses."""
        return product(self.counts)

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest address."""
        low = high = self.base
        for stride, count in zip(self.strides, self.counts):
            if stride < 0:
                low += stride * (count - 1)
            else:
                high += stride * (count - 1)
        return low, high

    def addresses(self) -> NDArray[np.int64]:
        """Return every address in order, int64.

        Raises:
            EmulationError: The machine has no memory for so many.
        """
        if self.num_steps > _FEW_STEPS:
            check_memory(self.num_steps, STEP_BYTES, "steps in a walk", self.where)
        address: NDArray[np.int64] | None = None
        for stride, count in zip(self.strides, self.counts):
            if count > 1:
                steps = np.arange(count, dtype=np.int64) * stride
                if address is None:
                    address = steps + self.base
                else:
                    address = (steps[:, None] + address).reshape(-1)
        return np.array([self.base], np.int64) if address is None else address

    def grid(self) -> NDArray[np.int64]:
        """Return the addresses with one axis for each level, outermost first."""
        return self.addresses().reshape(self.counts[::-1])


def coarse_walk(
    instruction: Instruction, prefix: str, dims: int, base: int, *, unit: int = 1
) -> Walk:
    """Return the walk of a DMA; ``unit`` scales its increments."""
    fields = instruction.fields
    increments = [unit * fields[name] for name in _names(f"{prefix}inc", dims)]
    counts = [fields[name] for name in _names(f"{prefix}cnt", dims)]
    return _walk(instruction, prefix, base, increments, counts)


def fine_walk(instruction: Instruction, prefix: str) -> Walk:
    """Return the walk of an op: bytes of narrow memory, 64-byte units of wide memory."""
    fields = instruction.fields
    names = zip(_names(f"{prefix}inc", 8), _names(f"{prefix}lo", 8))
    increments = [4 * fields[whole] + fields[part] for whole, part in names]
    counts = [fields[name] for name in _names(f"{prefix}cnt", 8)]
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
    counts = tuple([last + 1 for last in lasts])
    return Walk(base, tuple(strides), counts, instruction, prefix)


@lru_cache(maxsize=None)  # of a few prefixes
def _names(prefix: str, dims: int) -> tuple[str, ...]:
    """The fields of each level."""
    return tuple(f"{prefix}{k}" for k in range(dims))


def has_short_group(instruction: Instruction, prefix: str = "") -> bool:
    """Whether the last group of a DMA's walk is short."""
    return bool(instruction[f"{prefix}group"] or instruction[f"{prefix}group_stride"])


def as_float(bits: int) -> np.float32:
    """The float32 whose bits are the integer ``bits``."""
    return np.uint32(bits & 0xFFFFFFFF).view(np.float32)


def product(values: Sequence[int]) -> int:
    """The product of ``values``; 1 if there are none."""
    result = 1
    for value in values:
        result *= value
    return result
