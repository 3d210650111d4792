# SPDX-License-Identifier: Apache-2.0
"""Ops as steps: gather activations, multiply by weight rows, requantize, scatter.

Weight rows are prepared once (zero points off, transposed, float32 where sums stay exact) and kept
while their bytes stay the same, which for cached parameters is for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.emulator.arithmetic import EXACT_FLOAT32, Requantization
from edgekit.emulator.plan import Chunk, Step
from edgekit.emulator.state import NUM_TILES, WIDE_ROWS, State
from edgekit.emulator.walks import as_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.emulator.op import Op

_BATCH_VALUES = 1 << 21  # activations converted at a time
_ROW_CHANNELS, _ROW_LANES = 64, 4
_MAX_SPLITS = 4  # float32 products whose sum is taken in float64 before float64 is used for all


@dataclass(frozen=True)
class Weights:
    """The rows an op reads, which of them each step reads, and the header rows of each group."""

    rows: NDArray[np.int64]
    index: NDArray[np.int64]  # one a step, into ``rows``
    headers: NDArray[np.int64]  # (groups, rows of a set)

    @property
    def key(self) -> bytes:
        """Equal for tiles that compute with the same rows."""
        return self.rows.tobytes() + self.headers.tobytes()


@dataclass(frozen=True)
class Shape:
    """Emissions split into those that change the weight rows and those that share them.

    ``order`` maps (weight sets, positions, reduction) to steps, ``emissions`` (weight sets,
    positions) to emissions in program order.
    """

    order: NDArray[np.int64]
    emissions: NDArray[np.int64]
    group: NDArray[np.int64]  # header set of each weight set
    shares_input: bool  # every weight set reads the same activations


def shape_of(op: Op, index: NDArray[np.int64]) -> Shape:
    """Split the loop nest of ``op``; ``index`` says which weight row and lane a step uses."""
    axes = [7 - k for k in reversed(op.emitting)]
    reduced = [7 - k for k in reversed(op.reduced)]
    single = [axis for axis in range(8) if axis not in axes and axis not in reduced]
    sizes = [op.loops[7 - axis] for axis in axes]
    steps = np.arange(op.steps).reshape(op.loops[::-1]).transpose(*axes, *reduced, *single)
    steps = steps.reshape(*sizes, -1)
    used, activations = (
        index[steps],
        op.in_addresses[steps] * (op.num_chunks + 1) + op.chunk_of[steps],
    )
    level = op.instruction["group_level"]
    grouped = op.groups > 1
    if grouped and any(k >= level for k in op.reduced):
        raise op.stop("a reduced level above the group level", "group_level")
    varies = [
        bool((used != used.take([0], axis=i)).any()) or (grouped and 7 - axis >= level)
        for i, axis in enumerate(axes)
    ]
    first = [i for i, flag in enumerate(varies) if flag]
    rest = [i for i, flag in enumerate(varies) if not flag]
    sets = int(np.prod([sizes[i] for i in first], dtype=np.int64))
    order = steps.transpose(*first, *rest, len(axes)).reshape(sets, -1, steps.shape[-1])
    emissions = np.arange(op.num_emissions).reshape(sizes).transpose(*first, *rest)
    shared = activations.transpose(*first, *rest, len(axes)).reshape(order.shape)
    return Shape(
        order,
        emissions.reshape(sets, -1),
        _groups(op, [axes[i] for i in first], [sizes[i] for i in first], level),
        bool(sets > 1 and (shared == shared[:1]).all()),
    )


def _groups(op: Op, axes: list[int], sizes: list[int], level: int) -> NDArray[np.int64]:
    """The header set of each weight set: its levels from ``level`` on, flattened."""
    group = np.zeros(sizes or [1], np.int64)
    if op.groups > 1:
        weight = 1
        for position in reversed(range(len(axes))):
            if 7 - axes[position] >= level:
                along = np.arange(sizes[position]) * weight
                group += along.reshape([-1 if i == position else 1 for i in range(len(sizes))])
                weight *= sizes[position]
    return group.reshape(-1)


class Gather:
    """Where the activations of a step come from: narrow memory, or a delivery's rows."""

    def __init__(
        self,
        addresses: NDArray[np.int64],
        chunk_of: NDArray[np.int64],
        chunks: Sequence[Sequence[Chunk]],
        base: int,
    ) -> None:
        self.addresses, self.chunk_of, self.chunks, self.base = addresses, chunk_of, chunks, base
        self.index: list[NDArray[np.int64]] = []
        self.size = 0

    def prepare(self, op: Op, order: NDArray[np.int64]) -> None:
        """Fix the order and the width of an access."""
        self.size = op.access.activation_bytes
        if not self.chunks:
            self.index = [self._units(self.addresses[order].reshape(-1))]
            return
        for chunks in self.chunks:
            start = np.array([chunk.first_byte for chunk in chunks])
            limit = np.array([chunk.num_bytes for chunk in chunks])
            offset = self.addresses - chunks[0].address
            if (offset < 0).any() or (offset + self.size > limit[self.chunk_of]).any():
                raise op.stop("a streamed copy that leaves its chunk", "in_base")
            where = (start[self.chunk_of] + offset)[order].reshape(-1)
            self.index.append(self._units(where))

    def _units(self, addresses: NDArray[np.int64]) -> NDArray[np.int64]:
        """Addresses as words where all are, else as single bytes."""
        self.words = self.size == 4 and not (addresses % 4).any()
        if self.words:
            return addresses // 4
        return (addresses[:, None] + np.arange(self.size)).reshape(-1)

    def read(self, state: State, tiles: Sequence[int], first: int) -> NDArray[np.uint8]:
        """The bytes, one row a tile; ``first`` is the position of ``tiles`` in the step's."""
        dtype = np.uint32 if self.words else np.uint8
        out = np.empty((len(tiles), self.index[0].size), dtype)
        for position, tile in enumerate(tiles):
            if self.chunks:
                rows = state.rows[list(self.chunks[first + position][0].rows)].reshape(-1)
                source = rows.view(np.uint32) if self.words else rows
                index = self.index[first + position]
            else:
                source = state.narrow_words[tile] if self.words else state.narrow[tile]
                index = self.index[0]
            np.take(source, index, out=out[position], mode="clip")
        return out.view(np.uint8)


class Output:
    """Where the emissions go."""

    def __init__(self, words: NDArray[np.int64], keep: NDArray[np.bool_] | None) -> None:
        self.addresses, self.keep = words, keep
        self.where: NDArray[np.int64] | slice = words.reshape(-1)
        self.kept: NDArray[np.bool_] | None = None

    def prepare(self, emissions: NDArray[np.int64]) -> None:
        """Fix the order in which emissions come."""
        words = (self.addresses // 4)[emissions].reshape(-1)
        if self.keep is not None:
            self.kept = self.keep[emissions].reshape(-1)
            words = words[self.kept]
        start = int(words[0]) if len(words) else 0
        if np.array_equal(words, start + np.arange(len(words))):
            self.where = slice(start, start + len(words))
        else:
            self.where = words

    def write(self, state: State, tiles: Sequence[int], stored: NDArray[np.uint8]) -> None:
        """Store bytes, one row a tile."""
        words = stored.reshape(len(tiles), -1).view(np.uint32)
        for position, tile in enumerate(tiles):
            values = words[position] if self.kept is None else words[position][self.kept]
            state.narrow_words[tile][self.where] = values


class OpStep(Step):
    """What all classes of ops have in common."""

    def __init__(
        self, op: Op, tiles: list[int], gather: Gather, weights: Weights, output: Output
    ) -> None:
        self.pc = op.instruction.pc
        self.instruction = op.instruction
        self.tiles, self.gather, self.output = tiles, gather, output
        self.channels = op.channels
        self.rows, self.headers = weights.rows, weights.headers
        lanes = np.broadcast_to(op.lanes, (op.steps,)) if op.access.lanes else 0
        used = weights.index * _ROW_LANES + lanes
        self.shape = shape_of(op, used)
        self.used = used[self.shape.order[:, 0]]  # (weight sets, reduction)
        order = self.shape.order[:1] if self.shape.shares_input else self.shape.order
        if op.access.activation_bytes:
            gather.prepare(op, order)
        output.prepare(self.shape.emissions)
        self.access = op.access
        self.requantization = Requantization(
            as_float(op.instruction["clamp_min"]),
            as_float(op.instruction["clamp_max"]),
            op.instruction["out_zp"],
        )
        self.multiplier = as_float(op.instruction["mult"])
        self.constant = bool(
            (self.rows < NUM_TILES * WIDE_ROWS).all()
            and (self.headers < NUM_TILES * WIDE_ROWS).all()
        )
        self._seen: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
        self._prepared: Any = None
        values = max(
            1, order.size * max(self.gather.size, 1), self.shape.emissions.size * self.channels
        )
        self.batch = max(1, _BATCH_VALUES // values)

    def run(self, state: State) -> None:
        """Gather, compute, scatter, a few tiles at a time."""
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
        """The bytes that are stored, one row a tile."""
        raise NotImplementedError

    def prepare(self, rows: NDArray[np.uint8], headers: NDArray[np.uint8]) -> Any:  # noqa: ANN401
        """The weights as `compute` wants them."""
        raise NotImplementedError

    def prepared(self, state: State) -> Any:  # noqa: ANN401
        """The prepared weights; made anew where the rows have changed."""
        if self._seen is not None and self.constant:
            return self._prepared
        rows, headers = state.rows[self.rows], state.rows[self.headers]
        seen = self._seen
        if seen is None or not (np.array_equal(seen[0], rows) and np.array_equal(seen[1], headers)):
            self._seen = (rows, headers)
            self._prepared = self.prepare(rows, headers)
        return self._prepared


@dataclass(frozen=True)
class Prepared:
    """Weights of a multiply-accumulate step."""

    kind: str  # "copy", "diagonal", "product"
    matrices: tuple[NDArray[Any], ...]  # splits along the reduction
    bounds: tuple[int, ...]  # where the splits end
    bias: NDArray[np.float64]  # (weight sets, channels), everything that is added
    exact32: bool
    multiplier: NDArray[np.float32] | np.float32


class MacStep(OpStep):
    """Activations times weights."""

    def prepare(self, rows: NDArray[np.uint8], headers: NDArray[np.uint8]) -> Prepared:
        """Weights without zero point, bias with everything constant folded in."""
        fields = self.instruction.fields
        weights = self._matrix(rows)  # (sets, reduction, channels)
        bias, multiplier, zero_points = self._headers(headers)
        if not self.access.pairs:
            weights = weights - zero_points[:, None, :]
        bias = bias + fields["offset"] - fields["in_zp"] * weights.sum(1)
        bound = 255 * max(
            float(np.maximum(weights, 0).sum(1).max()), float(np.maximum(-weights, 0).sum(1).max())
        )
        total = bound + float(np.abs(bias).max())
        kind = self._kind(weights, bias, multiplier)
        splits = int(bound // EXACT_FLOAT32) + 1
        dtype: type = np.float32 if splits <= _MAX_SPLITS else np.float64
        if dtype is np.float64:
            splits = 1
        ends = [weights.shape[1] * (k + 1) // splits for k in range(splits)]
        if kind == "diagonal":
            matrices = (self._diagonal(weights).astype(dtype if splits == 1 else np.float64),)
            splits = 1
        else:
            starts = [0, *ends[:-1]]
            stacked = weights
            if self.shape.shares_input:
                stacked = weights.transpose(1, 0, 2).reshape(1, weights.shape[1], -1)
            matrices = tuple(
                np.ascontiguousarray(stacked[:, start:end], dtype)
                for start, end in zip(starts, ends)
            )
        return Prepared(
            kind, matrices, tuple(ends), bias, splits == 1 and total < EXACT_FLOAT32, multiplier
        )

    def _matrix(self, rows: NDArray[np.uint8]) -> NDArray[np.float64]:
        cells = rows.reshape(-1, _ROW_CHANNELS, _ROW_LANES)
        row, lane = self.used // _ROW_LANES, self.used % _ROW_LANES
        if self.access.pairs:
            pairs = rows.reshape(len(rows), -1).view(np.int16).reshape(len(rows), -1, 2)
            taken = pairs[row, : self.channels]  # (sets, steps, channels, 2)
            return taken.transpose(0, 1, 3, 2).reshape(len(row), -1, self.channels).astype(float)
        if self.access.lanes:
            return cells[row, : self.channels, lane].astype(float)
        taken = cells[row, : self.channels]
        return taken.transpose(0, 1, 3, 2).reshape(len(row), -1, self.channels).astype(float)

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
        chosen, at = headers[self.shape.group], 0
        if fields["per_channel"]:
            multiplier = chosen[:, at].view(np.float32)[:, channels]
            at += 1
        if fields["bias"]:
            bias = chosen[:, at].view(np.int32)[:, channels].astype(float)
            at += 1
        if fields["cfg3"] & 8:
            zero_points = chosen[:, at].view(np.int32)[:, channels].astype(float)
        return bias, multiplier, zero_points

    def _kind(
        self,
        weights: NDArray[np.float64],
        bias: NDArray[np.float64],
        multiplier: NDArray[np.float32] | np.float32,
    ) -> str:
        if self.access.activation_bytes != 4 or self.channels != 4:
            return "product"
        blocks = weights.reshape(len(weights), -1, 4, 4)
        if (blocks * (1 - np.eye(4))).any():
            return "product"
        open_ended = self.requantization.clamp_min <= 0 and self.requantization.clamp_max >= 255
        plain = np.isscalar(multiplier) and multiplier == 1 and not self.requantization.zero_point
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
        shape = (len(tiles), -1, self.shape.order.shape[1])
        sets = len(self.used)
        if prepared.kind == "diagonal":
            values = inputs.reshape(*shape, self.shape.order.shape[2], 4)
            total = self._sum_diagonal(values, prepared.matrices[0])
        else:
            values = inputs.reshape(*shape, self.shape.order.shape[2] * self.gather.size)
            total = self._sum_product(values, prepared)
            if self.shape.shares_input:
                split = total.reshape(len(tiles), -1, sets, self.channels)
                total = np.ascontiguousarray(split.transpose(0, 2, 1, 3))
        bias = prepared.bias[:, None, :]
        if prepared.exact32:
            total += bias.astype(np.float32)
        else:
            total = (total.astype(np.float64) + bias).astype(np.float32)
        multiplier = prepared.multiplier
        if isinstance(multiplier, np.ndarray):
            multiplier = multiplier[:, None, :]
        return self.finish(total, multiplier)

    def finish(
        self, total: NDArray[np.float32], multiplier: NDArray[np.float32] | np.float32
    ) -> NDArray[np.uint8]:
        """The output stage."""
        return self.requantization.apply(total, multiplier)

    def _repeated(self, inputs: NDArray[np.uint8], num_tiles: int) -> NDArray[np.uint8]:
        if not self.shape.shares_input:
            return inputs
        values = inputs.reshape(num_tiles, 1, -1)
        return np.ascontiguousarray(
            np.broadcast_to(values, (num_tiles, len(self.used), values.shape[2]))
        )

    def _sum_diagonal(self, values: NDArray[np.uint8], weights: NDArray[Any]) -> NDArray[Any]:
        """Each channel by itself, tap after tap: (tiles, sets, positions, channels)."""
        total = values[:, :, :, 0].astype(weights.dtype)
        total *= weights[0][:, None, :]
        for tap in range(1, len(weights)):
            part = values[:, :, :, tap].astype(weights.dtype)
            part *= weights[tap][:, None, :]
            total += part
        if self.shape.shares_input and len(self.used) > 1 and total.shape[1] == 1:
            return np.repeat(total, len(self.used), axis=1)
        return total

    @staticmethod
    def _sum_product(values: NDArray[np.uint8], prepared: Prepared) -> NDArray[Any]:
        start = 0
        total: NDArray[Any] | None = None
        for matrix, end in zip(prepared.matrices, prepared.bounds):
            part = np.matmul(values[..., start:end].astype(matrix.dtype), matrix)
            total = part if total is None else total.astype(np.float64) + part
            start = end
        return total if total is not None else np.zeros(0)


class PoolStep(OpStep):
    """Maximum or sum over byte lanes of wide rows: one row's lane a step, 64 channels at once."""

    def prepare(self, rows: NDArray[np.uint8], headers: NDArray[np.uint8]) -> NDArray[Any]:
        """The reduced values: they are what the rows hold, nothing else comes in."""
        del headers
        cells = rows.reshape(-1, _ROW_CHANNELS, _ROW_LANES)
        taken = cells[self.used // _ROW_LANES, : self.channels, self.used % _ROW_LANES]
        if self.instruction.layout.name == "op.max":
            return taken.max(1).astype(np.int64)
        return taken.astype(np.int64).sum(1) - self.used.shape[1] * self.instruction["w_zp"]

    def compute(
        self, state: State, prepared: NDArray[Any], tiles: list[int], first: int
    ) -> NDArray[np.uint8]:
        """See `OpStep`."""
        del state, first
        sets, positions = self.shape.emissions.shape
        total = (prepared + self.instruction["offset"]).astype(np.float32)
        stored = self.requantization.apply(total, self.multiplier)
        spread = np.broadcast_to(
            stored[None, :, None], (len(tiles), sets, positions, self.channels)
        )
        return np.ascontiguousarray(spread)


def make_step(op: Op, tiles: list[int], gather: Gather, weights: Weights, output: Output) -> OpStep:
    """The step for ``op`` on tiles that use the same weights."""
    kind = MacStep if op.access.activation_bytes else PoolStep
    return kind(op, tiles, gather, weights, output)
