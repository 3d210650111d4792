# SPDX-License-Identifier: Apache-2.0
"""The host's streams of a program, from the transfers that it requests.

The scalar core computes descriptors of transfers, in a loop if the program has one. Each region of
host memory (an input, an output, scratch memory, the parameters) gets its own address, as the
host's runtime would assign it, so the address in a descriptor identifies the region.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

from edgekit.chip.emulator.streams import SOURCES, Span, Streams, total
from edgekit.chip.isa.decode import Instruction
from edgekit.chip.isa.errors import EmulationError
from edgekit.chip.isa.table import RELOCATED_BIT, WORD_BYTES
from edgekit.formats.darwinn import InstructionBitstream, Position

_REGION_BITS = 24  # no layer of the corpus is larger
_INPUT, _PARAMETERS, _OUTPUT = 1, 2, 3  # tags of a descriptor (tinycoral, docs/isa/scalar.md)


class Transfers:
    """Regions of host memory by address, and the streams that descriptors build from them."""

    def __init__(self) -> None:
        self.regions: list[tuple[str, str]] = []  # (source, name)
        self._seen = 0

    def relocated(
        self, chunk: InstructionBitstream, instructions: Sequence[Instruction]
    ) -> tuple[Instruction, ...]:
        """Return the instructions with region addresses in the immediates of relocations."""
        bases: dict[int, int] = {}
        for offset in chunk.field_offsets:
            region = (SOURCES[offset.meta.desc], offset.meta.name)
            if region not in self.regions:
                self.regions.append(region)
            base = self.regions.index(region) + 1 << _REGION_BITS
            pc = (offset.offset_bit - RELOCATED_BIT) // (8 * WORD_BYTES)
            bases[pc] = base if offset.meta.position is Position.LOWER_32BIT else 0
        return tuple(
            replace(each, fields={**each.fields, "imm": each["imm"] + bases[each.pc]})
            if each.pc in bases
            else each
            for each in instructions
        )

    def extended(self, streams: Streams, descriptors: Sequence[tuple[int, ...]]) -> Streams:
        """Return the streams with the transfers of new descriptors appended.

        Raises:
            EmulationError: A descriptor's address is in no region.
        """
        for address, _, size, tag in descriptors[self._seen :]:
            name = {_INPUT: "activations", _PARAMETERS: "parameters", _OUTPUT: "results"}.get(tag)
            if name is None:
                continue
            region, offset = divmod(address, 1 << _REGION_BITS)
            if not 1 <= region <= len(self.regions):
                raise EmulationError(
                    f"a transfer of {size} bytes at address {address:#x}",
                    where="alu, field imm of a descriptor",
                    why="no relocation refers to that address",
                )
            spans: tuple[Span, ...] = getattr(streams, name)
            start = sum(span.size for span in spans)
            before = sum(span.size for span in spans if span.source == "input")
            source, region_name = self.regions[region - 1]
            results = total(streams.results)
            span = Span(start, size, source, region_name, offset, before, results)
            streams = replace(streams, **{name: (*spans, span)})
        self._seen = len(descriptors)
        return streams
