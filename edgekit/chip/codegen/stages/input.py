# SPDX-License-Identifier: Apache-2.0
"""An image from the host: the ring brings rows of it to each row of tiles, ops cut them up.

Every tile of a tile row gets the same packets. A copy between the memories drops what comes before
the tile's columns and leaves chunks of whole image rows alternately in two slots of narrow memory
(the staging area); a streamed copy op takes the tile's columns out of each chunk and pads positions
to whole words. A vector goes to its place at once.

Source: tinycoral, docs/isa (MIT), for the three forms of the copy; fields read off Google's
programs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import gcd
from typing import Sequence

from edgekit.chip.codegen.emitter import (
    INPUT_TAG,
    Emitter,
    Transfer,
)
from edgekit.chip.codegen.geometry import WORD, Block, Counted
from edgekit.chip.codegen.memories import TOP
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    divide_up,
    nest_fields,
    op_nest_fields,
    round_up,
)
from edgekit.chip.codegen.stages.fields import (
    LANES,
    by_tile,
    copy_stage,
    dma_nest,
    modular,
    stream_nest,
    words_of_packets,
)
from edgekit.chip.codegen.stages.identity import IDENTITY_BYTES, write_identity
from edgekit.chip.isa.memories import ROW_BYTES, TILES_PER_ROW
from edgekit.formats.darwinn import Description, Direction

_UNIT = 8  # bytes: the unit of an activation stream
_BUFFER_UNITS = 1 << 14  # of the host queue for activations
_ZERO_WORDS = 64  # of the constants of a copy that reads bytes


@dataclass(frozen=True)
class _Passes:
    """How a tile row's packets go through the ring consumer's buffer."""

    refills: int
    packets: int
    group: int
    group_stride: int


class InputStage:
    """One image; ``rows`` and ``columns`` are what each tile row and column takes of it."""

    def __init__(
        self,
        block: Block,
        rows: Sequence[Counted] | None = None,
        columns: Sequence[Counted] | None = None,
    ) -> None:
        self.block = block
        self.whole = rows is None
        self.rows = block.own_rows if rows is None else list(rows)
        self.columns = block.own_columns if columns is None else list(columns)
        self.row_bytes = block.width * block.channels
        self.size_bytes = round_up(block.height * self.row_bytes, _UNIT)
        self.buffer_packets = divide_up(self.row_bytes, ROW_BYTES)
        # So many image rows are a whole number of words.
        self.chunk_rows = WORD // gcd(self.row_bytes, WORD)
        self.spare_bytes = 0
        if self._leaves_its_chunk():
            # A very narrow image: all rows are one chunk, with room for the phase of a word.
            self.chunk_rows = max(number for _, number in self.rows)
            self.spare_bytes = WORD - 1
        self.chunk_words = divide_up(self.chunk_rows * self.row_bytes + self.spare_bytes, WORD)
        self.slot_bytes = max(WORD * self.chunk_words, ROW_BYTES)
        self.by_bytes = block.channels % WORD != 0
        self.constant_bytes = IDENTITY_BYTES + WORD * _ZERO_WORDS * self.by_bytes
        buffer_units = 8 * self.buffer_packets
        constant_units = 4 * divide_up(self.constant_bytes, ROW_BYTES)
        self.is_vector = self.whole and (block.height, block.width) == (1, 1)
        if self.is_vector:
            self.slot_bytes = self.constant_bytes = 0
        # Wide memory from the top, the larger part first.
        if buffer_units > constant_units:
            self.buffer = TOP - buffer_units
            self.constants = self.buffer - constant_units
        else:
            self.constants = TOP - constant_units
            self.buffer = self.constants - buffer_units
        self.bottom = min(self.buffer, self.constants)

    # What each tile row takes.

    def tiles(self, part: int) -> list[int]:
        """The tiles of a tile row that take anything."""
        if not self.rows[part][1]:
            return []
        return [
            TILES_PER_ROW * part + column
            for column in range(TILES_PER_ROW)
            if self.columns[column][1]
        ]

    def _rows_of_chunk(self, part: int) -> int:
        return min(self.chunk_rows, self.rows[part][1])

    def _words_of_chunk(self, part: int) -> int:
        return divide_up(self._rows_of_chunk(part) * self.row_bytes + self.spare_bytes, WORD)

    def _chunks(self, part: int) -> tuple[int, int]:
        """The number of chunks, and the rows of the last one."""
        number = divide_up(self.rows[part][1], self._rows_of_chunk(part))
        return number, self.rows[part][1] - self._rows_of_chunk(part) * (number - 1)

    def _leaves_its_chunk(self) -> bool:
        """Whether a tile's columns can end behind the end of the last row of a chunk."""
        return any(
            self._offset(tile) % WORD + self.columns[tile % 4][1] * self.block.channels
            > self.row_bytes
            for part in range(4)
            for tile in self.tiles(part)
        )

    def _units(self, part: int) -> tuple[int, int]:
        """(first, end) of the stream's units that contain a tile row's rows."""
        if not self.tiles(part):
            return 0, 0
        first, number = (value * self.row_bytes for value in self.rows[part])
        return first // _UNIT, divide_up(first + number, _UNIT)

    def _passes(self, part: int) -> _Passes:
        first, number = (value * self.row_bytes for value in self.rows[part])
        units = divide_up(first + number, _UNIT) - first // _UNIT
        packets = divide_up(_UNIT * units, ROW_BYTES)
        refills = divide_up(packets, self.buffer_packets)
        last = packets - self.buffer_packets * (refills - 1)
        if last == self.buffer_packets:
            return _Passes(refills, packets, 0, 0)
        return _Passes(refills, packets, last - 1, 4 * (self.buffer_packets - last) + 1)

    def _offset(self, tile: int) -> int:
        """Bytes of the stream before the tile's first value."""
        first_row, first_column = self.rows[tile // 4][0], self.columns[tile % 4][0]
        return first_row * self.row_bytes % _UNIT + first_column * self.block.channels

    # Instructions.

    def emit(self, emitter: Emitter, staging: int, constants: int, name: str) -> None:
        """Bring the image in; ``staging`` and ``constants`` are addresses in narrow memory."""
        emitter.scalar_sync(counters=5)
        emitter.signal()
        if self.is_vector:
            self._emit_vector(emitter, name)
            return
        write_identity(emitter, constants, self.constants, zero_words=_ZERO_WORDS * self.by_bytes)
        emitter.fence(units=0x20)
        tiles = [tile for part in range(4) for tile in self.tiles(part)]
        copy = partial(self._copy, staging, last=False)
        emitter.put_by_tile("op", by_tile(tiles, copy))
        starts = self._send(emitter, name)
        needs_fence = [
            bool(self.tiles(part)) and self._passes(part).refills >= 3 for part in range(4)
        ]
        if any(needs_fence):
            mask = sum(0xF << 4 * part for part in range(4) if needs_fence[part])
            emitter.fence(tiles=mask, counters=1 << 11, units=0)
        for fenced in (False, True):
            chosen = [tile for tile in tiles if needs_fence[tile // 4] == fenced]
            emitter.put_by_tile("w2n", by_tile(chosen, partial(self._unpack, staging)))
        for part in range(4):
            if self.tiles(part):
                self._receive(emitter, part, starts[part])
        emitter.fence()
        copy = partial(self._copy, staging, last=True)
        emitter.put_by_tile("op", by_tile(tiles, copy))
        emitter.reset()

    def _emit_vector(self, emitter: Emitter, name: str) -> None:
        """One position: from the packets to its place on the first tile."""
        emitter.fence(units=0x20)
        (start, *_) = self._send(emitter, name)
        packets, words = self.buffer_packets, divide_up(self.block.channels, WORD)
        target = self.block.at(0, 0, 0)
        emitter.put("w2n", tiles=1, **words_of_packets(self.buffer, packets, target, words))
        self._receive(emitter, 0, start)
        emitter.reset()

    def _send(self, emitter: Emitter, name: str) -> list[int]:
        """Start the host transfers; returns each tile row's first unit in the stream."""
        source = Description.BASE_ADDRESS_INPUT_ACTIVATION
        emitter.move_address(10, 11, source, name, low_first=False)
        emitter.scalar_sync(counters=4, value=8191)
        emitter.scalar_sync(counters=1)
        units = [self._units(part) for part in range(4)]
        if self.whole:
            _pop(emitter, self.size_bytes // _UNIT)
            for register, other in ((5, 11), (4, 10), (6, 5), (7, 4)):
                emitter.move(register, other)
            emitter.push_descriptor(6, 7, self.size_bytes, INPUT_TAG, spare=8)
            emitter.transfers.append(Transfer(Direction.INFEED, source, name, 0, self.size_bytes))
            return [first for first, _ in units]
        starts, total = [], 0
        for first, end in units:
            starts.append(total)
            total += end - first
        _pop(emitter, total)
        for first, end in units:
            if end > first:
                offset, size = _UNIT * first, _UNIT * (end - first)
                emitter.add_to_address((10, 11), offset, (4, 5), 6)
                emitter.move(6, 5)
                emitter.move(7, 4)
                emitter.push_descriptor(6, 7, size, INPUT_TAG, spare=8)
                emitter.transfers.append(Transfer(Direction.INFEED, source, name, offset, size))
        return starts

    def _receive(self, emitter: Emitter, part: int, start: int) -> None:
        """The ring consumer of a tile row, and the packets for it."""
        passes, size = self._passes(part), self.buffer_packets
        mask = sum(1 << tile for tile in self.tiles(part))
        if size > 1:
            nest = dma_nest([(1, size), (0, passes.refills)])
            fields = {"levels": 1, "circular": 1, "mode": 3, "s_id": 43, **nest}
        elif passes.refills == 1:
            fields = {"circular": 1, "mode": 3, "s_id": 43, **dma_nest([(1, 1)])}
        else:
            fields = {"mode": 1, "s_id": 11, **dma_nest([(0, passes.refills)])}
        emitter.put(
            "ring.recv0",
            tiles=mask,
            addr=self.buffer,
            slots=size,
            group=passes.group,
            group_stride=passes.group_stride,
            s_val=-64 * size,
            s_cnt=size,
            s_en_b=1,
            s_y=1,
            **fields,
        )
        first, end = self._units(part)
        _infeed(emitter, start, end - first, mask)

    def _unpack(self, staging: int, tile: int) -> Fields:
        """Packets to chunks: the stream without what comes before the tile's values."""
        part = tile // 4
        passes = self._passes(part)
        skipped = self._offset(tile) // WORD
        words, number = self._words_of_chunk(part), self._chunks(part)[0]
        rest = ROW_BYTES // WORD * passes.packets - skipped
        head = None
        if rest <= words:
            words, chunks = rest, 1
        elif divide_up(rest, words) > number + 1:
            chunks = number + 1
            head = rest - number * words
            if head % words == 0:
                head -= words
        else:
            chunks = divide_up(rest, words)
            head = rest - (chunks - 1) * words
            if head == words:
                head = None
        several = self.buffer_packets > 1
        circular = several or passes.refills == 1
        nest = [(1, self.buffer_packets), (0, passes.refills)]
        fields = {
            "w_addr": self.buffer,
            "w_levels": int(several),
            "w_circular": int(circular),
            "w_rows": self.buffer_packets,
            "group": passes.group,
            "group_stride": passes.group_stride,
            "n_addr": staging // WORD,
            "n_levels": 1,
            "mode": 1,
            "slot": max(WORD * self._words_of_chunk(part), ROW_BYTES) // 2,
            "s0_en0": 1,
            "s0_id": 14,
            "s0_level": int(circular),
            "s0_en1": 1,
            "s0_val": 0x8000,
            "s0_en2": 1,
            "s0_dec_level": 1,
            "s0_dec": 0x1FFFF,
            "s0_dec_mode": 3,
            "tail": 2,
            **nest_fields("w_", nest if circular else nest[1:], DMA_LEVELS),
            **nest_fields("n_", [(1, words), (0, chunks)], NARROW_DMA_LEVELS),
        }
        if head is not None:
            fields.update(head=head - 1, head_en=1, head_tail=WORD * (words - head))
        if skipped:
            first = staging // WORD
            fields.update(
                skip_en=3, skip_base=first, skip=skipped - 1, skip_end=first + skipped - 1
            )
        return fields

    def _copy(self, staging: int, tile: int, *, last: bool) -> Fields | None:
        """From chunks into the block: all chunks but the last, or the last."""
        block, part = self.block, tile // 4
        number, rows_of_last = self._chunks(part)
        if not last and number < 2:
            return None
        columns, (_, stored_columns) = self.columns[tile % 4][1], block.stored(tile)
        phase, rows = self._offset(tile) % WORD, self._rows_of_chunk(part)
        words = self._words_of_chunk(part)
        chunks, rows_here = (1, rows_of_last) if last else (number - 1, rows)
        first_row = self.rows[part][0] + (rows * (number - 1) if last else 0)
        slot = (number - 1) % 2 * self.slot_bytes if last else 0
        arrived = words
        if last:
            end = (rows_of_last - 1) * self.row_bytes + phase + columns * block.channels
            arrived = (number - 1) * words + divide_up(end, WORD)
        fields = {
            "in_base": staging + slot + phase,
            "in_flag": 3,
            "in_ring_bytes": 2 * self.slot_bytes,
            "out_base": block.at(tile, first_row, self.columns[tile % 4][0]),
            "out_flag": 3,
            "par_base": self.constants,
            "cfg1": 0x6B | (arrived % 4) << 8,
            "sync0": (self.chunk_words % 4) << 14 | arrived // 4,
            "sync1": 0x4000 + self.chunk_words // 4,
            "cfg2": 6,
            "channels": LANES - 1,
            "channels_last": LANES - 1,
            **copy_stage(),
        }
        copy = _Copy(
            columns=columns,
            rows=rows_here,
            chunks=chunks,
            position_words=block.position_bytes // WORD,
            row_words=stored_columns * (block.position_bytes // WORD),
            chunk_words=rows * stored_columns * (block.position_bytes // WORD),
            # A level of one iteration, whose stride is the whole block.
            block_words=block.stored(tile)[0] * stored_columns * (block.position_bytes // WORD),
            channels=block.channels,
            source_row_bytes=self.row_bytes,
        )
        if not self.by_bytes:
            fields.update(_copy_words(copy))
        elif block.channels < WORD:
            fields.update(_copy_few_channels(copy))
        else:
            fields.update(_copy_shifted(copy))
            fields["cfg1"] = 0x8B | (arrived % 4) << 8
        return fields


@dataclass(frozen=True)
class _Copy:
    """The shape of a streamed copy; words are of narrow memory."""

    columns: int
    rows: int
    chunks: int
    position_words: int
    row_words: int
    chunk_words: int
    block_words: int
    channels: int
    source_row_bytes: int


def _copy_words(copy: _Copy) -> Fields:
    """Whole words: one row of the image is one chunk."""
    words = copy.position_words
    repeated = [(0, words), (0, 1), (0, copy.columns), (0, copy.chunks)]
    fields = {
        "loop1": words - 1,
        "loop2": copy.columns - 1,
        "loop3": copy.chunks - 1,
        "in_levels": 0x80,
        "out_levels": 3,
        "psum_levels": 0x800,
        "cfg0": 5,
        "group_level": 4,
        **op_nest_fields("in_", [(4, words), (4 * words, copy.columns), (0, copy.chunks)]),
        **op_nest_fields(
            "out_",
            [
                (4, words),
                (4 * words, copy.columns),
                (4 * copy.row_words, copy.chunks),
                (4 * copy.block_words, 1),
            ],
        ),
        **op_nest_fields("par_", repeated),
        **op_nest_fields("psum_", repeated),
    }
    if words == 1:
        fields.update(par_lo0=1, psum_lo0=1)
    return fields


def _copy_few_channels(copy: _Copy) -> Fields:
    """One to three channels, byte by byte: each position becomes one word."""
    channels, several = copy.channels, copy.chunks > 1
    stored_columns = copy.row_words
    out = [(4, 1), (4, copy.columns), (4 * stored_columns, copy.rows)]
    if several:
        out.append((4 * copy.chunk_words, copy.chunks))
    out.append((4 * copy.block_words, 1))
    repeats = copy.rows * copy.chunks
    fields = {
        "loop0": channels - 1,
        "loop1": copy.columns - 1,
        "loop2": copy.rows - 1,
        "loop3": copy.chunks - 1,
        "in_levels": 0xC1,
        "out_levels": 7 if several else 3,
        "par_flag": 1,
        "psum_levels": 0x840,
        "cfg0": 7,
        "cfg3": 7,
        "group_level": 3,
        "reduce": 1,
        **op_nest_fields(
            "in_",
            [
                (1, channels),
                (channels, copy.columns),
                (copy.source_row_bytes, copy.rows),
                (0, copy.chunks),
            ],
        ),
        **op_nest_fields("out_", out),
        **op_nest_fields("par_", [(1, channels), (0, copy.columns), (0, repeats)]),
        **op_nest_fields(
            "psum_", [(int(channels == 1), channels), (0, copy.columns), (0, repeats)]
        ),
    }
    if channels == 1:
        fields["psum_lo0"] = 1
    return fields


def _copy_shifted(copy: _Copy) -> Fields:
    """More than four channels, not whole words: byte by byte, the last word partly."""
    channels, several, words = copy.channels, copy.chunks > 1, copy.position_words
    last, missing = (channels - 1) % 4, -channels % 4
    out = [(4, 1), (4, words), (4 * words, copy.columns), (4 * copy.row_words, copy.rows)]
    if several:
        out.append((4 * copy.chunk_words, copy.chunks))
    out.append((4 * copy.block_words, 1))
    repeats = copy.rows * copy.chunks
    return {
        "loop0": 3,
        "loop1": words - 1,
        "loop2": copy.columns - 1,
        "loop3": copy.rows - 1,
        "loop4": copy.chunks - 1,
        "last_loop": last,
        "last_loop_mode": 1,
        "in_levels": 0xC1,
        "out_levels": 7 | several << 3,
        "par_flag": 1,
        "psum_levels": 0x840,
        "cfg0": 9,
        "cfg3": 7,
        "group_level": 4,
        "reduce": 1,
        "par_last_en": last & 1,
        "par_last": last >> 1 | 1 << 13 | missing << 16,
        "psum_last": last << 9 | 1 << 23,
        **op_nest_fields(
            "in_",
            [
                (1, channels),
                (channels, copy.columns),
                (copy.source_row_bytes, copy.rows),
                (0, copy.chunks),
            ],
        ),
        **op_nest_fields("out_", out),
        **op_nest_fields("par_", [(1, 4), (0, words), (0, copy.columns), (0, repeats)]),
        **op_nest_fields("psum_", [(0, 4), (0, words), (0, copy.columns), (0, repeats)]),
    }


def _pop(emitter: Emitter, units: int) -> None:
    """The host stream of activations."""
    nest = stream_nest(units, _BUFFER_UNITS, 16) if units > 1 else {"inc0": 1}
    emitter.put(
        "pop",
        stream=1,
        k121=1,
        k124=1,
        activations=1,
        k174=1,
        k178=1,
        k199=1,
        k215=1,
        **nest,
    )


def _infeed(emitter: Emitter, offset: int, units: int, mask: int) -> None:
    """Units of the stream, from ``offset`` on, as packets to a row of tiles."""
    fields = {"inc0": 1, "last": units - 1}
    if units > 1:
        fields.update(last_en=1, last_neg=modular(units, 14))
        fields.update(stream_nest(units, _BUFFER_UNITS, 21))
        if units % _BUFFER_UNITS == 0:
            fields.update(last=0, last_en=0)
    emitter.put(
        "infeed",
        stream=1,
        offset=offset % (1 << 15),
        k157=1,
        k160=1,
        activations=1,
        k311=1,
        pop_wait=(offset + 1) % (1 << 16),
        k336=1,
        k352=1,
        k392=1,
        tiles=mask,
        row=15,
        lanes=3,
        **fields,
    )
