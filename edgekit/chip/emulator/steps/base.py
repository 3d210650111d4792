# SPDX-License-Identifier: Apache-2.0
"""The base of the steps of all ops: their rows, and weights that are prepared only once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, TypeVar, cast

import numpy as np

from edgekit.chip.arithmetic.requantize import Requantization
from edgekit.chip.arithmetic.spline import Spline
from edgekit.chip.emulator.nest import Nest
from edgekit.chip.emulator.plan import Step
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.steps.gather import Gather, Output
from edgekit.chip.emulator.steps.shape import shape_of
from edgekit.chip.isa.access import WORDS
from edgekit.chip.isa.walks import as_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

_T = TypeVar("_T")
_BATCH_VALUES = 1 << 18  # activations converted at a time
_ROW_LANES = 4
_LARGE_BYTES = 1 << 16
_MANY_CHANGES = 4  # of rows that are not constant: after so many, prepared weights are not kept


def as_slice(rows: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Return row numbers as a slice if they follow each other: a list of a million needs 8 MB."""
    if not len(rows) or rows[-1] - rows[0] != len(rows) - 1 or (np.diff(rows) != 1).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)


@dataclass(frozen=True)
class Weights:
    """The rows an op reads, and the header rows of each group."""

    rows: NDArray[np.int64]
    streamed: bool  # whether the rows are those of a stream, or those that stay in wide memory
    headers: NDArray[np.int64]  # (groups, rows of a set)
    constant: bool  # whether rows and headers are the same in every inference

    @property
    def key(self) -> bytes:
        """A key that is equal for tiles that compute with the same rows."""
        return self.rows.tobytes() + self.headers.tobytes()


class Layout:
    """What the steps of an op have in common: the shape of its nest, its sources and targets."""

    def __init__(self, nest: Nest, index: NDArray[np.int64]) -> None:
        """Lay out ``nest``; ``index`` is the place of each step's row among those of `Weights`."""
        lanes: NDArray[np.int64] | int = nest.lanes if nest.access.lanes else 0
        self.shape = shape_of(nest, index * _ROW_LANES + lanes)
        sets = 1 if self.shape.shares_input else self.shape.sizes[0]
        # Four channels with weights of their own: the weight sets are innermost, in long runs.
        self.sets_inside = nest.access is WORDS and nest.channels == _ROW_LANES and sets > 1
        emissions = self.shape.emissions
        self.emissions = emissions.T if self.sets_inside else emissions
        self.output = Output(nest, self.emissions)
        self.gather = Gather([], words=False)  # none, or streamed copies: see `Gather.of_chunks`
        if nest.access.activation_bytes and not nest.chunked:
            self.gather = Gather.of_memory(nest, self.shape, inside=self.sets_inside)
        self.access_bytes = nest.access.activation_bytes
        self.is_wide = nest.access.activations == "u2"
        activations = sets * self.shape.sizes[1] * self.shape.sizes[2]
        values = activations * max(self.access_bytes, 1)
        self.num_values = max(1, values, emissions.size * nest.channels)  # of a tile
        self._once: dict[object, Any] = {}

    def once(self, key: object, make: Callable[[], _T]) -> _T:
        """Return what ``make`` returns; it is called once for each ``key``.

        Tiles with different weights are different steps of one layout: without this, a large
        program would store the addresses of each up to sixteen times.
        """
        if key not in self._once:
            self._once[key] = make()
        return cast("_T", self._once[key])


class OpStep(Step):
    """The base of all classes of ops."""

    def __init__(
        self,
        nest: Nest,
        tiles: list[int],
        layout: Layout,
        weights: Weights,
        gather: Gather,
        spline: Spline | None = None,
    ) -> None:
        self.pc = nest.instruction.pc
        self.instruction = nest.instruction
        self.tiles, self.gather, self.layout = tiles, gather, layout
        self.tile_numbers = np.array(tiles)
        self.channels = nest.channels
        self.rows, self.headers = as_slice(weights.rows), weights.headers
        self.shape, self.output = layout.shape, layout.output
        self.used, self.sets_inside = layout.shape.used, layout.sets_inside
        self.access = nest.access
        self.requantization = Requantization(
            as_float(nest.instruction["clamp_min"]),
            as_float(nest.instruction["clamp_max"]),
            nest.instruction["out_zp"],
            nest.instruction["nlu"],
            spline,
            bool(nest.instruction["odd"]),
        )
        self.multiplier = as_float(nest.instruction["mult"])
        self.constant = weights.constant
        # The rows' content and the prepared weights, in one object because threads share a plan.
        self._kept: tuple[bytes, Any] | None = None
        self._changes = 0
        self.batch = max(1, _BATCH_VALUES // layout.num_values)

    @property
    def emission_order(self) -> NDArray[np.int64]:
        """The place in program order of each emission, as `compute` returns them."""
        return self.layout.emissions.reshape(-1)

    def reads_any(self, flags: NDArray[np.bool_]) -> bool:
        """Whether one of its weight rows has a flag; the last flag stands for all later rows."""
        if not isinstance(self.rows, slice):
            return bool(flags.take(self.rows, mode="clip").any())
        return bool(flags[self.rows].any() or (self.rows.stop > len(flags) and flags[-1]))

    def run(self, state: State) -> None:
        """Gather, compute and scatter, a few tiles at a time."""
        self.run_prepared(state, self.prepared(state))

    def run_prepared(self, state: State, prepared: Any) -> None:  # noqa: ANN401
        """Run with the weights that `prepared` has returned."""
        for first in range(0, len(self.tiles), self.batch):
            tiles = self.tiles[first : first + self.batch]
            stored = self.compute(state, prepared, tiles, first)
            if state.observer is not None:
                state.observer(self, tiles, stored)
            self.output.write(state, tiles, stored)

    def compute(
        self,
        state: State,
        prepared: Any,  # noqa: ANN401
        tiles: list[int],
        first: int,
    ) -> NDArray[np.uint8]:
        """Return the bytes to store: one row for each tile."""
        raise NotImplementedError

    def prepare(self, rows: NDArray[np.uint8], headers: NDArray[np.uint8]) -> Any:  # noqa: ANN401
        """Return the weights in the form that `compute` needs."""
        raise NotImplementedError

    def prepared(self, state: State) -> Any:  # noqa: ANN401
        """Return the prepared weights; prepare them again if the rows have changed."""
        kept = self._kept
        if kept is not None and self.constant:
            return kept[1]
        rows, headers = state.rows[self.rows], state.rows[self.headers]
        content = b"" if self.constant else rows.tobytes() + headers.tobytes()
        if kept is None or kept[0] != content:
            kept = content, self.prepare(rows, headers)
            self._changes += 1
            # Large or changing rows are activations, which differ in the next inference.
            is_small = self.channels > _ROW_LANES or len(content) < _LARGE_BYTES
            if self.constant or (is_small and self._changes < _MANY_CHANGES):
                self._kept = kept
        return kept[1]
