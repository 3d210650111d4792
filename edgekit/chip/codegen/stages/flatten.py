# SPDX-License-Identifier: Apache-2.0
"""A map as one vector: the first tile gathers all positions and copies them one after the other."""

from __future__ import annotations

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import WORD
from edgekit.chip.codegen.memories import IDENTITY
from edgekit.chip.codegen.nodes import Flatten
from edgekit.chip.codegen.stages.fields import Walk, copy_stage, output_stage, value_by_value
from edgekit.chip.codegen.stages.stage import Placement, Stage


class FlattenStage(Stage):
    """A vector of all values of a map, on the first tile."""

    def __init__(self, node: Flatten, at: Placement) -> None:
        super().__init__(node.windows, at)
        self.node = node

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute."""
        del scratch
        source, output = self.source, self.output
        step = source.channels
        read = Walk(source.at(0, 0, 0), source.position_bytes, source.row_bytes(0))
        written = Walk(output.at(0, 0, 0), step, step * source.width)
        counts = source.width, source.height, step // WORD
        fields = value_by_value(read, written, counts, IDENTITY)
        fields.update(copy_stage() if self.node.is_copy else output_stage(self.node.stage))
        emitter.reset()
        emitter.put("op", tiles=1, **fields)
        emitter.reset()
