# SPDX-License-Identifier: Apache-2.0
"""Every vector divided by its length: 1/sqrt of the sum of squares, times each value.

Source: tinycoral, docs/isa/codegen_eltops.md (MIT), for one vector; several take the form of the
softmax of several positions.
"""

from __future__ import annotations

from functools import partial

from edgekit.chip.arithmetic.spline import APPLY, REDUCE_RANGE, WIDE
from edgekit.chip.arithmetic.tables import RSQRT
from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.nests import Fields, filled, op_nest_fields
from edgekit.chip.codegen.nodes import L2Normalization
from edgekit.chip.codegen.stages.dense import STREAMED, DenseStage, Part, feed
from edgekit.chip.codegen.stages.fields import (
    INFINITY,
    float_bits,
    output_stage,
    wait_for_handover,
)
from edgekit.chip.codegen.stages.nonlinear import load_spline
from edgekit.chip.codegen.stages.stage import SCRATCH_BYTES, Placement

_ROOT_WORDS = 2  # four 16-bit values for each position, of which the first counts


class L2NormalizationStage(DenseStage):
    """A normalization on blocks."""

    def __init__(self, node: L2Normalization, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.node = node
        self.padding = node.stage.input_zero_point
        self.divide(2 * self.words + _ROOT_WORDS)
        self._values = self._results = self._roots = 0

    def place(self, scratch: int) -> None:
        """Set the addresses in scratch memory."""
        self._values = scratch + SCRATCH_BYTES
        self._results = self._values + WORD * self.words * self.positions
        self._roots = self._results + WORD * self.words * self.positions

    def compute(self, emitter: Emitter) -> None:
        """Compute the positions of `_parts`."""
        self.copy_in(emitter, self._values)
        emitter.fence(counters=7, units=1)
        load_spline(emitter, RSQRT.times(self.node.factor), self._tiles)
        self.put(emitter, "op", self._root_op)
        self.put(emitter, "n2w", self._feed)
        wait_for_handover(emitter)
        self.put(emitter, "op", self._product_op)
        self.put(emitter, "n2w", lambda part: {**self._feed(part), "transpose": 1})
        wait_for_handover(emitter)
        self.put(emitter, "op", partial(self.copy_out, self._results))
        emitter.reset()

    def _feed(self, part: Part) -> Fields:
        return feed(self._values, [(1, self.words), *part.dense(self.words)])

    def _root_op(self, part: Part) -> Fields:
        """1/sqrt of the sum of squares: the values times themselves."""
        nest = [(0, self.words), (0, part.positions)]
        values = [(WORD, self.words), *part.dense(WORD * self.words)]
        square = float_bits(self.node.square)
        return {
            **STREAMED,
            **output_stage(self.node.stage),
            "out_zp": 0,
            "w_zp": self.node.stage.input_zero_point,
            **_loops(self.words, part.positions),
            "in_base": self._values,
            "in_flag": 3,
            "in_levels": 3,
            "out_base": self._roots,
            "out_flag": 3,
            "out_levels": 3,
            "par_rows": 1,
            "psum_levels": 0x840,
            "cfg2": 7,
            "group_level": 1,
            "reduce": 3,
            "nlu": APPLY | REDUCE_RANGE | WIDE,
            "mult": square,
            "clamp_min": square,
            "clamp_max": INFINITY,
            **op_nest_fields("in_", filled(values)),
            **op_nest_fields("out_", filled([(WORD, 2), *part.dense(2 * WORD)])),
            **op_nest_fields("par_", [(0, 1), *nest]),
            **op_nest_fields("psum_", [(0, 1), *nest]),
        }

    def _product_op(self, part: Part) -> Fields:
        """Every value times its vector's 1/sqrt."""
        nest = [(0, self.words), (0, part.positions)]
        results = [(WORD, self.words), *part.dense(WORD * self.words)]
        return {
            **STREAMED,
            **output_stage(self.node.stage),
            "in_zp": 0,
            "w_zp": self.node.stage.input_zero_point,
            **_loops(self.words, part.positions),
            "in_base": self._roots,
            "in_flag": 3,
            "in_levels": 7,
            "out_base": self._results,
            "out_flag": 3,
            "out_levels": 3,
            "par_rows": 1,
            "psum_levels": 0x840,
            "cfg2": 14,
            "cfg3": 6,
            "group_level": 1,
            **op_nest_fields("in_", [(2, 1), (0, self.words), *part.dense(2 * WORD)]),
            **op_nest_fields("out_", filled(results)),
            **op_nest_fields("par_", [(0, 1), *nest]),
            **op_nest_fields("psum_", [(0, 1), *nest]),
        }


def _loops(words: int, positions: int) -> Fields:
    return {"loop1": words - 1, "loop2": positions - 1}
