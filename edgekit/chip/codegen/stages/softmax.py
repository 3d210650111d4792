# SPDX-License-Identifier: Apache-2.0
"""A softmax over channels: 16-bit exponentials times a 16-bit reciprocal of their sum.

The steps and fields are those of Google's programs: the largest value; every value minus it; the
exponential function; 1/sqrt of the sum; its square; the product. They run on a dense copy of some
positions, whose channels beyond the last are zero.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from edgekit.chip.arithmetic.spline import APPLY, REDUCE_RANGE, WIDE, Spline
from edgekit.chip.arithmetic.tables import EXP, EXP_LIMIT, RSQRT
from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import (
    FIFO,
    IDENTITY,
    SELECTION,
    SHARED_UNITS,
    TOP,
)
from edgekit.chip.codegen.nests import (
    DMA_LEVELS,
    NARROW_DMA_LEVELS,
    Fields,
    filled,
    nest_fields,
    op_nest_fields,
    round_up,
)
from edgekit.chip.codegen.nodes import Softmax
from edgekit.chip.codegen.stages.constants import write_rows
from edgekit.chip.codegen.stages.dense import HALF, STREAMED, DenseStage, Part, feed
from edgekit.chip.codegen.stages.fields import (
    ALL_CHANNELS,
    HANDED_OVER,
    LANES,
    UNLIMITED,
    UNSYNCHRONIZED,
    float_bits,
    loops,
    output_stage,
    wait_for_handover,
)
from edgekit.chip.codegen.stages.nonlinear import load_spline
from edgekit.chip.codegen.stages.stage import SCRATCH_BYTES, Placement
from edgekit.chip.isa.memories import ROW_UNITS

_WIDE = 65535  # the largest 16-bit value
_ROOT_FACTOR = np.float32(46340)  # scale of the 16-bit 1/sqrt: its square is below 2^31
_RECIPROCAL_LIMIT = 32768
_FIFO_ROWS = 4
# Of each position, behind its values and exponentials: largest, those of the lanes, root, squares.
_POSITION_WORDS = 1 + 1 + 2 + 4
# Pairs of int16 weights minus their zero point 1: (2, 1) takes the first value, (1, 2) the second.
_FIRST, _SECOND, _NEITHER = 0x10002, 0x20001, 0x10001
_SELECTION = (_FIRST, _SECOND, *4 * (_NEITHER,), _FIRST, _SECOND)


class SoftmaxStage(DenseStage):
    """A softmax on blocks."""

    def __init__(self, node: Softmax, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.node = node
        if self.most_positions == 1:
            # Google's programs have at least two words, and two rounds of four rows. Where the
            # last word is masked, so is the one behind it, which then has no values.
            self.used_words = max(2, self.used_words)
            self.least_bytes = WORD * self.used_words
            spare = int(self.channels % LANES > 0)
            self.words = max(2 * _FIFO_ROWS, round_up(self.used_words + spare, _FIFO_ROWS))
        else:
            self.words = round_up(self.used_words, 2)  # the product takes pairs of words
        # A word behind the last square.
        self.divide(3 * self.words + _POSITION_WORDS, 1)
        self.sums = self.bottom = TOP - SHARED_UNITS - ROW_UNITS * self.positions
        self._at = _Places(0, 0, 0)

    def place(self, scratch: int) -> None:
        """Set the addresses in scratch memory."""
        self._at = _Places(scratch, self.words, self.positions)

    def compute(self, emitter: Emitter) -> None:
        """Compute the positions of `_parts`."""
        self.copy_in(emitter, self._at.values)
        self._largest(emitter)
        self._subtract(emitter)
        self._exponentials(emitter)
        self._roots(emitter)
        self._reciprocals(emitter)
        self._product(emitter)
        self.put(emitter, "op", partial(self.copy_out, self._at.values))
        emitter.reset()

    # The largest value, and the differences.

    def _largest(self, emitter: Emitter) -> None:
        """The largest value of each lane of all words, then of the four lanes."""
        self.put(emitter, "n2w", self._feed_values)
        self.put(emitter, "op.max", self._largest_lanes_op)
        emitter.reset()
        self.put(emitter, "n2w", lambda part: feed(self._at.lanes, [(1, 1), *part.dense(1)]))
        self.put(emitter, "op.max", self._largest_op)
        emitter.reset()

    @property
    def _fifo_rows(self) -> int:
        """Rows in which words wait for the op; a position has a multiple of so many words."""
        return _FIFO_ROWS if self.words % _FIFO_ROWS == 0 else 2

    def _feed_values(self, part: Part) -> Fields:
        """A word a row, the lanes of which become outputs."""
        fields = _in_turns(self._at.values, self.words * part.positions, self._fifo_rows)
        return {**fields, "transpose": 1}

    def _largest_lanes_op(self, part: Part) -> Fields:
        rows = self._fifo_rows
        rounds = self.words // rows
        nest = [(0, rounds), (0, part.positions)]
        return {
            **_LARGEST,
            **loops(rows, rounds, part.positions),
            "out_base": self._at.lanes,
            "par_rows": rows,
            **op_nest_fields("out_", filled([(WORD, 1), *part.dense(WORD)])),
            **op_nest_fields("par_", [(ROW_UNITS, rows), *nest]),
            **op_nest_fields("psum_", [(0, self.words), (0, part.positions)]),
        }

    def _largest_op(self, part: Part) -> Fields:
        nest = [(0, 1), (0, part.positions)]
        return {
            **_LARGEST,
            **loops(LANES, 1, part.positions),
            "out_base": self._at.largest,
            "par_rows": 1,
            **op_nest_fields("out_", filled([(WORD, 1), *part.dense(WORD)])),
            **op_nest_fields("par_", [(1, LANES), *nest]),
            **op_nest_fields("psum_", [(0, LANES), (0, part.positions)]),
        }

    def _subtract(self, emitter: Emitter) -> None:
        """``value - largest + 255``: minus the largest as a bias, from sums in wide memory."""
        write_rows(emitter, self._at.constants, SELECTION, [0] * 8, self._tiles)
        emitter.fence()
        self.put(emitter, "op", self._negative_op)
        emitter.fence(counters=2)
        emitter.fence()
        write_rows(emitter, self._at.constants, SELECTION, _SELECTION, self._tiles)
        emitter.fence()
        self.put(emitter, "w2n", self._load_biases)
        self.put(emitter, "op", self._difference_op)
        emitter.reset()

    def _negative_op(self, part: Part) -> Fields:
        several = part.positions > 1
        return {
            **_DIFFERENCE,
            **loops(1, part.positions),
            "in_base": self._at.largest,
            "in_flag": 1,
            "in_levels": 1,
            "out_base": self._at.lanes,
            "out_levels": 1,
            "par_base": SELECTION,
            "psum_base": self.sums,
            "psum_flag": int(several),
            "cfg2": 18,
            "cfg3": 6,
            **op_nest_fields("in_", [(1, 1), (0, 1), (WORD, part.positions)]),
            **op_nest_fields("out_", [(1, 1), (0, 1), (WORD, part.positions)]),
            **op_nest_fields("par_", [(0, part.positions)] if several else [(1, 1)]),
            **op_nest_fields("psum_", [(ROW_UNITS, part.positions)] if several else [(1, 1)]),
        }

    def _load_biases(self, part: Part) -> Fields:
        return {
            "w_addr": self.sums,
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
            **nest_fields("w_", [(1, 1), (0, 2), (1, part.positions)], DMA_LEVELS),
            **nest_fields("n_", [(1, 32), (0, 2), (0, part.positions)], NARROW_DMA_LEVELS),
        }

    def _difference_op(self, part: Part) -> Fields:
        several, words = part.positions > 1, self.words * part.positions
        dense = part.dense(WORD * self.words)
        return {
            **_DIFFERENCE,
            **loops(2, self.words, part.num_columns, part.num_rows),
            "in_base": self._at.values,
            "in_flag": 3,
            "in_levels": 3,
            "out_base": self._at.values,
            "out_flag": 3,
            "out_levels": 3,
            "par_base": SELECTION,
            "par_flag": 1,
            "psum_levels": 0x840,
            "cfg0": 3 if several else 7,
            "cfg1": 0x8D if several else 0x4D,
            **UNSYNCHRONIZED,
            "sync2": 0xA6,
            "sync3": 0x80,
            "sync4": 0x80,
            "cfg2": 0x16,
            "group_level": 1,
            "reduce": 1,
            "bias": 1,
            **op_nest_fields("in_", filled([(2, 2 * self.words), *dense])),
            **op_nest_fields("out_", filled([(WORD, self.words), *dense])),
            **op_nest_fields("par_", [(ROW_UNITS, 2), (0, words)]),
            **op_nest_fields("psum_", [(0, 2), (0, words)]),
        }

    # The exponential function.

    def _exponentials(self, emitter: Emitter) -> None:
        """16-bit exponentials; those of channels beyond the last are 0."""
        self._load(emitter, EXP.times(np.float32(_WIDE)))
        self.put(emitter, "op", self._exponential_op)
        valid = self.channels % LANES or LANES
        # The last value stands in the first or second of the two words of its four channels.
        last = 2 * (self.valid_words - 1) + (valid - 1) // 2
        place = self._at.exponentials + WORD * last
        if valid % 2:
            self.put(emitter, "op", lambda part: self.masked(part, place, HALF, 2))
        self.clear(emitter, place + WORD, 2 * self.words - last - 1, 2)
        emitter.reset()

    def _exponential_op(self, part: Part) -> Fields:
        words = self.words * part.positions
        return {
            **loops(words),
            "in_base": self._at.values,
            "in_flag": 3,
            "in_levels": 1,
            "out_base": self._at.exponentials,
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
            **op_nest_fields("in_", [(WORD, 1), (WORD, 1), (WORD, words)]),
            **op_nest_fields("out_", [(WORD, 2), (WORD, 1), (2 * WORD, words)]),
            **op_nest_fields("par_", [(0, words)]),
            **op_nest_fields("psum_", [(0, words)]),
        }

    # The reciprocal of the sum: four values for each position, of which the first counts.

    def _roots(self, emitter: Emitter) -> None:
        """1/sqrt of the sum."""
        self._load(emitter, RSQRT.times(_ROOT_FACTOR))
        self.put(emitter, "n2w", self._feed_sums)
        self.put(emitter, "op.sum", self._root_op)
        emitter.reset()

    def _feed_sums(self, part: Part) -> Fields:
        """A word a row."""
        return _in_turns(self._at.exponentials, 2 * self.words * part.positions, _FIFO_ROWS)

    def _root_op(self, part: Part) -> Fields:
        rounds = 2 * self.words // _FIFO_ROWS
        nest = [(0, rounds), (0, part.positions)]
        return {
            **STREAMED,
            **loops(_FIFO_ROWS, rounds, part.positions),
            "out_base": self._at.roots,
            "out_flag": 3,
            "out_levels": 3,
            "par_rows": _FIFO_ROWS,
            "psum_levels": 0x840,
            "cfg2": 0x16,
            "group_level": 1,
            "reduce": 3,
            "nlu": APPLY | REDUCE_RANGE | WIDE,
            "mult": float_bits(float(np.float32(1) / np.float32(_WIDE))),
            **UNLIMITED,
            **op_nest_fields("out_", filled([(WORD, 2), *part.dense(2 * WORD)])),
            **op_nest_fields("par_", [(ROW_UNITS, _FIFO_ROWS), *nest]),
            **op_nest_fields("psum_", [(0, 2 * self.words), (0, part.positions)]),
        }

    def _reciprocals(self, emitter: Emitter) -> None:
        """The square of 1/sqrt, and the four squares of a position packed again."""
        self.put(emitter, "op", self._square_op)
        self.put(emitter, "n2w", self._feed_roots)
        emitter.fence(units=0x20)
        self.put(emitter, "op", self._pack_op)
        wait_for_handover(emitter)

    def _feed_roots(self, part: Part) -> Fields:
        return feed(self._at.roots, [(1, 2), *part.dense(2)], turns=2)

    def _square_op(self, part: Part) -> Fields:
        root_scale = np.float32(1) / _ROOT_FACTOR
        square = root_scale * root_scale
        multiplier = square * (np.float32(1) / (square * np.float32(_WIDE)))
        nest = part.dense(0)
        return {
            **STREAMED,
            **loops(2, 2, part.num_columns, part.num_rows),
            "in_base": self._at.roots,
            "in_flag": 3,
            "in_levels": 3,
            "out_base": self._at.squares,
            "out_flag": 3,
            "out_levels": 7,
            "par_rows": 1,
            "psum_flag": 1,
            "psum_levels": 0x840,
            "cfg2": 0x1E,
            "group_level": 4,
            "nlu": WIDE,
            "mult": float_bits(float(multiplier)),
            "clamp_max": float_bits(_RECIPROCAL_LIMIT),
            **op_nest_fields("in_", filled([(2, 4), *part.dense(2 * WORD)])),
            **op_nest_fields("out_", filled([(WORD, 2), (WORD, 4), *part.dense(4 * WORD)], 5)),
            **op_nest_fields("par_", [(2, 2), (0, 2), *nest]),
            **op_nest_fields("psum_", [(1, 1), (0, 4), *nest]),
        }

    def _pack_op(self, part: Part) -> Fields:
        nest = part.dense(0)
        return {
            **loops(LANES, 1, part.num_columns, part.num_rows),
            "in_base": self._at.squares,
            "in_flag": 3,
            "in_levels": 3,
            "out_base": self._at.roots,
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
            **op_nest_fields("in_", filled([(WORD, LANES), *part.dense(WORD * LANES)])),
            **op_nest_fields("out_", filled([(WORD, 2), *part.dense(2 * WORD)])),
            **op_nest_fields("par_", [(1, LANES), (0, 1), *nest]),
            **op_nest_fields("psum_", [(0, LANES), (0, 1), *nest]),
        }

    # The product.

    def _product(self, emitter: Emitter) -> None:
        """Every exponential times the reciprocal."""
        self.put(emitter, "n2w", self._feed_exponentials)
        self.put(emitter, "op", self._product_op)
        wait_for_handover(emitter)

    def _feed_exponentials(self, part: Part) -> Fields:
        fills = self.words // 2 * part.positions
        return {
            "n_addr": self._at.exponentials,
            "n_levels": 7,
            "w_addr": FIFO,
            "w_rows": 1,
            "transpose": 1,
            "tail": 5,
            **HANDED_OVER,
            **nest_fields("n_", [(2, 2), (1, 2), (4, fills)], NARROW_DMA_LEVELS),
            **nest_fields("w_", [(0, fills)], DMA_LEVELS),
        }

    def _product_op(self, part: Part) -> Fields:
        words = self.words * part.positions
        return {
            **STREAMED,
            **loops(2, self.words // 2, part.positions),
            "in_base": self._at.roots,
            "in_flag": 1,
            "in_levels": 7,
            "out_base": self._at.values,
            "out_flag": 3,
            "out_levels": 3,
            "par_rows": 1,
            "psum_levels": 0x800,
            "cfg2": 0x1E,
            "group_level": 1,
            **output_stage(self.node.stage),
            **op_nest_fields("in_", filled([(WORD, 1), (0, self.words), *part.dense(2 * WORD)], 5)),
            **op_nest_fields("out_", filled([(WORD, self.words), *part.dense(WORD * self.words)])),
            **op_nest_fields("par_", [(2, 2), (0, self.words // 2), (0, part.positions)]),
            **op_nest_fields("psum_", [(0, words)]),
        }

    def _load(self, emitter: Emitter, table: Spline) -> None:
        emitter.fence(counters=7, units=1)
        load_spline(emitter, table, self._tiles)


_LARGEST: Fields = {
    **STREAMED,
    "out_flag": 3,
    "out_levels": 3,
    "psum_levels": 0x840,
    "cfg2": 6,
    "group_level": 1,
    "reduce": 3,
    "mult": float_bits(1.0),
    "clamp_max": float_bits(255.0),
}
_DIFFERENCE: Fields = {
    "w_zp": 1,
    **ALL_CHANNELS,
    "mult": float_bits(1.0),
    "clamp_min": float_bits(-255.0),
    "out_zp": 255,
}


def _in_turns(address: int, number: int, rows: int) -> Fields:
    """Words to ``rows`` rows of wide memory, one a row, in turns."""
    return {
        "n_addr": address,
        "n_levels": 1,
        "w_addr": FIFO,
        "w_levels": 1,
        "w_circular": 1,
        "w_rows": rows,
        **HANDED_OVER,
        "s0_f1": 1,
        "s0_level": 1,
        **nest_fields("n_", [(1, number)], NARROW_DMA_LEVELS),
        **nest_fields("w_", [(1, rows), (0, number // rows)], DMA_LEVELS),
    }


class _Places:
    """Addresses in narrow memory; the constants are written by fills."""

    def __init__(self, scratch: int, words: int, positions: int) -> None:
        self.constants = scratch
        self.values = scratch + SCRATCH_BYTES
        self.exponentials = self.values + WORD * words * positions
        self.largest = self.exponentials + 2 * WORD * words * positions
        self.lanes = self.largest + WORD * positions  # and what nothing reads
        self.roots = self.lanes + WORD * positions
        self.squares = self.roots + 2 * WORD * positions  # and a word behind the last
