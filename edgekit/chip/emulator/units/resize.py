# SPDX-License-Identifier: Apache-2.0
"""op.resize: double the height and width of an image, bilinear or nearest neighbour.

The instruction has the layout of an op, but gives the fields of the output stage another meaning:
the two clamps define how a position moves along an image's columns and rows. Positions count
quarters of an input pixel, starting from the pixel at the input address.

Source: the three resizes of MoveNet (bilinear, tiles that start between pixels and on them) and
the one of the lane detectors (nearest). Both double an image with half-pixel centres; any other
resize raises an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.arithmetic.requantize import Requantization
from edgekit.chip.emulator.plan import Planner, Step, Task
from edgekit.chip.emulator.state import State
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.memories import NARROW_BYTES, tile_words
from edgekit.chip.isa.walks import Walk, as_float, fine_walk, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUARTERS = 4
_STEP = 2  # quarters from an output pixel to the next: the image doubles
# Where the first output pixel of a tile lies, in quarters: with half-pixel centres, and without.
_FIRST = (1, 3)
_FIRST_NEAREST = (1, 2, 3)
_FULL = 128  # stands for a weight of 1; a product of two needs the multiplier 2**-14
_X, _Y = 2, 3  # loop levels of the columns and rows of the output
_NEAREST = 8  # bit of a clamp, with one tap instead of four
_CHANNELS = 4  # of a word
# Fields that no known resize uses.
_ZERO = (
    "last_loop", "last_loop_mode", "in_last", "in_ring_bytes", "in_zp", "w_zp", "out_last_mode",
    "out_last_skip", "par_base", "par_rows", "cfg0", "cfg1", "nlu", "per_channel",
)  # fmt: skip


class ResizeStep(Step):
    """Weighted sums of words of narrow memory, channel by channel."""

    def __init__(
        self,
        instruction: Instruction,
        tiles: list[int],
        taps: NDArray[np.int64],
        weights: NDArray[np.float32],
        words: NDArray[np.int64],
    ) -> None:
        self.pc, self.instruction, self.channels = instruction.pc, instruction, _CHANNELS
        self.tiles, self.weights = tiles, weights
        self.taps, self.where = tile_words(tiles, taps.reshape(-1)), tile_words(tiles, words)
        infinite = np.float32(np.inf)
        self.requantization = Requantization(-infinite, infinite, 0)
        self.multiplier = as_float(instruction["mult"])

    @property
    def emission_order(self) -> NDArray[np.int64]:
        """The place in program order of each output word, as it is stored."""
        return np.arange(self.weights.shape[1])

    def run(self, state: State) -> None:
        """Gather words, sum them, round half to even like every op, and store."""
        words = state.narrow_words[self.taps].reshape(len(self.tiles), *self.weights.shape)
        values = words.view(np.uint8).reshape(*words.shape, _CHANNELS)
        total = (values * self.weights[:, :, None]).sum(1, dtype=np.float32)
        stored = self.requantization.apply(total, self.multiplier)
        if state.observer is not None:
            state.observer(self, self.tiles, stored)
        packed = np.ascontiguousarray(stored).reshape(len(self.tiles), -1).view(np.uint32)
        state.narrow_words[self.where] = packed


class Resize(Task):
    """An op.resize: the words that each output word is computed from, and their weights."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        self._check_kind()
        loops = [instruction[f"loop{k}"] + 1 for k in range(8)]
        self.taps, self.weights = self._positions(loops)
        out = fine_walk(instruction, "out_")
        if out.num_steps != self.taps.shape[1]:
            raise self.stop(f"{out.num_steps} words out of {self.taps.shape[1]}", "out_cnt0")
        self.words = self._narrow_words(out.addresses(), "out_base")
        self.narrow_written = (4 * int(self.words.min()), 4 * int(self.words.max()) + 4)

    def _check_kind(self) -> None:
        instruction = self.instruction
        for name in _ZERO:
            if instruction[name]:
                raise self.stop(f"a resize with {name} {instruction[name]:#x}", name)
        if (instruction["cfg2"], instruction["cfg3"]) != (0x16, 6):
            raise self.stop("a resize of another class", "cfg2")
        if instruction["channels"] + 1 != _CHANNELS or instruction["reduce"] != 3:
            raise self.stop("a resize whose taps are not the two innermost loops", "reduce")
        one_tap = instruction["loop0"] == instruction["loop1"] == 0
        self.nearest = bool(instruction["clamp_max"] & _NEAREST)
        four_taps = instruction["loop0"] == instruction["loop1"] == 1
        if not (one_tap if self.nearest else four_taps) or self.nearest != instruction["bias"]:
            raise self.stop("a resize whose taps do not fit its kind", "loop0")
        full = 1 if self.nearest else _FULL * _FULL
        if as_float(instruction["mult"]) != 1 / full:
            raise self.stop("a resize with another sum of weights", "mult")

    def _quarters(self, name: str, level: int, number: int) -> NDArray[np.int64]:
        """Return the positions along one axis of the output, from the record in field ``name``."""
        record = self.instruction[name]
        first, step = record >> 8 & 0xFF, record >> 16
        allowed = _FIRST_NEAREST if self.nearest else _FIRST
        if (
            record & 0xFF != level | _NEAREST * self.nearest
            or step != _STEP
            or first not in allowed
        ):
            raise self.stop(f"a resize that moves by {record:#x}", name)
        return first + step * np.arange(number)

    def _positions(self, loops: list[int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the input's word addresses (taps, output words) and their weights."""
        walk = self._input_walk(loops)
        x = self._quarters("clamp_max", _X, loops[_X])
        y = self._quarters("clamp_min", _Y, loops[_Y])
        strides = self.instruction["offset"], self.instruction["out_zp"]
        grid = walk.addresses().reshape(-1, loops[_Y], loops[_X], loops[1], loops[0])
        (cell_x, weight_x), (cell_y, weight_y) = self._taps(x), self._taps(y)
        moved = cell_y[:, None] * strides[1] + cell_x[None, :] * strides[0]
        addresses = grid + moved[None, :, :, None, None]
        weights = weight_y[:, None, :, None] * weight_x[None, :, None, :]
        weights = np.broadcast_to(weights[None], addresses.shape)
        taps = addresses.reshape(-1, loops[0] * loops[1]).T
        words = self._narrow_words(taps.reshape(-1), "in_base").reshape(taps.shape)
        return words, weights.reshape(taps.T.shape).T.astype(np.float32)

    def _input_walk(self, loops: list[int]) -> Walk:
        """Return the walk over taps and channels; the output's columns and rows do not move it."""
        walk = fine_walk(self.instruction, "in_")
        if list(walk.counts) != loops or walk.strides[_X] or walk.strides[_Y]:
            raise self.stop("a resize whose input walk moves with the output", "in_inc2")
        tap_strides = walk.strides[:2]
        moves = self.instruction["offset"], self.instruction["out_zp"]
        if tap_strides != moves:
            raise self.stop(f"a resize of taps {tap_strides} bytes apart, not {moves}", "offset")
        if product(loops) > walk.num_steps:
            raise self.stop("a resize without a step for every tap", "in_cnt0")
        return walk

    def _taps(self, quarters: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return input pixels and weights (output pixels, taps) of positions along one axis."""
        cell, rest = quarters // _QUARTERS, quarters % _QUARTERS
        if self.nearest:
            return cell + (rest >= _QUARTERS // 2), np.ones((len(cell), 1), np.int64)
        weight = rest * (_FULL // _QUARTERS)
        return cell, np.stack([_FULL - weight, weight], axis=1)

    def _narrow_words(self, addresses: NDArray[np.int64], name: str) -> NDArray[np.int64]:
        low, high = int(addresses.min()), int(addresses.max())
        if low < 0 or high + 4 > NARROW_BYTES or (addresses % 4).any():
            raise self.stop(
                f"narrow memory bytes {low:#x} to {high + 4:#x} of {NARROW_BYTES:#x}",
                name,
                "the address lies outside the tile's memory or between words",
            )
        return addresses // 4

    def ready(self, planner: Planner, tile: int) -> bool:
        """Always true: the op unit is in order, and a fence precedes words from the mesh."""
        del planner, tile
        return True

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Add one step for all of ``tiles``."""
        planner.add(ResizeStep(self.instruction, tiles, self.taps, self.weights, self.words))
        for tile in tiles:
            self.waiting &= ~(1 << tile)
