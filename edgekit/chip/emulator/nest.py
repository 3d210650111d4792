# SPDX-License-Identifier: Apache-2.0
"""The loop nest of an op: its walks over activations, weight rows and results.

Loop levels in the reduction mask are summed (in any order: the sum is exact); the others
count emissions. Each address generator has its own nest; only the order of its steps matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

import numpy as np

from edgekit.chip.arithmetic.spline import APPLY, ODD, WIDE
from edgekit.chip.emulator.grid import Addresses, common_grid, straight
from edgekit.chip.isa.access import access_of
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.errors import EmulationError, not_proven
from edgekit.chip.isa.memories import NARROW_BYTES, ROW_UNITS
from edgekit.chip.isa.walks import Walk, fine_walk, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CONSUMES_FILL = 5  # cfg1: first bit of the level whose iterations each take a fill
_NEXT_SET = 4  # sync2: first bit of the level whose iterations each take a set of scaling rows


class Nest:
    """The loop nest of an op instruction; only this class reads the instruction's fields.

    Raises:
        EmulationError: A field has a value whose meaning is not proven.
    """

    def __init__(self, instruction: Instruction) -> None:
        self.instruction = instruction
        access = access_of(instruction)
        if access is None:
            cfg2, cfg3 = instruction["cfg2"], instruction["cfg3"]
            raise self.stop(f"an op of the class cfg2={cfg2:#x}, cfg3={cfg3:#x}", "cfg2")
        self.access = access
        if instruction["odd"] and (instruction["odd"] != ODD or not instruction["nlu"] & APPLY):
            raise self.stop(f"an odd function of kind {instruction['odd']}", "odd")
        self.loops = tuple(instruction[f"loop{k}"] + 1 for k in range(8))
        self.steps = product(self.loops)
        self.channels = instruction["channels"] + 1
        self.value_bytes = 2 if instruction["nlu"] & WIDE else 1
        self.valid = self._valid_steps()
        if instruction["in_last"] and self.valid is None:
            raise self.stop("a partial last round of activations alone", "in_last")
        self.num_steps = self.steps if self.valid is None else int(self.valid.sum())
        self.has_zero_rows = bool(instruction["cfg3"] & 8)
        self.has_scaling = bool(instruction["bias"] or instruction["per_channel"])
        level = instruction["group_level"]
        has_headers = self.has_scaling or self.has_zero_rows
        self.groups = product(self.loops[level:]) if level and has_headers else 1
        par, activations = fine_walk(instruction, "par_"), fine_walk(instruction, "in_")
        walks = [walk for walk in (par, activations) if walk.num_steps == self.steps]
        self.grid = common_grid(self.loops, walks)
        self._held: list[NDArray[np.int64]] = []
        self.written: frozenset[int] = frozenset()  # wide rows that receive sums
        self.narrow_written: tuple[int, int] | None = None  # first byte, end
        self._read_out()
        self._read_par(par)
        self._read_in(activations)
        if self.access.sums:
            self._read_sums()

    def stop(self, what: str, field_name: str, why: str = "") -> EmulationError:
        """See `not_proven`."""
        return not_proven(self.instruction, what, field_name, why)

    def shared(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ``values``, or an equal array that an earlier step of this op already stores.

        Tiles with different weights are different steps, but their walks over memory are equal:
        without this, a large program would store each walk up to sixteen times.
        """
        for held in self._held:
            if np.array_equal(held, values):
                return held
        self._held.append(values)
        return values

    # -- the three walks

    def _valid_steps(self) -> NDArray[np.bool_] | None:
        """Return which steps of the full nest are executed; None for all of them.

        Loop 0 may be shorter in the last round of a level.
        """
        level = self.instruction["last_loop_mode"]
        if not level:
            return None
        position = np.arange(self.steps)
        inner = position % self.loops[0]
        round_of = position // product(self.loops[:level]) % self.loops[level]
        last = round_of == self.loops[level] - 1
        happens: NDArray[np.bool_] = ~(last & (inner > self.instruction["last_loop"]))
        return happens

    def _spread(self, addresses: NDArray[np.int64], name: str) -> NDArray[np.int64]:
        """Return the addresses of a walk for every step of the full nest."""
        if len(addresses) == self.steps:
            return addresses
        if len(addresses) == 1:
            return np.broadcast_to(addresses, (self.steps,))
        if self.valid is not None and len(addresses) == self.num_steps:
            position: NDArray[np.int64] = np.maximum(np.cumsum(self.valid) - 1, 0)
            return addresses[position]
        raise self.stop(f"a walk of {len(addresses)} steps, the nest has {self.num_steps}", name)

    def _read_out(self) -> None:
        self.out = fine_walk(self.instruction, "out_")
        words = self.channels * self.value_bytes // 4
        if not words:
            raise self.stop(f"{self.channels} channels are not whole words", "channels")
        self.reduced = self._reduced(self.out.num_steps // words)
        self.emitting = [k for k in range(8) if k not in self.reduced and self.loops[k] > 1]
        self.num_emissions = (
            self.num_steps if not self.reduced else product([self.loops[k] for k in self.emitting])
        )
        addresses = self.out.addresses()
        if self.access.sums:
            addresses = np.zeros(self.num_emissions * words, np.int64)
        if len(addresses) != self.num_emissions * words:
            raise self.stop(
                f"{len(addresses)} words out, {self.num_emissions} emissions of {words}", "out_cnt0"
            )
        self.out_words = addresses.reshape(self.num_emissions, words)
        if not self.access.sums:
            low, high = self.out.span
            self._check_narrow(low, high + 4, "out_base")
            self.narrow_written = (low, high + 4)
        self.keep = self._kept_words()

    def _reduced(self, emissions: int) -> list[int]:
        """The levels that are summed: the mask's, or all below the emissions.

        Without a mask, or in additions of old compilers, whose mask leaves out the level of the
        operands, the number of words that are written shows which levels are summed.
        """
        reduce = self.instruction["reduce"]
        masked = [k for k in range(8) if reduce >> k & 1 and self.loops[k] > 1]
        left = product([self.loops[k] for k in range(8) if k not in masked])
        if emissions == (left if masked else self.num_steps) or self.valid is not None:
            return masked
        inner = 1
        for level in range(8):
            inner *= self.loops[level]
            if inner * emissions == self.steps and all(k <= level for k in masked):
                return [k for k in range(level + 1) if self.loops[k] > 1]
        return masked

    def _kept_words(self) -> NDArray[np.bool_] | None:
        """Return which words are written if the last channel group is short; None for all."""
        instruction = self.instruction
        level = instruction["out_last_mode"]
        if not level or not instruction["out_last_skip"]:
            return None
        words, counts = self.out_words.shape[1], self.out.counts
        if counts[0] != words:
            raise self.stop("a short last group whose words are not level 0", "out_last_mode")
        block = np.arange(self.num_emissions) // product(counts[1:level]) % counts[level]
        keep = np.ones((self.num_emissions, words), bool)
        keep[block == counts[level] - 1, instruction["out_last_cnt"] + 1 :] = False
        return keep

    def _on_grid(self, walk: Walk, name: str) -> Addresses:
        """Return the addresses of a walk for every step of the full nest."""
        grid = self.grid
        if walk.num_steps == 1:
            return Addresses(grid, walk.base, (0,) * len(grid.sizes))
        found = straight(grid, walk) if walk.num_steps == self.steps else None
        if found is not None:
            return found
        listed = self._spread(walk.addresses(), name).reshape(grid.sizes)
        return Addresses(grid, walk.base, (), listed)

    def _read_par(self, walk: Walk) -> None:
        """Read the walk over weights; arrays over steps lack the axes that do not change them."""
        instruction = self.instruction
        addresses = self._on_grid(walk, "par_cnt0").values()
        base = instruction["par_base"] // ROW_UNITS
        self.base_row = base
        rows, self.lanes = addresses // ROW_UNITS, addresses % ROW_UNITS
        if not self.access.lanes and self.lanes.any():
            raise self.stop("a weight row that starts inside a row of wide memory", "par_base")
        low, high = int(rows.min()), int(rows.max())
        there = np.zeros(high - low + 1, bool)
        there[rows - low] = True
        resident = np.flatnonzero(there)
        self.resident_rows = resident + low
        self.read = frozenset(self.resident_rows.tolist())
        # Place of each step's row among the resident ones.
        self.resident = (np.cumsum(there) - 1)[rows - low]
        # A stream is read in fills: one for each iteration of the levels from a given one up.
        self.par_rows = instruction["par_rows"] or high - base + 1
        self.stream_row = base if instruction["par_rows"] else -1
        level = instruction["cfg1"] >> _CONSUMES_FILL & 7
        self.fills = product(self.loops[level:])
        outer = [axis for axis, of in enumerate(self.grid.levels) if of >= level]
        fill = self.grid.index(outer)
        local = rows - base
        happens = local if self.valid is None else self.grid.full(local)[self.valid]
        if instruction["par_rows"] and (happens.min() < 0 or happens.max() >= self.par_rows):
            raise self.stop(
                f"weight rows {low - base} to {high - base} of a fill of {self.par_rows}",
                "par_rows",
            )
        self.is_above_base = low >= base  # else the rows are not a stream's
        inner = tuple(range(len(outer), len(self.grid.sizes)))
        first = local.min(axis=inner, keepdims=True)
        if instruction["par_rows"] and first.any():
            self._read_part_fills(local, fill, first, len(outer))
            return
        start = self._fill_starts(local, len(outer))
        self.num_rows = int(start[-1])
        self.streamed = np.minimum(local, np.diff(start)[fill] - 1) + start[fill]

    def _read_part_fills(
        self,
        local: NDArray[np.int64],
        fill: NDArray[np.int64],
        first: NDArray[np.int64],
        outer: int,
    ) -> None:
        """Read fills that are smaller than the buffer: each begins where the last one ended."""
        rows = int(local[(slice(0, 1),) * outer].max()) + 1
        follows = np.array_equal(np.broadcast_to(first, fill.shape), fill * rows % self.par_rows)
        if not follows or self.valid is not None:
            raise self.stop("fills that do not follow each other in their buffer", "par_inc0")
        self.num_rows = self.fills * rows
        self.streamed = fill * rows + local - first

    def _fill_starts(self, local: NDArray[np.int64], outer: int) -> NDArray[np.int64]:
        """Where in the stream each fill starts; a partial last round skips some of its rows.

        The fills are the places along the first ``outer`` axes.
        """
        last = local[tuple(slice(size - 1, None) for size in local.shape[:outer])]
        counts = np.full(self.fills, self.par_rows, np.int64)
        counts[-1] = last.max() + 1
        if self.valid is not None:
            used = self.grid.full(local).reshape(self.fills, -1)
            valid = self.valid.reshape(self.fills, -1)
            partial = np.where(valid, used, 0).max(1) + 1
            counts = np.where(valid.all(1), counts, partial)
        return np.concatenate([[0], np.cumsum(counts)])

    def _read_in(self, walk: Walk) -> None:
        instruction = self.instruction
        self.chunked = instruction["in_ring_bytes"] > 0
        self.activations = Addresses(self.grid, 0, (0,) * len(self.grid.sizes))
        self.num_chunks, self.chunk_of = 0, np.zeros(1, np.int64)
        if not self.access.activation_bytes:
            return
        self.activations = self._on_grid(walk, "in_cnt0")
        low, high = walk.span
        self._check_narrow(low, high + self.access.activation_bytes, "in_base")
        if self.chunked:
            levels = [k for k in range(8) if walk.counts[k] > 1 and not walk.strides[k]]
            level = levels[-1] if levels else 8
            self.num_chunks = walk.counts[level] if levels else 1
            inner = product(walk.counts[:level])
            chunk_of = np.arange(walk.num_steps) // inner % self.num_chunks
            self.chunk_of = self._spread(chunk_of, "in_cnt0")

    @property
    def in_addresses(self) -> NDArray[np.int64]:
        """The address of the activations of every step, in order."""
        return self.grid.full(self.activations.values())

    def ordered(self, axes: Sequence[int]) -> NDArray[np.int64]:
        """Return all steps as (places along ``axes`` in this order, the other steps there)."""
        rest = [axis for axis in range(len(self.grid.sizes)) if axis not in axes]
        steps = np.arange(self.steps).reshape(self.grid.sizes).transpose(*axes, *rest)
        return steps.reshape(product([self.grid.sizes[axis] for axis in axes]), -1)

    def _read_sums(self) -> None:
        """Read the row of wide memory to which each emission's sums are written."""
        addresses = self._spread(fine_walk(self.instruction, "psum_").addresses(), "psum_cnt0")
        if self.reduced or self.valid is not None:
            raise self.stop("sums of a reduction to wide memory", "reduce")
        rows = addresses // ROW_UNITS
        if (addresses % ROW_UNITS).any() or len(np.unique(rows)) != len(rows):
            raise self.stop("sums that share a row of wide memory", "psum_inc0")
        self.sum_rows = rows
        self.written = frozenset(rows.tolist())

    def _check_narrow(self, low: int, end: int, name: str) -> None:
        if low < 0 or end > NARROW_BYTES:
            raise self.stop(
                f"narrow memory bytes {low:#x} to {end:#x} of {NARROW_BYTES:#x}",
                name,
                "the address lies outside the tile's memory",
            )

    # -- its scaling sets

    def set_of_each_group(self, sets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one header set for each group, if fewer are loaded: (sets, rows of one).

        The scaling store has its own level at which it takes the next set: a softmax over channels
        has a set for each pixel, and its groups are words of channels.
        """
        if len(sets) == self.groups:
            return sets
        if (sets == sets[:1]).all():
            return np.repeat(sets[:1], self.groups, axis=0)  # the same set is loaded each time
        level = self.instruction["sync2"] >> _NEXT_SET & 7
        if level >= self.instruction["group_level"] and product(self.loops[level:]) == len(sets):
            return np.repeat(sets, self.groups // len(sets), axis=0)
        return sets

    def num_sets(self, num_rows: int) -> int:
        """The number of header sets in ``num_rows`` rows of the scaling store."""
        both = self.instruction["bias"] and self.instruction["per_channel"]
        return num_rows // 2 if both else num_rows
