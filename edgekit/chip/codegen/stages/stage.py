# SPDX-License-Identifier: Apache-2.0
"""What all stages that compute have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from edgekit.chip.codegen.emitter import Emitter
from edgekit.chip.codegen.geometry import Block, Counted, Span, computing_tiles, spans_of
from edgekit.chip.codegen.memories import TOP
from edgekit.chip.codegen.nodes import Window

Spans = Sequence[Span]
SCRATCH_BYTES = 128  # of narrow memory, where a stage writes its constants; convolutions need none


@dataclass(frozen=True)
class Placement:
    """Where a node computes: its blocks, and the outputs of every tile row and tile column."""

    sources: Sequence[Block]
    output: Block
    rows: Sequence[Counted]
    columns: Sequence[Counted]


class Stage:
    """A node on blocks."""

    bottom = TOP  # the lowest unit of wide memory that it uses for itself
    scratch_bytes = SCRATCH_BYTES  # of narrow memory, while it runs; 0 if it shares no constants
    least_bytes = 0  # of a position of its source and of its output
    sources_lie_alike = False  # whether one walk has to reach the values of both sources

    def __init__(self, windows: Sequence[Window], at: Placement) -> None:
        self.windows = windows
        self.sources, self.source, self.output = at.sources, at.sources[0], at.output
        self.reads: list[tuple[Spans, Spans]] = [
            (
                spans_of(at.rows, block.height, window.rows),
                spans_of(at.columns, block.width, window.columns),
            )
            for block, window in zip(at.sources, windows)
        ]
        self.rows, self.columns = self.reads[0]
        self.tiles = computing_tiles(self.rows, self.columns)

    def output_steps(self, tile: int) -> tuple[int, int]:
        """Bytes from one column that it makes to the next, and from one row."""
        window = self.windows[0]
        return (
            window.columns.every * self.output.position_bytes,
            window.rows.every * self.output.row_bytes(tile),
        )

    def emit(self, emitter: Emitter, scratch: int) -> None:
        """Compute; ``scratch`` is the address of ``scratch_bytes`` of narrow memory."""
        raise NotImplementedError
