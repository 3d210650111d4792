# SPDX-License-Identifier: Apache-2.0
"""Transfers inside a tile: narrowToWide, wideToNarrow and the load of the scaling store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.chip.emulator.kernels import TO_NARROW, TO_WIDE
from edgekit.chip.emulator.moves import words_on
from edgekit.chip.emulator.plan import Move, Planner, Step, Task, check_aligned
from edgekit.chip.emulator.queues import Chunk, Scaling
from edgekit.chip.emulator.state import State
from edgekit.chip.emulator.units.ring import num_steps_of
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.memories import NARROW_BYTES, ROW_BYTES, ROW_UNITS, tile_words, tiles_of
from edgekit.chip.isa.walks import coarse_walk, product

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROW_WORDS = ROW_BYTES // 4
_NARROW_TO_WIDE = 13  # sync counter
_RING_READS = (14, 15)  # RING_READ_A, RING_READ_B
# Bits of ``w_last``: the rows of the last round, the level of the rounds, and the missing rows.
_LAST_ROWS, _LAST_ROWS_MASK = 6, 0x3FFF
_LAST_LEVEL, _LAST_LEVEL_MASK = 22, 3
_MISSING_ROWS, _MISSING_ROWS_MASK = 24, 0xFFFF
_WIDE_LANES = 1  # bit of ``tail``: 16-bit values
_TWICE = 1  # mode of a scaling load that reads each row two times
_TRANSPOSED = 4  # positions in a row of the transposing form


class ToWide(Step):
    """Copy words of narrow memory into new rows; the rest of a row keeps its old value."""

    def __init__(
        self,
        tiles: list[int],
        words: NDArray[np.int64],
        first: int,
        layout: tuple[int, int],
        before: NDArray[np.int64] | None,
    ) -> None:
        """Copy to the rows from ``first``; ``layout`` is rows of each tile, words of each row."""
        self.where = tile_words(tiles, words)
        self.places = np.array(tiles), words
        self.first, self.layout, self.before = first, layout, before
        self.num_moved = len(tiles) * layout[0] * layout[1] if before is None else 0

    def run(self, state: State) -> None:
        """Copy."""
        number, per_row = self.layout
        if state.kernels is not None and self.before is None:
            wide, narrow = state.rows.view(np.uint32), state.narrow_words
            state.kernels.to_wide(wide, self.first, narrow, *self.places, self.layout)
            return
        data = state.narrow_words[self.where]
        if data.shape[1] != number * per_row:
            padded = np.zeros((len(data), number * per_row), np.uint32)
            padded[:, : data.shape[1]] = data
            data = padded
        rows = state.rows[self.first : self.first + len(data) * number]
        if self.before is not None:
            rows[...] = state.rows[self.before.reshape(-1)]
        rows[:, : 4 * per_row] = data.reshape(len(rows), per_row).view(np.uint8)

    def move(self) -> Move:
        """See `Step`."""
        taken = words_on(*self.places)
        number, per_row = self.layout
        sources = np.full((len(taken), number * per_row), -1)
        sources[:, : taken.shape[1]] = taken
        rows = np.arange(self.first, self.first + len(taken) * number)
        targets = rows[:, None] * _ROW_WORDS + np.arange(per_row)
        return Move(TO_WIDE, sources.reshape(-1), targets.reshape(-1))


class ToWideTransposed(Step):
    """Copy positions of narrow memory into byte lanes of new rows: four positions in a row."""

    def __init__(
        self,
        tiles: list[int],
        words: NDArray[np.int64],
        first: int,
        shape: tuple[int, int],
        dtype: type,
    ) -> None:
        """Copy to the rows from ``first``; ``shape`` is words of a position, positions."""
        self.where = tile_words(tiles, words)
        self.first, self.shape = first, shape
        self.dtype = np.dtype(dtype)

    def run(self, state: State) -> None:
        """Copy."""
        width, positions = self.shape
        lanes_in_word = 4 // self.dtype.itemsize
        data = state.narrow_words[self.where].view(self.dtype)
        values = data.reshape(len(data), -1, width, positions, lanes_in_word)
        values = values.transpose(0, 1, 2, 4, 3)
        number = values.shape[0] * values.shape[1]
        columns = width * lanes_in_word
        out = np.zeros((number, columns, lanes_in_word), self.dtype)
        out[..., :positions] = values.reshape(number, columns, positions)
        rows = state.rows[self.first : self.first + number]
        rows[:, : columns * 4] = out.reshape(number, -1).view(np.uint8)


class NarrowToWide(Task):
    """narrowToWide: writes a stream if it has slots, else rows that stay in wide memory.

    It runs after all earlier instructions that write the words it reads.
    """

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        check_aligned(instruction, "w_addr")
        narrow = coarse_walk(instruction, "n_", 6, instruction["n_addr"], unit=4)
        wide = coarse_walk(instruction, "w_", 4, instruction["w_addr"], unit=ROW_UNITS)
        self.narrow = narrow
        low, high = narrow.span
        if low < 0 or high + 4 > NARROW_BYTES or any(s % 4 for s in (low, *narrow.strides)):
            raise self.stop(
                f"narrow memory bytes {low:#x} to {high + 4:#x} of {NARROW_BYTES:#x}",
                "n_addr",
                "the address lies outside the tile's memory or between words",
            )
        self.read = (low, high + 4)
        self.words = narrow.addresses() // 4
        self.places = wide.addresses() // ROW_UNITS
        if instruction["w_last"]:
            self.places = self._cut_rows(wide.counts)
        self.rows: list[int] = self.places.tolist()
        self.written = frozenset(self.rows)
        self.streams = instruction["w_rows"] > 0
        if instruction["transpose"]:
            self._check_transposed()

    def _cut_rows(self, counts: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the rows; the last round of the ring has fewer, in each pass of outer levels."""
        record = self.instruction["w_last"]
        last = (record >> _LAST_ROWS & _LAST_ROWS_MASK) + 1
        missing = record >> _MISSING_ROWS & _MISSING_ROWS_MASK
        if record >> _LAST_LEVEL & _LAST_LEVEL_MASK != 1 or last + missing != counts[0]:
            raise self.stop(f"a partial last round of {last} rows of {counts[0]}", "w_last")
        rows = self.places.reshape(-1, counts[1], counts[0])
        there = np.ones(rows.shape, bool)
        there[:, -1, last:] = False
        return rows[there]

    def _check_transposed(self) -> None:
        """Check that up to four positions on level 0 share a row, each with as many words.

        A short last group (``n_last``) is read whole: the op that follows does not read the lanes
        and columns that the chip leaves out.
        """
        self.dtype = np.uint16 if self.instruction["tail"] & _WIDE_LANES else np.uint8
        most = _TRANSPOSED if self.dtype is np.uint8 else _TRANSPOSED // 2
        per_row, rest = divmod(len(self.words), len(self.rows))
        self.positions = 1 if per_row == 1 else self.narrow.counts[0]
        if rest or self.positions > most or per_row % self.positions:
            raise self.stop(
                f"{len(self.words)} words for {len(self.rows)} transposed rows", "transpose"
            )
        self.width = per_row // self.positions

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether the words it reads have been written."""
        return not planner.narrow_before(self, tile, self.read)

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Create the rows."""
        number = len(self.rows)
        first = planner.new_rows(number * len(tiles))
        rows = first + np.arange(number * len(tiles)).reshape(len(tiles), number)
        where = f"{self.instruction.where}, field w_addr"
        if self.instruction["transpose"]:
            shape = (self.width, self.positions)
            planner.add(ToWideTransposed(tiles, self.words, first, shape, self.dtype))
        else:
            per_row = -(-len(self.words) // number)
            if number == -(-len(self.words) // _ROW_WORDS):
                per_row = _ROW_WORDS
            if per_row > _ROW_WORDS or (per_row < _ROW_WORDS and len(self.words) % number):
                raise self.stop(f"{len(self.words)} words for {number} rows", "w_cnt0")
            before = None
            if not self.streams and per_row < _ROW_WORDS:
                before = np.stack(
                    [planner.wide.at(tile, self.places, where, overwriting=True) for tile in tiles]
                )
            planner.add(ToWide(tiles, self.words, first, (number, per_row), before))
        level = self.instruction["tail"] >> 1
        planner.wide.put(tiles, self.places, rows, where)
        signals = product(self.narrow.counts[level:])
        for tile, made in zip(tiles, rows):
            queues = planner.tiles[tile]
            queues.counters[_NARROW_TO_WIDE] += signals
            if self.streams:
                queues.queue(self.rows[0]).put(made)
            self.waiting &= ~(1 << tile)


class ToNarrow(Step):
    """Copy rows into narrow memory, without the leading words."""

    def __init__(
        self,
        tiles: list[int],
        rows: NDArray[np.int64],
        skip: int,
        words: NDArray[np.int64],
        per_row: int = _ROW_WORDS,
    ) -> None:
        self.where = tile_words(tiles, words)
        self.places = np.array(tiles), words
        self.rows, self.words, self.per_row = rows, slice(skip, skip + len(words)), per_row
        self.num_moved = len(tiles) * len(words)

    def run(self, state: State) -> None:
        """Copy."""
        if state.kernels is not None:
            wide, layout = state.rows.view(np.uint32), (self.per_row, self.words.start)
            state.kernels.to_narrow(wide, self.rows, state.narrow_words, *self.places, layout)
            return
        data = state.rows[self.rows, : 4 * self.per_row]
        data = np.ascontiguousarray(data).reshape(len(self.rows), -1).view(np.uint32)
        state.narrow_words[self.where] = data[:, self.words]

    def move(self) -> Move:
        """See `Step`."""
        every = self.rows[:, :, None] * _ROW_WORDS + np.arange(self.per_row)
        sources = every.reshape(len(every), -1)[:, self.words]
        return Move(TO_NARROW, sources.reshape(-1), words_on(*self.places).reshape(-1))


class WideToNarrow(Task):
    """wideToNarrow: copies a stream or rows into narrow memory, or announces scaling rows.

    With a level of stride 0 the words arrive in chunks, in two slots in turn; streamed copies
    read them there.
    """

    def __init__(self, instruction: Instruction, order: int) -> None:
        super().__init__(instruction, order)
        check_aligned(instruction, "w_addr")
        base = instruction["w_addr"]
        wide = coarse_walk(instruction, "w_", 4, base, unit=ROW_UNITS)
        self.narrow = coarse_walk(instruction, "n_", 6, instruction["n_addr"])
        self.base = base // ROW_UNITS
        self.narrow_written = self._span()
        self.num_rows = num_steps_of(instruction, wide)
        self.places = wide.addresses()[: self.num_rows] // ROW_UNITS
        self.rows: list[int] = self.places.tolist()
        self.skip = instruction["skip"] + 1 if instruction["skip_en"] else 0
        self.streams = bool(instruction["w_rows"] or instruction["w_circular"])
        self.scaling = bool(instruction["scaling"])
        self.stream_row = self.base if self.streams else -1
        self.from_ring = instruction["s0_id"] in _RING_READS
        self.issued: dict[int, NDArray[np.int64]] = {}

    def _span(self) -> tuple[int, int] | None:
        if self.instruction["scaling"]:
            return None
        low, high = self.narrow.span
        return 4 * low, 4 * high + 4 + 2 * self.instruction["slot"]

    def begin(self, planner: Planner) -> None:
        """Record the last arrival of each row at the time of issue."""
        if self.from_ring and not (self.scaling or self.streams):
            for tile in tiles_of(self.waiting):
                self.issued[tile] = planner.wide.arrivals(tile, self.places)

    def ready(self, planner: Planner, tile: int) -> bool:
        """Whether its rows have arrived."""
        queues = planner.tiles[tile]
        if self.scaling:
            return self.from_ring or not planner.written_before(self, tile, frozenset(self.rows))
        if self.streams:
            return len(queues.queue(self.base)) >= self.num_rows
        if self.from_ring:
            arrivals = planner.wide.arrivals(tile, self.places)
            return bool((arrivals > self.issued[tile]).all())
        return not planner.written_before(self, tile, frozenset(self.rows))

    def fire(self, planner: Planner, tiles: list[int]) -> None:
        """Announce scaling rows, or copy."""
        if self.scaling:
            self._announce_scaling(planner, tiles)
        else:
            self._copy(planner, tiles)
        for tile in tiles:
            self.waiting &= ~(1 << tile)

    def _announce_scaling(self, planner: Planner, tiles: list[int]) -> None:
        rows = self.places[:0] if self.from_ring else self.places
        if len(rows) and self.instruction["mode"] == _TWICE:
            if not np.array_equal(rows[::2], rows[1::2]):
                raise self.stop("scaling rows that are not all loaded twice", "w_inc1")
            rows = rows[::2]
        for tile in tiles:
            planner.tiles[tile].scaling.append(Scaling(rows, self.base, self.num_rows))

    def _copy(self, planner: Planner, tiles: list[int]) -> None:
        where = f"{self.instruction.where}, field w_addr"
        rows = np.stack(
            [
                planner.tiles[tile].queue(self.base).take(self.num_rows)
                if self.streams
                else planner.wide.at(tile, self.places, where)
                for tile in tiles
            ]
        )
        there = self.num_rows * _ROW_WORDS - self.skip
        refills = [
            k for k in range(1, 6) if self.narrow.counts[k] > 1 and not self.narrow.strides[k]
        ]
        if refills:
            self._in_chunks(planner, tiles, rows, there, refills[0])
            return
        words = self.narrow.addresses()[: max(there, 0)]
        if self.instruction["head_en"]:
            words = words[: len(words) - self._missing()]
        self._check(words)
        packed = -(-(len(words) + self.skip) // _ROW_WORDS)
        if self.num_rows > packed and len(words) % self.num_rows == 0 and not self.skip:
            # narrowToWide has written the same number of words to each row.
            planner.add(ToNarrow(tiles, rows, 0, words, len(words) // self.num_rows))
        else:
            planner.add(ToNarrow(tiles, rows, self.skip, words))
        for tile, delivery in zip(tiles, rows):
            chunk = Chunk(4 * int(words[0]), 4 * len(words), delivery, 4 * self.skip)
            planner.tiles[tile].chunks.append(chunk)

    def _missing(self) -> int:
        """The number of words missing from the last round of level 0."""
        missing = self.instruction["head_tail"] // 4
        if missing < 0 or self.instruction["head"] + 1 + missing != self.narrow.counts[0]:
            raise self.stop("a short last round that does not fit", "head")
        return missing

    def _in_chunks(
        self, planner: Planner, tiles: list[int], rows: NDArray[np.int64], there: int, level: int
    ) -> None:
        """Pass the chunks to the copies; the last two also stay in the slots."""
        length, number = self.narrow.counts[0], self.narrow.counts[level]
        slot_words = self.instruction["slot"] * 2 // 4
        number = min(number, -(-there // length))
        for index in range(number):
            base = self.instruction["n_addr"] + index % 2 * slot_words
            size = min(length, there - index * length)
            if index >= number - 2:
                words = base + np.arange(size)
                self._check(words)
                planner.add(ToNarrow(tiles, rows, self.skip + index * length, words))
            first_byte = 4 * (self.skip + index * length)
            for tile, delivery in zip(tiles, rows):
                chunk = Chunk(4 * base, 4 * size, delivery, first_byte)
                planner.tiles[tile].chunks.append(chunk)

    def _check(self, words: NDArray[np.int64]) -> None:
        if not len(words):
            raise self.stop("nothing to copy", "skip")
        low, high = int(words.min()), int(words.max())
        if low < 0 or 4 * (high + 1) > NARROW_BYTES:
            raise self.stop(
                f"narrow memory words {low:#x} to {high:#x} of {NARROW_BYTES // 4:#x}",
                "n_addr",
                "the address lies outside the tile's memory",
            )
