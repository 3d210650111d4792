# SPDX-License-Identifier: Apache-2.0
"""The host's transfers of a run as streams of bytes, in the order in which they are requested."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.chip.isa.errors import EmulationError
from edgekit.formats.darwinn import Description


@dataclass(frozen=True)
class Span:
    """A run of bytes of a host stream and its place: an input, scratch memory or parameters."""

    start: int  # in the stream
    size: int
    source: str  # "input", "scratch", "parameter" or "output"
    name: str
    offset: int  # within the named input, output or memory
    before: int = 0  # bytes of inputs in the stream before it
    results: int = 0  # bytes of results that are transferred before it

    def input_byte(self, at: int) -> int:
        """The position of byte ``at`` of the stream, counting only bytes of inputs."""
        return self.before + at - self.start


@dataclass(frozen=True)
class Streams:
    """The three streams of one run."""

    activations: tuple[Span, ...]
    parameters: tuple[Span, ...]
    results: tuple[Span, ...]

    def in_scratch(self, offset: int, results: int, where: str) -> tuple[int, int]:
        """Where scratch byte ``offset`` is in the results, and how many bytes follow it there.

        Programs write a place several times: the last one of the first ``results`` bytes counts.

        Raises:
            EmulationError: Nothing was written there.
        """
        written = [s for s in self.results if s.source == "scratch" and s.start < results]
        later = 0  # the first byte after it that a later transfer has replaced
        for span in reversed(written):
            if span.offset <= offset < span.offset + span.size:
                end = span.offset + span.size
                return span.start + offset - span.offset, (
                    min(end, later) if later else end
                ) - offset
            if offset < span.offset:
                later = min(later, span.offset) if later else span.offset
        raise EmulationError(
            f"scratch byte {offset} is read but was never written", where=f"{where}, field offset"
        )


def total(spans: tuple[Span, ...]) -> int:
    """The number of bytes of a stream."""
    return sum(span.size for span in spans)


SOURCES = {
    Description.BASE_ADDRESS_INPUT_ACTIVATION: "input",
    Description.BASE_ADDRESS_OUTPUT_ACTIVATION: "output",
    Description.BASE_ADDRESS_SCRATCH: "scratch",
    Description.BASE_ADDRESS_PARAMETER: "parameter",
}
