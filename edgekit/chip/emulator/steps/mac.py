# SPDX-License-Identifier: Apache-2.0
"""Ops as steps: gather activations, multiply by weight rows, requantize, scatter.

Weight rows are prepared once (zero point subtracted, transposed, float32 if sums stay exact) and
reused while their bytes do not change; cached parameters never change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.chip.arithmetic.requantize import EXACT_FLOAT32
from edgekit.chip.emulator.nest import Nest
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.steps.base import Layout, OpStep, Weights
from edgekit.chip.emulator.steps.fused import Fused, fused
from edgekit.chip.emulator.steps.products import Prepared, positions_of_run, sum_products
from edgekit.chip.isa.access import WORDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROW_CHANNELS, _ROW_LANES = 64, 4
_MAX_SPLITS = 4  # at most; float32 products are then summed in float64


class MacStep(OpStep):
    """Activations times weights."""

    _fused: tuple[Prepared, Fused | None] | None = None  # of the last prepared weights

    def run(self, state: State) -> None:
        """See `OpStep`; by compiled code if there is any, and no observer of the results."""
        if state.kernels is None or state.observer is not None:
            super().run(state)
            return
        prepared: Prepared = self.prepared(state)
        if self._kept is None or self._kept[1] is not prepared:  # others in the next inference
            self.run_prepared(state, prepared)
            return
        kept = self._fused
        if kept is None or kept[0] is not prepared:
            made = fused(self.layout, self.gather, self.requantization, prepared)
            kept = self._fused = prepared, made
        if kept[1] is None:
            self.run_prepared(state, prepared)
        else:
            kept[1].run(state, self.tile_numbers, self.batch)

    @property
    def compiled(self) -> Fused | None:
        """The step for compiled code; None if it has not run, or if only numpy computes it."""
        return self._fused[1] if self._fused else None

    def prepare(self, rows: NDArray[np.uint8], headers: NDArray[np.uint8]) -> Prepared:
        """Return weights minus their zero point, and the bias with all constants folded in."""
        fields = self.instruction.fields
        weights = self._matrix(rows)  # (sets, reduction, channels)
        bias, multiplier, zero_points = self._headers(headers)
        weights = weights - zero_points[:, None, :]
        if self.shape.there is not None:
            happens = np.repeat(self.shape.there, weights.shape[1] // self.used.shape[1], axis=1)
            weights = weights * happens[:, :, None]
        bias = bias + fields["offset"] - fields["in_zp"] * weights.sum(1)
        whole = self._bound(weights)
        splits, dtype = self._splits(weights, whole)
        ends = [weights.shape[1] * (k + 1) // splits for k in range(splits)]
        total = whole + float(np.abs(bias).max())
        kind = self._kind(weights, bias, multiplier)
        matrices: tuple[NDArray[Any], ...]
        if kind == "diagonal":
            exact = whole < EXACT_FLOAT32
            matrices = (self._diagonal(weights).astype(np.float32 if exact else np.float64),)
            if self.sets_inside:
                matrices, bias, multiplier = self._long_runs(matrices[0], bias, multiplier)
        else:
            starts = [0, *ends[:-1]]
            stacked = weights
            if self.shape.shares_input:
                stacked = weights.transpose(1, 0, 2).reshape(1, weights.shape[1], -1)
            matrices = tuple(
                np.ascontiguousarray(stacked[:, start:end]).astype(dtype)
                for start, end in zip(starts, ends)
            )
        constants = bias.astype(np.float32 if total < EXACT_FLOAT32 else np.float64)
        return Prepared(kind, matrices, tuple(ends), constants, multiplier)

    def _bound(self, weights: NDArray[np.float64]) -> float:
        """An upper bound of every partial sum of the products, for all activations."""
        highest = 255 if self.access.activations == "u1" else 65535
        positive, negative = np.maximum(weights, 0).sum(1), np.maximum(-weights, 0).sum(1)
        return highest * max(float(positive.max()), float(negative.max()))

    def _splits(self, weights: NDArray[np.float64], whole: float) -> tuple[int, type]:
        """Return the number of splits that keep float32 products exact; else one, with float64.

        ``whole`` is the bound of all weights.
        """
        length = weights.shape[1]
        if whole < EXACT_FLOAT32:
            return 1, np.float32
        for splits in range(2, min(_MAX_SPLITS, length) + 1):
            ends = [length * k // splits for k in range(splits + 1)]
            parts = [weights[:, start:end] for start, end in zip(ends, ends[1:])]
            if all(self._bound(part) < EXACT_FLOAT32 for part in parts):
                return splits, np.float32
        return 1, np.float64

    def _matrix(self, rows: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Weights as (sets, elements of the reduction, channels)."""
        row, lane = self.used // _ROW_LANES, self.used % _ROW_LANES
        cells = rows.reshape(-1, _ROW_CHANNELS, _ROW_LANES)
        if self.access.weights == "lane":
            return cells[row, : self.channels, lane].astype(np.float64)
        if self.access.weights == "half":
            halves = np.ascontiguousarray(cells).view(np.uint16)
            return halves[row, : self.channels, lane // 2].astype(np.float64)
        elements: NDArray[Any] = cells
        if self.access.weights == "pair":
            elements = np.ascontiguousarray(cells).view(np.int16)
        taken = elements[row, : self.channels, : self.access.per_step]
        return taken.transpose(0, 1, 3, 2).reshape(len(row), -1, self.channels).astype(np.float64)

    def _headers(
        self, headers: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32] | np.float32, NDArray[np.float64]]:
        """Bias, multiplier and weight zero point of each weight set and channel."""
        fields, sets = self.instruction.fields, len(self.used)
        channels = slice(0, self.channels)
        bias = np.zeros((sets, self.channels))
        zero_points = np.full((sets, self.channels), float(fields["w_zp"]))
        multiplier: NDArray[np.float32] | np.float32 = self.multiplier
        if not headers.size:
            return bias, multiplier, zero_points
        chosen, at = np.ascontiguousarray(headers[self.shape.group]).view(np.int32), 0
        if fields["per_channel"]:
            multiplier = chosen.view(np.float32)[:, at, channels]
            at += 1
        if fields["bias"]:
            bias = chosen[:, at, channels].astype(float)
            at += 1
        if fields["cfg3"] & 8:
            zero_points = chosen[:, at, channels].astype(float)
        return bias, multiplier, zero_points

    def _kind(
        self,
        weights: NDArray[np.float64],
        bias: NDArray[np.float64],
        multiplier: NDArray[np.float32] | np.float32,
    ) -> str:
        if self.access is not WORDS or self.channels != 4:
            return "product"
        blocks = weights.reshape(len(weights), -1, 4, 4)
        if (blocks * (1 - np.eye(4))).any():
            return "product"
        open_ended = self.requantization.clamp_min <= 0 and self.requantization.clamp_max >= 255
        plain = np.isscalar(multiplier) and multiplier == 1 and not self.requantization.zero_point
        plain = plain and not self.requantization.nlu
        if blocks.shape[1] == 1 and plain and open_ended and (blocks == np.eye(4)).all():
            return "copy" if not bias.any() else "diagonal"
        return "diagonal"

    @staticmethod
    def _diagonal(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        blocks = weights.reshape(len(weights), -1, 4, 4)
        return np.ascontiguousarray(np.einsum("wrii->rwi", blocks))

    def compute(
        self, state: State, prepared: Prepared, tiles: list[int], first: int
    ) -> NDArray[np.uint8]:
        """See `OpStep`."""
        inputs = self.gather.read(state, tiles, first)
        if prepared.kind == "copy":
            return self._repeated(inputs, len(tiles))
        total = self.sums(inputs.view(self.access.activations), prepared, len(tiles))
        multiplier = prepared.multiplier
        if isinstance(multiplier, np.ndarray) and not self.sets_inside:
            multiplier = multiplier[:, None, :]
        return self.requantization.apply(total, multiplier)

    def sums(self, inputs: NDArray[Any], prepared: Prepared, num_tiles: int) -> NDArray[np.float32]:
        """The accumulators with bias, as float32: (tiles, sets, positions, channels).

        If the sets are inside: (tiles, positions, sets, channels), the last three in long runs if
        the weights are diagonal.
        """
        if self.sets_inside:
            return self._sums_inside(inputs, prepared, num_tiles)
        shape = (num_tiles, -1, *self.shape.sizes[1:])
        sets = len(self.used)
        if prepared.kind == "diagonal":
            total = self._sum_diagonal(inputs.reshape(*shape, 4), prepared.matrices[0])
        else:
            values = inputs.reshape(*shape[:3], shape[3] * self.access.per_step)
            total = sum_products(values, prepared)
            if self.shape.shares_input:
                split = total.reshape(num_tiles, -1, sets, self.channels)
                total = np.ascontiguousarray(split.transpose(0, 2, 1, 3))
        return _with_bias(total, prepared.bias[:, None, :])

    def _sums_inside(
        self, inputs: NDArray[Any], prepared: Prepared, num_tiles: int
    ) -> NDArray[np.float32]:
        sets, positions, taps = self.shape.sizes
        if prepared.kind == "diagonal":
            (weights,) = prepared.matrices
            values = inputs.reshape(num_tiles, taps, -1, weights.shape[1])
            total = np.multiply(values[:, 0], weights[0], dtype=weights.dtype)
            part = np.empty_like(total)
            for tap in range(1, taps):
                total += np.multiply(values[:, tap], weights[tap], out=part)
            return _with_bias(total, prepared.bias)
        values = inputs.reshape(num_tiles, taps, positions, sets, _ROW_LANES)
        values = values.transpose(0, 3, 2, 1, 4).reshape(num_tiles, sets, positions, -1)
        total = sum_products(values, prepared).transpose(0, 2, 1, 3)
        return _with_bias(np.ascontiguousarray(total), prepared.bias)

    def _long_runs(
        self,
        weights: NDArray[Any],
        bias: NDArray[np.float64],
        multiplier: NDArray[np.float32] | np.float32,
    ) -> tuple[tuple[NDArray[Any]], NDArray[np.float64], NDArray[np.float32] | np.float32]:
        """Return rows of weights, biases and multipliers for several positions at once.

        They form one run with the channels of all sets, see `positions_of_run`.
        """
        taps, sets, _ = weights.shape
        width = sets * _ROW_LANES
        times = positions_of_run(self.shape.sizes[1], width)
        runs = np.tile(weights.reshape(taps, width), times)
        if isinstance(multiplier, np.ndarray):
            multiplier = np.tile(multiplier.reshape(-1), times)
        return (runs,), np.tile(bias.reshape(-1), times), multiplier

    def _repeated(self, inputs: NDArray[np.uint8], num_tiles: int) -> NDArray[np.uint8]:
        if self.sets_inside or not self.shape.shares_input:
            return inputs
        values = inputs.reshape(num_tiles, 1, -1)
        return np.ascontiguousarray(
            np.broadcast_to(values, (num_tiles, len(self.used), values.shape[2]))
        )

    def _sum_diagonal(self, values: NDArray[np.uint8], weights: NDArray[Any]) -> NDArray[Any]:
        """Sum each channel separately, tap by tap: (tiles, sets, positions, channels)."""
        total = values[:, :, :, 0].astype(weights.dtype)
        total *= weights[0][:, None, :]
        for tap in range(1, len(weights)):
            part = values[:, :, :, tap].astype(weights.dtype)
            part *= weights[tap][:, None, :]
            total += part
        if self.shape.shares_input and len(self.used) > 1 and total.shape[1] == 1:
            return np.repeat(total, len(self.used), axis=1)
        return total


def _with_bias(total: NDArray[Any], bias: NDArray[Any]) -> NDArray[np.float32]:
    """Return sums with biases, rounded once."""
    if total.dtype == bias.dtype == np.float32:
        total += bias
        return total
    return np.asarray((total.astype(np.float64) + bias).astype(np.float32))


class SumsStep(MacStep):
    """A multiply-accumulate step that stores int32 sums: one wide row for each emission."""

    def __init__(
        self,
        nest: Nest,
        tiles: list[int],
        layout: Layout,
        weights: Weights,
        first_row: int,
    ) -> None:
        super().__init__(nest, tiles, layout, weights, layout.gather)
        starts = first_row + nest.num_emissions * np.arange(len(tiles))
        self.out_rows = starts[:, None] + self.emission_order

    def run(self, state: State) -> None:
        """Gather the activations, sum the products, and store int32 sums."""
        prepared = self.prepared(state)
        inputs = self.gather.read(state, self.tiles, 0).view(self.access.activations)
        total = self.sums(inputs, prepared, len(self.tiles)).astype(np.int32)
        data = total.reshape(*self.out_rows.shape, self.channels).view(np.uint8)
        state.rows[self.out_rows, : data.shape[-1]] = data
