# SPDX-License-Identifier: Apache-2.0
"""Rows of wide memory that nothing contains any more are used again: large plans stay small."""

from __future__ import annotations

import numpy as np

from edgekit.chip.emulator.plan import Planner

_MANY = 1 << 15


def test_rows_that_no_memory_contains_are_used_again() -> None:
    planner = Planner()
    first = planner.new_rows(_MANY)
    planner.wide.put([3], np.array([10, 11]), np.array([[first + 100, first + 200]]), "")
    planner.reuse_rows()
    before = planner.num_rows
    assert [planner.new_rows(number) for number in (90, 99, _MANY - 201)] == [
        first,
        first + 101,
        first + 201,
    ]
    assert planner.num_rows == before
    assert planner.new_rows(100) == before  # no gap is as large


def test_rows_are_kept_while_they_are_on_their_way() -> None:
    planner = Planner()
    first = planner.new_rows(_MANY)
    planner.tiles[0].inbox[1].put(np.array([first]))
    planner.reuse_rows()
    assert planner.new_rows(1) == first + _MANY
