# SPDX-License-Identifier: Apache-2.0
"""A softmax of one vector on one tile: 16-bit exponentials times a 16-bit reciprocal of their sum.

The steps and fields are those of Google's programs: the largest value; every value minus it; the
exponential function; 1/sqrt of the sum; its square; the product. Google divides the vector among
tiles; here one tile computes all of it, on a copy whose last words are zero.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from edgekit.chip.arithmetic.spline import APPLY, REDUCE_RANGE, WIDE, Spline
from edgekit.chip.arithmetic.tables import EXP, EXP_LIMIT, RSQRT
from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD, Block, Counted
from edgekit.chip.codegen.memories import FIFO, IDENTITY, MASKS, SELECTION, SUMS
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    Nest,
    nest_fields,
    op_nest_fields,
    round_up,
)
from edgekit.chip.codegen.nodes import Softmax
from edgekit.chip.codegen.stages.constants import fill_words, write_rows
from edgekit.chip.codegen.stages.fields import (
    ALL_CHANNELS,
    HANDED_OVER,
    LANES,
    UNLIMITED,
    UNSYNCHRONIZED,
    copy_stage,
    float_bits,
    loops,
    output_stage,
    wait_for_handover,
)
from edgekit.chip.codegen.stages.nonlinear import load_spline
from edgekit.chip.codegen.stages.stage import SCRATCH_BYTES, Stage
from edgekit.chip.isa.memories import ROW_UNITS

_WIDE = 65535  # the largest 16-bit value
_ROOT_FACTOR = np.float32(46340)  # scale of the 16-bit 1/sqrt: its square is below 2^31
_RECIPROCAL_LIMIT = 32768
_FIFO_ROWS = 4
_STEP_WORDS = 8  # the number of words is a multiple of this: whole rounds of every FIFO
_BYTE_ONES = tuple(1 << 8 * lane for lane in range(LANES))
# Pairs of int16 weights minus their zero point 1: (2, 1) takes the first value, (1, 2) the second.
_FIRST, _SECOND, _NEITHER = 0x10002, 0x20001, 0x10001
_SELECTION = (_FIRST, _SECOND, *4 * (_NEITHER,), _FIRST, _SECOND)


class SoftmaxStage(Stage):
    """A softmax on blocks of one position."""

    def __init__(
        self,
        node: Softmax,
        sources: Sequence[Block],
        output: Block,
        rows: Sequence[Counted],
        columns: Sequence[Counted],
    ) -> None:
        super().__init__(node.windows, sources, output, rows, columns)
        self.node = node
        (self.tile,) = self.tiles
        self.channels = self.source.channels
        self.used_words = self.source.position_bytes // WORD
        self.words = round_up(self.used_words, _STEP_WORDS)
        # Behind the constants: the values (later the differences), and the exponentials.
        self.values = SCRATCH_BYTES
        self.exponentials = self.values + WORD * self.words
        self.scratch_bytes = self.exponentials + 2 * WORD * self.words

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        at = _Places(scratch, scratch + self.values, scratch + self.exponentials)
        emitter.reset()
        self._copy_in(emitter, at)
        self._largest(emitter, at)
        self._subtract(emitter, at)
        self._exponentials(emitter, at)
        self._reciprocal(emitter, at)
        self._product(emitter, at)
        self._put(emitter, "op", self._copied(at.values, self._output_at, self.used_words))
        emitter.reset()

    def _put(self, emitter: Emitter, name: str, fields: Fields) -> None:
        emitter.put(name, tiles=1 << self.tile, **fields)

    @property
    def _source_at(self) -> int:
        return self._place(self.source, 0)

    @property
    def _output_at(self) -> int:
        return self._place(self.output, 0)

    def _place(self, block: Block, channel: int) -> int:
        rows, columns = self.rows[self.tile // 4], self.columns[self.tile % 4]
        return block.at(self.tile, rows.output, columns.output) + channel

    # The steps.

    def _copy_in(self, emitter: Emitter, at: _Places) -> None:
        """A copy of the values whose channels beyond the last are 0."""
        valid = self.channels % LANES
        last = WORD * (self.used_words - 1)
        rows = [*_row(valid)]
        if valid % 2:
            rows += _row(2)
        if valid:
            write_rows(emitter, at.constants, MASKS, rows, 1 << self.tile)
        empty = self.words - self.used_words
        if empty:
            fill_words(emitter, at.values + last + WORD, [0] * empty, 1 << self.tile)
        emitter.fence()
        self._put(emitter, "op", self._copied(self._source_at, at.values, self.used_words))
        if valid:
            self._put(emitter, "op", self._copied(at.values + last, at.values + last, 1, MASKS))
        emitter.reset()

    def _largest(self, emitter: Emitter, at: _Places) -> None:
        """The largest value of each byte of all words, then the largest of these four."""
        rounds = self.words // _FIFO_ROWS
        self._put(emitter, "n2w", {**_feed(at.values, self.words), "transpose": 1})
        common = {
            "out_flag": 3,
            "out_levels": 3,
            "par_base": FIFO,
            "par_flag": 1,
            "par_levels": 64,
            "psum_levels": 0x840,
            "cfg0": 0x60,
            "cfg2": 6,
            "group_level": 1,
            "reduce": 3,
            **ALL_CHANNELS,
            "mult": float_bits(1.0),
            "clamp_max": float_bits(255.0),
        }
        self._put(
            emitter,
            "op.max",
            {
                **common,
                **UNSYNCHRONIZED,
                **loops(_FIFO_ROWS, rounds),
                "cfg1": 0x12D,
                "par_rows": _FIFO_ROWS,
                "out_base": at.largest_of_bytes,
                **op_nest_fields("out_", [(WORD, 1)] * 4),
                **op_nest_fields("par_", [(ROW_UNITS, _FIFO_ROWS), (0, rounds)]),
                **op_nest_fields("psum_", [(0, self.words)]),
            },
        )
        emitter.fence(units=1)
        self._put(
            emitter,
            "n2w",
            {
                "n_addr": at.largest_of_bytes,
                "w_addr": FIFO,
                "w_circular": 1,
                "w_rows": 1,
                "tail": 2,
                **HANDED_OVER,
                "s0_f1": 1,
                "s0_level": 1,
                "s0_en1": rounds & 1,
                "s0_val": 0x8000 + (rounds >> 1),
                **nest_fields("n_", [(1, 1)] * NARROW_DMA_LEVELS, NARROW_DMA_LEVELS),
                **nest_fields("w_", [(1, 1)], DMA_LEVELS),
            },
        )
        fills = rounds + 1
        self._put(
            emitter,
            "op.max",
            {
                **common,
                **loops(LANES),
                "cfg1": 0x2D | (fills & 3) << 8,
                "sync0": 0x4000 | fills >> 2,
                "sync1": 0x4000,
                "par_rows": 1,
                "out_base": at.largest,
                **op_nest_fields("out_", [(WORD, 1)] * 4),
                **op_nest_fields("par_", [(1, LANES)]),
                **op_nest_fields("psum_", [(0, LANES)]),
            },
        )
        emitter.reset()

    def _subtract(self, emitter: Emitter, at: _Places) -> None:
        """``value - largest + 255``: minus the largest as a bias, from sums in wide memory."""
        mask = 1 << self.tile
        write_rows(emitter, at.constants, SELECTION, [0] * 8, mask)
        emitter.fence()
        difference = {
            "w_zp": 1,
            **ALL_CHANNELS,
            "mult": float_bits(1.0),
            "clamp_min": float_bits(-255.0),
            "out_zp": 255,
        }
        self._put(
            emitter,
            "op",
            {
                **difference,
                "in_base": at.largest,
                "in_flag": 1,
                "in_levels": 1,
                "out_base": at.unused,
                "out_levels": 1,
                "par_base": SELECTION,
                "psum_base": SUMS,
                "cfg2": 18,
                "cfg3": 6,
                **op_nest_fields("in_", [(1, 1)]),
                **op_nest_fields("out_", [(1, 1)]),
                **op_nest_fields("par_", [(1, 1)]),
                **op_nest_fields("psum_", [(1, 1)]),
            },
        )
        emitter.fence(counters=2)
        emitter.fence()
        write_rows(emitter, at.constants, SELECTION, _SELECTION, mask)
        emitter.fence()
        self._put(
            emitter,
            "w2n",
            {
                "w_addr": SUMS,
                "w_levels": 5,
                "n_addr": 64,
                "n_levels": 1,
                "mode": 1,
                "slot": 64,
                "s0_en0": 1,
                "s0_f2": 1,
                "s0_level": 2,
                "s0_val": 0x8000,
                "s0_en2": 1,
                "s0_f45": 1,
                "scaling": 1,
                "tail": 1,
                **nest_fields("w_", [(1, 1), (0, 2)], DMA_LEVELS),
                **nest_fields("n_", [(1, 32), (0, 2)], NARROW_DMA_LEVELS),
            },
        )
        self._put(
            emitter,
            "op",
            {
                **difference,
                **loops(2, self.words),
                "in_base": at.values,
                "in_flag": 3,
                "in_levels": 3,
                "out_base": at.values,
                "out_flag": 3,
                "out_levels": 3,
                "par_base": SELECTION,
                "par_flag": 1,
                "psum_levels": 0x840,
                "cfg0": 7,
                "cfg1": 0x14D,
                **UNSYNCHRONIZED,
                "sync2": 0xA6,
                "sync3": 0x80,
                "sync4": 0x80,
                "cfg2": 0x16,
                "group_level": 1,
                "reduce": 1,
                "bias": 1,
                **op_nest_fields("in_", [(2, 2 * self.words)]),
                **op_nest_fields("out_", [(WORD, self.words)]),
                **op_nest_fields("par_", [(ROW_UNITS, 2), (0, self.words)]),
                **op_nest_fields("psum_", [(0, 2), (0, self.words)]),
            },
        )
        emitter.reset()

    def _exponentials(self, emitter: Emitter, at: _Places) -> None:
        """16-bit exponentials; those of channels beyond the last are 0."""
        self._load(emitter, EXP.times(np.float32(_WIDE)))
        self._put(
            emitter,
            "op",
            {
                **loops(self.words),
                "in_base": at.values,
                "in_flag": 3,
                "in_levels": 1,
                "out_base": at.exponentials,
                "out_flag": 3,
                "out_levels": 1,
                "par_base": IDENTITY,
                "psum_levels": 0x800,
                "cfg0": 0x25,
                "cfg1": 0x12D,
                **UNSYNCHRONIZED,
                "cfg2": 6,
                "in_zp": 255,
                **ALL_CHANNELS,
                "nlu": APPLY | WIDE,
                "mult": float_bits(self.node.multiplier),
                "clamp_min": float_bits(-float(EXP_LIMIT)),
                **op_nest_fields("in_", [(WORD, 1), (WORD, 1), (WORD, self.words)]),
                **op_nest_fields("out_", [(WORD, 2), (WORD, 1), (2 * WORD, self.words)]),
                **op_nest_fields("par_", [(0, self.words)]),
                **op_nest_fields("psum_", [(0, self.words)]),
            },
        )
        emitter.reset()
        valid = self.channels % LANES or LANES
        # The last value stands in the first or second of the two words of its four channels.
        last = at.exponentials + WORD * (2 * (self.used_words - 1) + (valid - 1) // 2)
        if valid % 2:
            self._put(emitter, "op", self._copied(last, last, 1, MASKS + ROW_UNITS))
        end = at.exponentials + 2 * WORD * self.words
        empty = (end - last) // WORD - 1
        if empty:
            fill_words(emitter, last + WORD, [0] * empty, 1 << self.tile)
        emitter.reset()

    def _reciprocal(self, emitter: Emitter, at: _Places) -> None:
        """1/sqrt of the sum, and its square: four values, of which the first counts."""
        scale = np.float32(1) / np.float32(_WIDE)
        root_scale = np.float32(1) / _ROOT_FACTOR
        square = root_scale * root_scale
        square_multiplier = square * (np.float32(1) / (square * np.float32(_WIDE)))
        number = 2 * self.words
        self._load(emitter, RSQRT.times(_ROOT_FACTOR))
        self._put(emitter, "n2w", _feed(at.exponentials, number))
        self._put(
            emitter,
            "op.sum",
            {
                **loops(_FIFO_ROWS, number // _FIFO_ROWS),
                "out_base": at.roots,
                "out_flag": 3,
                "out_levels": 3,
                "par_base": FIFO,
                "par_flag": 1,
                "par_levels": 64,
                "par_rows": _FIFO_ROWS,
                "psum_levels": 0x840,
                "cfg0": 0x60,
                "cfg1": 0x12D,
                **UNSYNCHRONIZED,
                "cfg2": 0x16,
                "group_level": 1,
                "reduce": 3,
                **ALL_CHANNELS,
                "nlu": APPLY | REDUCE_RANGE | WIDE,
                "mult": float_bits(float(scale)),
                **UNLIMITED,
                **op_nest_fields("out_", [(WORD, 2), *[(2 * WORD, 1)] * 3]),
                **op_nest_fields("par_", [(ROW_UNITS, _FIFO_ROWS), (0, number // _FIFO_ROWS)]),
                **op_nest_fields("psum_", [(0, number)]),
            },
        )
        emitter.reset()
        self._put(
            emitter,
            "op",
            {
                **loops(2, 2),
                "in_base": at.roots,
                "in_flag": 3,
                "in_levels": 3,
                "out_base": at.squares,
                "out_flag": 3,
                "out_levels": 7,
                "par_base": FIFO,
                "par_flag": 1,
                "par_levels": 64,
                "par_rows": 1,
                "psum_flag": 1,
                "psum_levels": 0x840,
                "cfg0": 0x60,
                "cfg1": 0x12D,
                **UNSYNCHRONIZED,
                "cfg2": 0x1E,
                "group_level": 4,
                **ALL_CHANNELS,
                "nlu": WIDE,
                "mult": float_bits(float(square_multiplier)),
                "clamp_max": float_bits(_RECIPROCAL_LIMIT),
                **op_nest_fields("in_", [(2, 4), *[(8, 1)] * 3]),
                **op_nest_fields("out_", [(WORD, 2), (WORD, 4), *[(16, 1)] * 3]),
                **op_nest_fields("par_", [(2, 2), (0, 2)]),
                **op_nest_fields("psum_", [(1, 1), (0, 4)]),
            },
        )
        self._put(
            emitter,
            "n2w",
            {
                "n_addr": at.roots,
                "n_levels": 1,
                "w_addr": FIFO,
                "w_rows": 1,
                **HANDED_OVER,
                **nest_fields("n_", [(1, 2)], NARROW_DMA_LEVELS),
                **nest_fields("w_", [(0, 2)], DMA_LEVELS),
            },
        )
        emitter.fence(units=0x20)
        self._put(
            emitter,
            "op",
            {
                **loops(4),
                "in_base": at.squares,
                "in_flag": 3,
                "in_levels": 3,
                "out_base": at.roots,
                "out_flag": 3,
                "out_levels": 3,
                "par_base": IDENTITY,
                "par_flag": 1,
                "par_levels": 64,
                "psum_levels": 0x840,
                "cfg2": 14,
                "cfg3": 6,
                "group_level": 2,
                **ALL_CHANNELS,
                "nlu": WIDE,
                "mult": float_bits(1.0),
                **UNLIMITED,
                **op_nest_fields("in_", [(WORD, 4), *[(16, 1)] * 3]),
                **op_nest_fields("out_", [(WORD, 2), *[(8, 1)] * 3]),
                **op_nest_fields("par_", [(1, LANES)]),
                **op_nest_fields("psum_", [(0, 4)]),
            },
        )
        wait_for_handover(emitter)

    def _product(self, emitter: Emitter, at: _Places) -> None:
        """Every exponential times the reciprocal."""
        fills = self.words // 2
        self._put(
            emitter,
            "n2w",
            {
                "n_addr": at.exponentials,
                "n_levels": 7,
                "w_addr": FIFO,
                "w_rows": 1,
                "transpose": 1,
                "tail": 5,
                **HANDED_OVER,
                **nest_fields("n_", [(2, 2), (1, 2), (4, fills)], NARROW_DMA_LEVELS),
                **nest_fields("w_", [(0, fills)], DMA_LEVELS),
            },
        )
        self._put(
            emitter,
            "op",
            {
                **loops(2, fills),
                "in_base": at.roots,
                "in_flag": 1,
                "in_levels": 7,
                "out_base": at.values,
                "out_flag": 3,
                "out_levels": 3,
                "par_base": FIFO,
                "par_flag": 1,
                "par_levels": 64,
                "par_rows": 1,
                "psum_levels": 0x800,
                "cfg0": 0x60,
                "cfg1": 0x12D,
                **UNSYNCHRONIZED,
                "cfg2": 0x1E,
                "group_level": 1,
                **ALL_CHANNELS,
                **output_stage(self.node.stage),
                **op_nest_fields("in_", [(WORD, 1), (0, self.words)]),
                **op_nest_fields("out_", [(WORD, self.words)]),
                **op_nest_fields("par_", [(2, 2), (0, fills)]),
                **op_nest_fields("psum_", [(0, self.words)]),
            },
        )
        wait_for_handover(emitter)

    def _load(self, emitter: Emitter, table: Spline) -> None:
        emitter.fence(counters=7, units=1)
        load_spline(emitter, table, 1 << self.tile)

    def _copied(self, source: int, output: int, words: int, row: int = IDENTITY) -> Fields:
        """A copy of words through a row of wide memory."""
        repeated: Nest = [(0, 1), (0, 1), (0, words)]
        fields = {
            **loops(1, 1, words),
            "in_base": source,
            "in_flag": 3,
            "in_levels": 3,
            "out_base": output,
            "out_flag": 3,
            "out_levels": 3,
            "par_base": row,
            "psum_levels": 0x800,
            "cfg0": 5,
            "cfg1": 0x4D,
            "cfg2": 6,
            "group_level": 1,
            **ALL_CHANNELS,
            **UNSYNCHRONIZED,
            **copy_stage(),
            **op_nest_fields("in_", [(WORD, 1), (WORD, 1), (WORD, 1), (WORD, words)]),
            **op_nest_fields("out_", [(WORD, 1), (WORD, 1), (WORD, 1), (WORD, words)]),
            **op_nest_fields("par_", repeated),
            **op_nest_fields("psum_", repeated),
        }
        if words == 1:
            fields.update(par_lo0=1, psum_lo0=1, psum_levels=0)
        return fields


class _Places:
    """Addresses in narrow memory; the first 64 bytes of the constants are written by fills."""

    def __init__(self, constants: int, values: int, exponentials: int) -> None:
        self.constants, self.values, self.exponentials = constants, values, exponentials
        self.largest_of_bytes = constants + 64
        self.largest = constants + 68
        self.unused = constants + 72
        self.roots = constants + 80
        self.squares = constants + 96


def _row(valid: int) -> tuple[int, ...]:
    """A row that copies the first ``valid`` bytes of a word and makes the others 0."""
    return tuple(one if lane < valid else 0 for lane, one in enumerate(_BYTE_ONES))


def _feed(address: int, words: int) -> Fields:
    """Words to four rows of wide memory, one a row, in turns."""
    return {
        "n_addr": address,
        "n_levels": 1,
        "w_addr": FIFO,
        "w_levels": 1,
        "w_circular": 1,
        "w_rows": _FIFO_ROWS,
        **HANDED_OVER,
        "s0_f1": 1,
        "s0_level": 1,
        **nest_fields("n_", [(1, words)], NARROW_DMA_LEVELS),
        **nest_fields("w_", [(1, _FIFO_ROWS), (0, words // _FIFO_ROWS)], DMA_LEVELS),
    }
