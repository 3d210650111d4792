# SPDX-License-Identifier: Apache-2.0
"""The base of the steps of all ops: their rows, and weights that are prepared only once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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

_BATCH_VALUES = 1 << 21  # activations converted at a time
_ROW_LANES = 4
_LARGE_BYTES = 1 << 16
_MANY_CHANGES = 4  # of rows that are no constants: their weights are not kept any more


@dataclass(frozen=True)
class Weights:
    """The rows an op reads, which of them each step reads, and the header rows of each group."""

    rows: NDArray[np.int64]
    index: NDArray[np.int64]  # one for each step, into ``rows``
    headers: NDArray[np.int64]  # (groups, rows of a set)
    constant: bool  # whether rows and headers are the same in every inference

    @property
    def key(self) -> bytes:
        """A key that is equal for tiles that compute with the same rows."""
        return self.rows.tobytes() + self.headers.tobytes()


class OpStep(Step):
    """The base of all classes of ops."""

    def __init__(
        self,
        nest: Nest,
        tiles: list[int],
        gather: Gather,
        weights: Weights,
        output: Output,
        spline: Spline | None = None,
    ) -> None:
        self.pc = nest.instruction.pc
        self.instruction = nest.instruction
        self.tiles, self.gather, self.output = tiles, gather, output
        self.channels = nest.channels
        self.rows, self.headers = weights.rows, weights.headers
        lanes = np.broadcast_to(nest.lanes, (nest.steps,)) if nest.access.lanes else 0
        used = weights.index * _ROW_LANES + lanes
        self.shape = shape_of(nest, used)
        self.used = used[self.shape.order[:, 0]].astype(np.int32)  # (weight sets, reduction)
        order = self.shape.order[:1] if self.shape.shares_input else self.shape.order
        # Four channels with weights of their own: the weight sets are innermost, in long runs.
        self.sets_inside = nest.access is WORDS and nest.channels == _ROW_LANES and len(order) > 1
        emissions = self.shape.emissions
        if self.sets_inside:
            order, emissions = order.transpose(2, 1, 0), emissions.T
        if nest.access.activation_bytes:
            gather.prepare(nest, order)
        output.prepare(nest, emissions)
        # Only its shape is needed from here on: a large model has ten million steps.
        no_memory = np.broadcast_to(np.int64(0), self.shape.order.shape)
        emissions = nest.shared(emissions)
        self.shape = replace(self.shape, order=no_memory, emissions=emissions)
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
        values = max(
            1, order.size * max(self.gather.size, 1), self.shape.emissions.size * self.channels
        )
        self.batch = max(1, _BATCH_VALUES // values)

    @property
    def emission_order(self) -> NDArray[np.int64]:
        """The place in program order of each emission, as `compute` returns them."""
        return self.shape.emissions.reshape(-1)

    def run(self, state: State) -> None:
        """Gather, compute and scatter, a few tiles at a time."""
        prepared = self.prepared(state)
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
