# SPDX-License-Identifier: Apache-2.0
"""Compare the emulator's ops with the twin's layers: which layers are equal, value for value.

An op writes a block of the image on each tile, and the blocks of consecutive ops on disjoint tiles
form a piece: the whole layer, or a part of it if a program processes the image in several passes
(neighbouring parts may overlap). A layer is exact if pieces that equal it value for value cover all
of it; this does not depend on anything else in the program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Mapping

import numpy as np

from edgekit.chip.arithmetic.twin import run_twin
from edgekit.chip.emulator.machine import EdgeTpu
from edgekit.chip.emulator.steps.base import OpStep
from edgekit.chip.emulator.units.resize import ResizeStep
from edgekit.chip.isa.memories import NUM_TILES, TILES_PER_ROW
from edgekit.formats.tflite import Model, Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Blocks = dict[int, NDArray[np.uint8]]  # tile -> (emissions, channels of an emission)

# Each is computed by ops; operators that only move values (RESHAPE, ...) show in those after them.
COMPUTED = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MUL", "FULLY_CONNECTED", "AVERAGE_POOL_2D",
     "MAX_POOL_2D", "MEAN", "LOGISTIC", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"}
)  # fmt: skip
_MAX_PLACES = 64  # possible places of a piece by its first pixel; one-colour images have more


@dataclass(frozen=True)
class LayerMatch:
    """One layer of the source: the number of its values, and the op that computes it."""

    index: int
    name: str  # of its output
    opcode: str
    num_values: int
    pc: int | None  # of the first piece; None if no pieces cover the layer


class Recorder:
    """Collects the values that ops store, in groups of consecutive ops on disjoint tiles."""

    def __init__(self) -> None:
        self.groups: list[tuple[int, Blocks]] = []
        self._last: OpStep | ResizeStep | None = None

    def __call__(self, step: object, tiles: list[int], stored: NDArray[np.uint8]) -> None:
        """See `State.observer`."""
        if not isinstance(step, (OpStep, ResizeStep)) or step.requantization.value_bytes != 1:
            return
        order = step.emission_order
        blocks = stored.reshape(len(tiles), len(order), step.channels)
        emissions = np.empty_like(blocks)
        emissions[:, order] = blocks
        group = self.groups[-1][1] if self.groups else {}
        if self._last is None or not self._together(step) or any(t in group for t in tiles):
            self.groups.append((step.pc, {}))
        for tile, block in zip(tiles, emissions):
            self.groups[-1][1][tile] = block
        self._last = step

    def _together(self, step: OpStep | ResizeStep) -> bool:
        # The clamps of a resize show where a tile starts.
        names = ("mult",) if isinstance(step, ResizeStep) else ("mult", "clamp_min", "clamp_max")
        last = self._last
        return last is not None and all(
            last.instruction[name] == step.instruction[name] for name in names
        )


def multipliers_of(chip: EdgeTpu) -> frozenset[np.float32]:
    """Return every multiplier that the program's ops contain themselves."""
    return frozenset(step.multiplier for step in chip.plan.steps if isinstance(step, OpStep))


def recorded(
    chip: EdgeTpu, inputs: Mapping[str, NDArray[np.generic]]
) -> tuple[Recorder, dict[str, NDArray[np.generic]]]:
    """Run once; return what the ops stored, and the outputs of `EdgeTpu.invoke`."""
    recorder = Recorder()
    chip.state.observer = recorder
    try:
        return recorder, chip.invoke(inputs)
    finally:
        chip.state.observer = None


class LayerFinder:
    """Finds the layers of ``source`` among the ops' results, in the order of the source."""

    def __init__(self, recorder: Recorder, source: Model) -> None:
        self.matches: list[LayerMatch] = []
        self._recorder, self._source = recorder, source
        self._starts: dict[int, int] = {}  # tensor -> first group that can contain results from it

    def find(self, index: int, made: int, values: NDArray[np.uint8]) -> None:
        """Take what `run_twin` yields: an operator, a tensor that it makes, and its values."""
        operator = self._source.main.operators[index]
        start = max((self._starts.get(tensor, 0) for tensor in operator.inputs), default=0)
        if _is_computed(self._source, operator):
            found = find_layer(self._recorder, start, values)
            pc = self._recorder.groups[found[0]][0] if found else None
            start = found[0] + 1 if found else start
            name = self._source.main.tensors[made].name
            self.matches.append(LayerMatch(index, name, operator.opcode, int(values.size), pc))
        self._starts[made] = start


def compare_layers(
    chip: EdgeTpu, source: Model, inputs: Mapping[str, NDArray[np.generic]]
) -> list[LayerMatch]:
    """Run once and find every computed layer of ``source`` among the ops' results."""
    recorder, _ = recorded(chip, inputs)
    finder = LayerFinder(recorder, source)
    for each in run_twin(source, inputs, multipliers_of(chip)):
        finder.find(*each)
    return finder.matches


def _is_computed(source: Model, operator: Operator) -> bool:
    """Whether an op computes it; a resize to the same size is not computed."""
    tensors = source.main.tensors
    shapes = [tensors[index].shape for index in (operator.inputs[0], operator.outputs[0])]
    resizes = operator.opcode.startswith("RESIZE")
    return operator.opcode in COMPUTED and not (resizes and shapes[0] == shapes[1])


def find_layer(recorder: Recorder, start: int, values: NDArray[np.uint8]) -> list[int]:
    """Return the groups, from ``start`` on, whose pieces cover a layer; empty if they do not."""
    shape = values.shape
    if len(shape) != 4 or shape[1:3] == (1, 1):
        layer: _Vector | _Image = _Vector(values.reshape(-1))
    else:
        layer = _Image(values.reshape(shape[1:]))
    found = []
    for position in range(start, len(recorder.groups)):
        if layer.take(recorder.groups[position][1]):
            found.append(position)
        if layer.complete:
            return found
    return []


class _Vector:
    """A layer without width and height: the parts of all tiles in order."""

    def __init__(self, values: NDArray[np.uint8]) -> None:
        self.values, self.there = values, 0

    @property
    def complete(self) -> bool:
        return self.there >= self.values.size

    def take(self, blocks: Blocks) -> bool:
        """Whether ``blocks`` are its next values; other values may follow its last ones."""
        part = np.concatenate([blocks[tile].reshape(-1) for tile in sorted(blocks)])
        wanted = self.values[self.there : self.there + part.size]
        if part.size >= wanted.size + blocks[max(blocks)].size:
            return False
        if not np.array_equal(part[: wanted.size], wanted):
            return False
        self.there += part.size
        return True


class _Image:
    """A layer of (height, width, channels)."""

    def __init__(self, values: NDArray[np.uint8]) -> None:
        self.values = values
        self.covered = np.zeros(values.shape[:2], bool)
        self.places: dict[bytes, list[int]] = {}  # a pixel -> its positions
        for place, pixel in enumerate(values.reshape(-1, values.shape[2])):
            self.places.setdefault(pixel.tobytes(), []).append(place)

    @property
    def complete(self) -> bool:
        return bool(self.covered.all())

    def take(self, blocks: Blocks) -> bool:
        """Whether ``blocks`` equal a part of it that was not covered before."""
        height, width, channels = self.values.shape
        for rows, columns in _grids(_sizes(blocks, channels)):
            if rows.sum() > height or columns.sum() > width:
                continue
            for outside in (False, True):
                places = self.places.get(_first_pixel(blocks, channels, outside=outside), [])
                if not places:
                    continue
                piece = assemble(blocks, rows, columns, channels, positions_outside=outside)
                if any(self._cover(piece, *divmod(p, width)) for p in places[:_MAX_PLACES]):
                    return True
        return False

    def _cover(self, piece: NDArray[np.uint8], top: int, left: int) -> bool:
        where = slice(top, top + piece.shape[0]), slice(left, left + piece.shape[1])
        if self.covered[where].all() or not np.array_equal(self.values[where], piece):
            return False
        self.covered[where] = True
        return True


def _sizes(blocks: Blocks, channels: int) -> NDArray[np.int64]:
    """Return the pixels on each tile, in the tiles' order; all 0 if a block has a broken pixel."""
    groups = _num_groups(blocks, channels)
    sizes = np.zeros(NUM_TILES, np.int64)
    for tile, block in blocks.items():
        if block.shape[0] % groups:
            return np.zeros((TILES_PER_ROW, TILES_PER_ROW), np.int64)
        sizes[tile] = block.shape[0] // groups
    return sizes.reshape(TILES_PER_ROW, TILES_PER_ROW)


def _num_groups(blocks: Blocks, channels: int) -> int:
    """Return the number of emissions of a pixel."""
    per_emission: int = next(iter(blocks.values())).shape[1]
    return -(-channels // per_emission)


def _grids(sizes: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all splits of the tiles' pixels into heights of tile rows and widths of columns."""
    if not sizes.any():
        return
    first, column = (int(axis[0]) for axis in np.nonzero(sizes))
    for height in range(1, int(sizes[first, column]) + 1):
        if (sizes[first] % height).any():
            continue
        columns = sizes[first] // height
        rows = sizes[:, column] // columns[column]
        if np.array_equal(np.outer(rows, columns), sizes):
            yield rows, columns


def _first_pixel(blocks: Blocks, channels: int, *, outside: bool) -> bytes:
    block, groups = blocks[min(blocks)], _num_groups(blocks, channels)
    pixel = block[:groups] if outside else block[:: max(block.shape[0] // groups, 1)]
    return pixel.reshape(-1)[:channels].tobytes()


def assemble(
    blocks: Blocks,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    channels: int,
    *,
    positions_outside: bool,
) -> NDArray[np.uint8]:
    """Return the piece of an image that the tiles' blocks form: (height, width, ``channels``).

    ``rows`` and ``columns`` are heights and widths of the tiles' parts. A block's emissions are
    ordered by position, or by channel group.
    """
    groups = _num_groups(blocks, channels)
    image = np.zeros((rows.sum(), columns.sum(), channels), np.uint8)
    tops, lefts = np.cumsum(rows) - rows, np.cumsum(columns) - columns
    for tile, block in blocks.items():
        row, column = divmod(tile, TILES_PER_ROW)
        size = rows[row], columns[column]
        if positions_outside:
            part = block.reshape(*size, -1)
        else:
            part = block.reshape(groups, *size, -1).transpose(1, 2, 0, 3).reshape(*size, -1)
        top, left = tops[row], lefts[column]
        image[top : top + size[0], left : left + size[1]] = part[..., :channels]
    return image
