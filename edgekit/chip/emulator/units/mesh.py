# SPDX-License-Identifier: Apache-2.0
"""The mesh: send words of narrow memory to a neighbour tile, or fill memory with a constant.

The opcode is the direction of travel. An instruction may have an outbound half, an inbound half,
or both; two halves on the same small buffer are a relay. Outbound words wait for counters (of
words that the tile's op has written, and of words that have arrived from other sides).
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Iterable, Sequence

import numpy as np

from edgekit.chip.emulator.kernels import FILL, FROM_MESH, TO_MESH
from edgekit.chip.emulator.moves import words_on
from edgekit.chip.emulator.plan import Move, Planner, Step, Task
from edgekit.chip.emulator.queues import NUM_COUNTERS
from edgekit.chip.emulator.state import State
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.memories import NARROW_BYTES, NUM_TILES, TILES_PER_ROW, tile_words
from edgekit.chip.isa.walks import coarse_walk, has_short_group, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Name -> (offset of the neighbour, counter of the words that travel this way).
_SIDES = {
    "mesh.south": (TILES_PER_ROW, 3),
    "mesh.west": (-1, 4),
    "mesh.north": (-TILES_PER_ROW, 5),
    "mesh.east": (1, 6),
}


class MeshSend(Step):
    """Put words of narrow memory in flight: one row of words for each tile."""

    def __init__(self, tiles: list[int], words: NDArray[np.int64], first: int) -> None:
        self.where = tile_words(tiles, words)
        self.places = np.array(tiles), words
        self.num_moved = len(tiles) * len(words)
        self.flight = slice(first, first + self.num_moved)

    def run(self, state: State) -> None:
        """Gather."""
        if state.kernels is not None:
            state.kernels.send(state.mesh, self.flight.start, state.narrow_words, *self.places)
            return
        state.mesh[self.flight] = state.narrow_words[self.where].reshape(-1)

    def move(self) -> Move:
        """See `Step`."""
        targets = np.arange(self.flight.start, self.flight.stop)
        return Move(TO_MESH, words_on(*self.places).reshape(-1), targets)


class MeshReceive(Step):
    """Store words in flight in narrow memory."""

    def __init__(
        self,
        tiles: list[int],
        words: NDArray[np.int64],
        flight: Sequence[tuple[int, int]],
    ) -> None:
        """``flight`` has the words of all tiles in order, as (first, number) parts."""
        self.where = tile_words(tiles, words)
        self.places = np.array(tiles), words
        self.shape = len(tiles), len(words)
        self.num_moved = len(tiles) * len(words)
        first, number = flight[0]
        self.flight: NDArray[np.int64] | slice = slice(first, first + number)
        if len(flight) > 1:
            self.flight = np.concatenate([np.arange(start, start + n) for start, n in flight])

    def run(self, state: State) -> None:
        """Scatter."""
        if state.kernels is not None and isinstance(self.flight, slice):
            state.kernels.receive(state.mesh, self.flight.start, state.narrow_words, *self.places)
            return
        state.narrow_words[self.where] = state.mesh[self.flight].reshape(self.shape)

    def move(self) -> Move:
        """See `Step`."""
        sources = self.flight
        if isinstance(sources, slice):
            sources = np.arange(sources.start, sources.stop)
        return Move(FROM_MESH, sources, words_on(*self.places).reshape(-1))


class MeshFill(Step):
    """Fill narrow memory with a constant."""

    def __init__(self, tiles: list[int], words: NDArray[np.int64], pattern: int) -> None:
        self.where = tile_words(tiles, words)
        self.places = np.array(tiles), words
        self.num_moved = len(tiles) * len(words)
        self.pattern = np.uint32(pattern)

    def run(self, state: State) -> None:
        """Fill."""
        if state.kernels is not None:
            state.kernels.fill(state.narrow_words, *self.places, self.pattern)
            return
        state.narrow_words[self.where] = self.pattern

    def move(self) -> Move:
        """See `Step`."""
        targets = words_on(*self.places).reshape(-1)
        return Move(FILL, np.full(len(targets), self.pattern, np.int64), targets)


class Mesh(Task):
    """One of the four mesh instructions."""

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        self.step_to, self.counter = _SIDES[instruction.layout.name]
        self.box = instruction.opcode
        sends, receives = _used(instruction, "o_"), _used(instruction, "i_")
        if instruction["fill_en"]:
            receives = True
        if not sends and not receives:
            receives = self._bare_half(instruction)
            sends = not receives
        self.relay = bool(
            sends
            and receives
            and instruction["o_slots"]
            and instruction["o_addr"] == instruction["i_addr"]
        )
        self.out_words = self._words("o_") if sends and not self.relay else None
        self.in_words = self._words("i_") if receives and not self.relay else None
        if self.in_words is not None:
            self.narrow_written = (4 * int(self.in_words.min()), 4 * int(self.in_words.max()) + 4)
        self.relayed = len(self._words("i_", check=False)) if self.relay else 0
        # A corner: words arrive through a small ring buffer and leave in another direction.
        self.from_corner = bool(instruction["o_circular"]) and not self.relay
        self.to_corner = bool(instruction["i_circular"]) and not self.relay
        self.unsent = self.waiting if sends and not self.relay else 0
        self.unreceived = self.waiting if receives or self.relay else 0
        self.waits = [
            (counter, value)
            for counter, value, _ in (waits_of(instruction) if sends else all_waits(instruction))
        ]

    @staticmethod
    def _bare_half(instruction: Instruction) -> bool:
        """Whether a half of one word, without a nest, is inbound: unless only ``o_addr`` is set."""
        return not (instruction["o_addr"] and not instruction["i_addr"])

    def _words(self, half: str, *, check: bool = True) -> NDArray[np.int64]:
        """Return word addresses; the last group is short if the instruction requests it."""
        instruction = self.instruction
        walk = coarse_walk(instruction, half, 4, instruction[f"{half}addr"], unit=4)
        addresses = walk.addresses()
        if has_short_group(instruction, half):
            addresses = addresses[steps_of(instruction, half, walk.counts)]
        low, high = int(addresses.min()), int(addresses.max())
        if check and (low < 0 or high + 4 > NARROW_BYTES or low % 4):
            raise self.stop(
                f"narrow memory bytes {low:#x} to {high + 4:#x} of {NARROW_BYTES:#x}",
                f"{half}addr",
                "the address lies outside the tile's memory or between words",
            )
        return addresses // 4

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether the outbound or the inbound half can run."""
        return self._can_send(planner, tile) or self._can_receive(planner, tile)

    def _can_send(self, planner: Planner, tile: int) -> bool:
        if not self.unsent >> tile & 1 or not self._counted(planner, tile):
            return False
        if not self.from_corner:
            return True
        corner = planner.tiles[tile].corners.get(self.instruction["o_addr"], ())
        return sum(number for _, number in corner) >= self._num_out

    def _counted(self, planner: Planner, tile: int) -> bool:
        counters = planner.tiles[tile].counters
        return all(
            counter < NUM_COUNTERS and counters[counter] >= value for counter, value in self.waits
        )

    def _can_receive(self, planner: Planner, tile: int) -> bool:
        if not self.unreceived >> tile & 1:
            return False
        if self.instruction["fill_en"]:
            return self.out_words is not None or self._counted(planner, tile)
        there = sum(number for _, number in planner.tiles[tile].mesh.get(self.box, ()))
        return there >= (self.relayed if self.relay else self._num_in)

    @property
    def _num_out(self) -> int:
        return 0 if self.out_words is None else len(self.out_words)

    @property
    def _num_in(self) -> int:
        return 0 if self.in_words is None else len(self.in_words)

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Send where sending is possible, then receive where words have arrived."""
        sending = [tile for tile in tiles if self._can_send(planner, tile)]
        receiving = [tile for tile in tiles if self._can_receive(planner, tile)]
        if sending:
            self._send(planner, sending)
        if receiving:
            self._receive(planner, receiving)
        self.waiting = self.unsent | self.unreceived

    def _send(self, planner: Planner, tiles: list[int]) -> None:
        words = self.out_words
        if words is None:
            return
        number = len(words)
        if not self.from_corner:
            for tile in tiles:
                planner.checker.sends(self, tile, words)
        if self.from_corner:
            for tile in tiles:
                corner = planner.tiles[tile].corners[self.instruction["o_addr"]]
                self._to_neighbour(planner, tile, _take(corner, number))
                self.unsent &= ~(1 << tile)
            return
        first = planner.new_mesh_words(number * len(tiles))
        planner.add(MeshSend(tiles, words, first))
        for position, tile in enumerate(tiles):
            self._to_neighbour(planner, tile, [(first + position * number, number)])
            self.unsent &= ~(1 << tile)

    def _to_neighbour(self, planner: Planner, tile: int, parts: list[tuple[int, int]]) -> None:
        neighbour = tile + self.step_to
        same_row = neighbour // TILES_PER_ROW == tile // TILES_PER_ROW
        if not 0 <= neighbour < NUM_TILES or (abs(self.step_to) == 1 and not same_row):
            raise self.stop(f"tile {tile} has no neighbour there", "tiles")
        planner.tiles[neighbour].mesh.setdefault(self.box, deque()).extend(parts)

    def _receive(self, planner: Planner, tiles: list[int]) -> None:
        instruction = self.instruction
        if instruction["fill_en"] and self.in_words is not None:
            planner.add(MeshFill(tiles, self.in_words, instruction["fill"]))
        elif self.relay:
            for tile in tiles:
                passed = _take(planner.tiles[tile].mesh[self.box], self.relayed)
                self._to_neighbour(planner, tile, passed)
        elif self.in_words is not None:
            parts = [_take(planner.tiles[tile].mesh[self.box], self._num_in) for tile in tiles]
            if self.to_corner:
                for tile, each in zip(tiles, parts):
                    corners = planner.tiles[tile].corners
                    corners.setdefault(instruction["i_addr"], deque()).extend(each)
            planner.add(MeshReceive(tiles, self.in_words, _joined(chain(*parts))))
        counted = _signals(instruction)
        for tile in tiles:
            if self.in_words is not None and not self.to_corner:
                planner.checker.received(self, tile, self.in_words)
            planner.tiles[tile].counters[self.counter] += counted
            self.unreceived &= ~(1 << tile)


def _take(box: deque[tuple[int, int]], number: int) -> list[tuple[int, int]]:
    """The next ``number`` words in flight, as (first, number) parts."""
    parts = []
    while number:
        first, there = box.popleft()
        if there > number:
            box.appendleft((first + number, there - number))
            there = number
        parts.append((first, there))
        number -= there
    return parts


def _joined(parts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join parts that follow each other."""
    joined: list[tuple[int, int]] = []
    for first, number in parts:
        if joined and sum(joined[-1]) == first:
            joined[-1] = joined[-1][0], joined[-1][1] + number
        else:
            joined.append((first, number))
    return joined


def steps_of(instruction: Instruction, half: str, counts: tuple[int, ...]) -> NDArray[np.int64]:
    """The steps of a half's nest that are executed, int64: its last group may be short."""
    steps = np.arange(product(counts))
    if not has_short_group(instruction, half):
        return steps
    # All but the last round of the outermost level are whole; in the last one the innermost level
    # is short.
    level = max((k for k in range(4) if counts[k] > 1), default=0)
    short = instruction[f"{half}group"] + 1
    if level == 0:
        return steps[:short]
    rounds = steps.reshape(counts[level], -1)
    cut = rounds[-1].reshape(-1, counts[0])[:, :short]
    return np.concatenate([rounds[:-1].reshape(-1), cut.reshape(-1)])


def all_waits(instruction: Instruction) -> list[tuple[int, int, int]]:
    """The records of a mesh transfer: counter, count, and the level whose iterations wait."""
    return [
        (instruction[f"s{k}_id"] >> 1, instruction[f"s{k}_val"] >> 2, instruction[f"s{k}_val"] & 3)
        for k in range(5)
        if instruction[f"s{k}_en_a"]
    ]


def waits_of(instruction: Instruction) -> list[tuple[int, int, int]]:
    """The records of the outbound half: one before an empty record with bit 0 is the other's."""
    waits = all_waits(instruction)
    used = len(waits)
    inbound = 0 < used < 5 and instruction[f"s{used}_id"] & 1
    return waits[:-1] if inbound else waits


def _signals(instruction: Instruction) -> int:
    """How much an arrival adds to the counter: once for each iteration from a level up, if at all.

    A fill without the bit adds nothing: the transfer after it, in a program of a DeepLab, waits for
    one arrival that comes over the mesh.
    """
    if not instruction["i_mode"] & 1:
        return 0
    level = min(instruction["i_mode"] >> 1, 4)
    return product([instruction[f"i_cnt{k}"] + 1 for k in range(level, 4)])


def _used(instruction: Instruction, half: str) -> bool:
    """Whether a half has any field set besides its address."""
    names = ("levels", "circular", "inc0", "cnt0", "slots")
    return any(instruction[half + name] for name in names)
