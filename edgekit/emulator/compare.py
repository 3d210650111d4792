# SPDX-License-Identifier: Apache-2.0
"""The emulator's ops against the twin's layers: which layers come out value for value.

An op leaves a block of the image on each tile. A layer is exact when the blocks of consecutive ops
on disjoint tiles make up exactly its values; nothing else about the program has to be known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit.emulator.machine import EdgeTpu
from edgekit.emulator.opstep import OpStep
from edgekit.emulator.resize import ResizeStep
from edgekit.emulator.state import NUM_TILES, TILES_PER_ROW
from edgekit.emulator.twin import run_twin
from edgekit.formats.tflite import Model, Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Computed by ops one to one; what only moves values (RESHAPE, PAD, ...) is seen in what follows.
COMPUTED = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MUL", "FULLY_CONNECTED", "AVERAGE_POOL_2D",
     "MAX_POOL_2D", "MEAN", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"}
)  # fmt: skip


@dataclass(frozen=True)
class LayerMatch:
    """One layer of the source: how many values, and the op that gives exactly them."""

    index: int
    opcode: str
    num_values: int
    pc: int | None  # None: no op gives exactly these values


class Recorder:
    """Collects what ops store, as groups of consecutive ops on disjoint tiles."""

    def __init__(self) -> None:
        self.groups: list[tuple[int, dict[int, NDArray[np.uint8]]]] = []
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
        # The clamps of a resize say where a tile starts.
        names = ("mult",) if isinstance(step, ResizeStep) else ("mult", "clamp_min", "clamp_max")
        last = self._last
        return last is not None and all(
            last.instruction[name] == step.instruction[name] for name in names
        )


def assemble(
    blocks: dict[int, NDArray[np.uint8]],
    height: int,
    width: int,
    channels: int,
    *,
    positions_outside: bool,
) -> NDArray[np.uint8] | None:
    """The image that the tiles' blocks make up; None if they make up none of this size.

    A block's emissions come position by position, or channel group by channel group.
    """
    groups = -(-channels // next(iter(blocks.values())).shape[1])
    sizes = np.zeros(NUM_TILES, np.int64)
    for tile, block in blocks.items():
        if block.shape[0] % groups:
            return None
        sizes[tile] = block.shape[0] // groups
    grid = sizes.reshape(TILES_PER_ROW, TILES_PER_ROW)
    if grid.sum() != height * width or (grid.sum(1) % width).any() or (grid.sum(0) % height).any():
        return None
    rows, columns = grid.sum(1) // width, grid.sum(0) // height
    if not np.array_equal(np.outer(rows, columns), grid):
        return None
    image = np.zeros((height, width, channels), np.uint8)
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


def assemble_vector(blocks: dict[int, NDArray[np.uint8]], size: int) -> NDArray[np.uint8] | None:
    """The vector whose consecutive parts the tiles hold."""
    parts = [blocks[tile].reshape(-1) for tile in sorted(blocks)]
    whole = np.concatenate(parts)
    return whole[:size] if size <= whole.size < size + 64 else None


def compare_layers(
    chip: EdgeTpu, source: Model, inputs: dict[str, NDArray[np.generic]]
) -> list[LayerMatch]:
    """Run once and look for every computed layer of ``source`` among the ops' results."""
    recorder = Recorder()
    chip.state.observer = recorder
    try:
        chip.invoke(inputs)
    finally:
        chip.state.observer = None
    matches, start = [], 0
    for index, operator, values in run_twin(source, inputs):
        if not _is_computed(source, operator):
            continue
        found = _find(recorder, start, values)
        pc = None if found is None else recorder.groups[found][0]
        start = start if found is None else found + 1
        matches.append(LayerMatch(index, operator.opcode, int(values.size), pc))
    return matches


def _is_computed(source: Model, operator: Operator) -> bool:
    """Whether an op computes it; a resize to the same size is none."""
    tensors = source.main.tensors
    shapes = [tensors[index].shape for index in (operator.inputs[0], operator.outputs[0])]
    resizes = operator.opcode.startswith("RESIZE")
    return operator.opcode in COMPUTED and not (resizes and shapes[0] == shapes[1])


def _find(recorder: Recorder, start: int, values: NDArray[np.uint8]) -> int | None:
    shape = values.shape
    flat = len(shape) != 4 or shape[1:3] == (1, 1)
    for position in range(start, len(recorder.groups)):
        blocks = recorder.groups[position][1]
        if flat:
            candidates = [assemble_vector(blocks, values.size)]
        else:
            candidates = [
                assemble(blocks, *shape[1:], positions_outside=flag) for flag in (False, True)
            ]
        for made in candidates:
            if made is not None and np.array_equal(made.reshape(-1), values.reshape(-1)):
                return position
    return None
