# SPDX-License-Identifier: Apache-2.0
"""Pools as steps, and the choice of an op's kind of step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.chip.arithmetic.spline import Spline
from edgekit.chip.emulator.nest import Nest
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.steps.base import Layout, OpStep, Weights
from edgekit.chip.emulator.steps.gather import Gather
from edgekit.chip.emulator.steps.mac import MacStep

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROW_CHANNELS, _ROW_LANES = 64, 4


class PoolStep(OpStep):
    """Maximum or sum over byte lanes of wide rows: each step reads one lane, 64 channels."""

    def prepare(self, rows: NDArray[np.uint8], headers: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the reduced values, which depend only on the rows."""
        del headers
        cells = rows.reshape(-1, _ROW_CHANNELS, _ROW_LANES)
        if self.access.weights == "pair":
            pairs = np.ascontiguousarray(cells).view(np.uint16)
            both = pairs[self.used // _ROW_LANES, : self.channels].astype(np.int64)
            sums: NDArray[np.int64] = both.sum((1, 3))
            return np.asarray(sums - 2 * self.used.shape[1] * self.instruction["w_zp"])
        taken = cells[self.used // _ROW_LANES, : self.channels, self.used % _ROW_LANES]
        if self.instruction.layout.name == "op.max":
            return np.asarray(taken.max(1), np.int64)
        total: NDArray[np.int64] = taken.astype(np.int64).sum(1)
        return np.asarray(total - self.used.shape[1] * self.instruction["w_zp"])

    def compute(
        self, state: State, prepared: NDArray[Any], tiles: list[int], first: int
    ) -> NDArray[np.uint8]:
        """See `OpStep`."""
        del state, first
        sets, positions = self.shape.emissions.shape
        total = (prepared + self.instruction["offset"]).astype(np.float32)
        stored = self.requantization.apply(total, self.multiplier)
        spread = np.broadcast_to(
            stored[None, :, None], (len(tiles), sets, positions, stored.shape[-1])
        )
        return np.ascontiguousarray(spread)


def make_step(
    nest: Nest,
    tiles: list[int],
    layout: Layout,
    weights: Weights,
    gather: Gather,
    spline: Spline | None,
) -> OpStep:
    """Return the step for ``nest`` on tiles that use the same weights."""
    kind = MacStep if nest.access.activation_bytes else PoolStep
    step = kind(nest, tiles, layout, weights, gather, spline)
    if kind is PoolStep and step.shape.there is not None:
        raise nest.stop("a partial last round that shortens some sums of a pool", "last_loop")
    return step
