# SPDX-License-Identifier: Apache-2.0
"""An addition: pairs of 16-bit weights applied to the values of two blocks.

The four rows of weights are made by fills. Fields of the op read off Google's programs.
"""

from __future__ import annotations

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import ADDITION
from edgekit.chip.codegen.nests import Fields, op_nest_fields
from edgekit.chip.codegen.nodes import Addition
from edgekit.chip.codegen.stages.constants import write_rows
from edgekit.chip.codegen.stages.fields import LANES, UNSYNCHRONIZED, by_tile, output_stage
from edgekit.chip.codegen.stages.stage import Placement, Stage

_HALVES = 2  # of a word, each two values


class AdditionStage(Stage):
    """An addition on blocks, whose two sources lie alike."""

    sources_lie_alike = True

    def __init__(self, node: Addition, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.node = node

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute; ``scratch`` is the address of 64 free bytes of narrow memory."""
        emitter.reset()
        self._write_weights(emitter, scratch)
        emitter.put_by_tile("op", by_tile(self.tiles, self._op))
        emitter.reset()

    def _write_weights(self, emitter: Emitter, scratch: int) -> None:
        words = [0] * 16
        for operand, weight in enumerate(self.node.weights):
            for half in range(_HALVES):
                row = half + 2 * operand
                words[4 * row + 2 * half] = weight & 0xFFFF
                words[4 * row + 2 * half + 1] = (weight & 0xFFFF) << 16
        write_rows(emitter, scratch, ADDITION, words)

    def _op(self, tile: int) -> Fields:
        node, output = self.node, self.output
        first, second = self.sources
        rows, columns = self.rows[tile // 4], self.columns[tile % 4]
        height, width, words = rows.num_outputs, columns.num_outputs, output.position_bytes // WORD
        place = rows.output, columns.output
        distance = second.at(tile, *place) - first.at(tile, *place)
        step_y, out_y = first.row_bytes(tile), output.row_bytes(tile)
        repeated = [(0, 4), (0, width * height * words)]
        return {
            "loop0": _HALVES - 1,
            "loop1": 1,
            "loop2": width - 1,
            "loop3": height - 1,
            "loop4": words - 1,
            "in_base": first.at(tile, *place),
            "in_flag": 3,
            "in_levels": 15,
            "out_base": output.at(tile, *place),
            "out_flag": 3,
            "out_levels": 7,
            "par_base": ADDITION,
            "par_flag": 1,
            "psum_levels": 0x840,
            "cfg0": 9,
            "cfg1": 0x1AD,
            "cfg2": 0x16,
            "group_level": 4,
            "reduce": 3,
            "channels": LANES - 1,
            "channels_last": LANES - 1,
            "offset": node.offset,
            **UNSYNCHRONIZED,
            **output_stage(node.stage),
            "in_zp": 0,  # the offset contains both zero points
            **op_nest_fields(
                "in_",
                [
                    (2, _HALVES),
                    (distance, 2),
                    (first.position_bytes, width),
                    (step_y, height),
                    (step_y, 1),
                    (WORD, words),
                ],
            ),
            **op_nest_fields(
                "out_",
                [
                    (WORD, 1),
                    (output.position_bytes, width),
                    (out_y, height),
                    (out_y, 1),
                    (WORD, words),
                ],
            ),
            **op_nest_fields("par_", [(4, 4), (0, width * height * words)]),
            **op_nest_fields("psum_", repeated),
        }
