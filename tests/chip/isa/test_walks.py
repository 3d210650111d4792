# SPDX-License-Identifier: Apache-2.0
"""Address walks, compared with the counter that they describe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.chip.isa import EmulationError
from edgekit.chip.isa.limits import memory_bytes
from edgekit.chip.isa.walks import Walk

_LEVELS = st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 4)), min_size=1, max_size=5)


@given(st.integers(0, 1000), _LEVELS)
def test_addresses_are_those_of_nested_loops(base: int, levels: list[tuple[int, int]]) -> None:
    walk = Walk(base, tuple(s for s, _ in levels), tuple(c for _, c in levels))
    expected = [base]
    for stride, count in levels:
        expected = [address + stride * k for k in range(count) for address in expected]
    addresses = walk.addresses()
    assert addresses.tolist() == expected
    assert walk.span == (min(expected), max(expected))
    assert np.array_equal(walk.grid().reshape(-1), addresses)


def test_a_walk_that_needs_more_than_the_memory_stops() -> None:
    with pytest.raises(EmulationError, match="steps in a walk"):
        Walk(0, (1, 1), (memory_bytes(), 2)).addresses()
