# SPDX-License-Identifier: Apache-2.0
"""Blocks that lie over each other: a segment's result grows over its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from edgekit.chip.codegen.geometry import WORD, Block, Range
from edgekit.chip.codegen.nests import round_up
from edgekit.chip.isa.memories import NUM_TILES


@dataclass
class Overlay:
    """A result that may lie over the input it is made from.

    ``slices`` has for each slice the rows that it makes and the rows that it reads, by tile row.
    """

    source: Block
    result: Block
    upwards: bool  # the last rows are made first
    slices: list[tuple[list[Range | None], list[Range | None]]]

    def distance(self) -> int | None:
        """Address of the result less that of the source, in bytes; None if nothing is computed.

        It is so large (or small) that no slice writes over rows that it or a later one reads.
        """
        best: int | None = None
        for tile in range(NUM_TILES):
            if all(self.source.stored(tile)) and all(self.result.stored(tile)):
                for needed in self._distances(tile):
                    if best is None:
                        best = needed
                    else:
                        best = max(best, needed) if self.upwards else min(best, needed)
        if best is None:
            return None
        return round_up(best, WORD) if self.upwards else best // WORD * WORD

    def _distances(self, tile: int) -> list[int]:
        source, result, part = self.source, self.result, tile // 4
        source_top = (source.rows[part] or (0, 0))[0]
        result_top = (result.rows[part] or (0, 0))[0]
        still_read: int | None = None
        found = []
        for made, read in reversed(self.slices):
            rows = read[part]
            if rows is not None:
                edge = rows[1] if self.upwards else rows[0]
                if still_read is None:
                    still_read = edge
                else:
                    still_read = max(still_read, edge) if self.upwards else min(still_read, edge)
            first, end = made[part] or (0, 0)
            if end <= first or still_read is None:
                continue
            written = first if self.upwards else end
            found.append(
                (still_read - source_top) * source.row_bytes(tile)
                - (written - result_top) * result.row_bytes(tile)
            )
        return found


@dataclass
class Group:
    """Blocks in one region of narrow memory, with their places in it."""

    members: list[tuple[Block, int]]

    @property
    def size_bytes(self) -> int:
        """Bytes of the region."""
        return self._end - self._begin

    @property
    def _begin(self) -> int:
        return min(offset for _, offset in self.members)

    @property
    def _end(self) -> int:
        return max(offset + block.size_bytes for block, offset in self.members)

    def place(self, address: int) -> None:
        """Set the blocks' addresses; the region begins at ``address``."""
        begin = self._begin
        for block, offset in self.members:
            block.address = address + offset - begin

    def offset_of(self, block: Block) -> int:
        """The place of a member."""
        return next(offset for each, offset in self.members if each is block)


def group_blocks(blocks: Sequence[Block], overlays: Sequence[Overlay]) -> list[Group]:
    """Every block in a group: of its own, or with those that it shares a region with."""
    group_of = {id(block): Group([(block, 0)]) for block in blocks}
    for overlay in overlays:
        source, result = overlay.source, overlay.result
        if id(source) not in group_of or id(result) not in group_of:
            continue
        distance = overlay.distance()
        own = group_of[id(result)]
        if distance is None or len(own.members) > 1:
            continue
        group = group_of[id(source)]
        trial = Group([*group.members, (result, group.offset_of(source) + distance)])
        if trial.size_bytes < group.size_bytes + result.size_bytes:
            group.members = trial.members
            group_of[id(result)] = group
    unique = {id(group): group for group in group_of.values()}
    return list(unique.values())
