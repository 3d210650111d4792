# SPDX-License-Identifier: Apache-2.0
"""Scratch memory of the host: a read returns what was last written before it."""

from __future__ import annotations

import pytest

from edgekit.chip.emulator.streams import Span, Streams
from edgekit.chip.isa import EmulationError


def _written(*places: tuple[int, int]) -> Streams:
    """Results of ``places`` (offset in scratch memory, bytes), one behind the other."""
    spans, start = [], 0
    for offset, size in places:
        spans.append(Span(start, size, "scratch", "", offset))
        start += size
    return Streams((), (), tuple(spans))


def test_the_last_write_before_the_read_counts() -> None:
    streams = _written((0, 100), (0, 100))
    assert streams.in_scratch(10, 100, "pc 0") == (10, 90)
    assert streams.in_scratch(10, 200, "pc 0") == (110, 90)


def test_a_later_write_ends_what_an_earlier_one_left() -> None:
    streams = _written((0, 100), (40, 20))
    assert streams.in_scratch(10, 120, "pc 0") == (10, 30)
    assert streams.in_scratch(45, 120, "pc 0") == (105, 15)
    assert streams.in_scratch(60, 120, "pc 0") == (60, 40)


def test_what_was_never_written_is_not_read() -> None:
    with pytest.raises(EmulationError, match="scratch byte 100 is read but was never written"):
        _written((0, 100)).in_scratch(100, 100, "pc 0")
