# SPDX-License-Identifier: Apache-2.0
"""Fences set counters, and mesh transfers name the counts of each half."""

from __future__ import annotations

from edgekit.chip.emulator.plan import Planner
from edgekit.chip.emulator.units.fences import Fence
from edgekit.chip.emulator.units.mesh import steps_of, waits_of
from edgekit.chip.isa import decode, encode_one

_NORTH, _FENCE = 0x17, 0x1A
_WEST_IN, _EAST_IN = 6, 4  # counters


def test_a_fence_sets_its_counters_to_its_count() -> None:
    planner = Planner()
    planner.tiles[3].counters[_WEST_IN] = 7
    planner.tiles[3].counters[_EAST_IN] = 7
    (fence,) = decode(
        encode_one(_FENCE, {"tiles": 1 << 3, "counters": 1 << _WEST_IN, "count": 2, "units": 1})
    )
    planner.issue(Fence(fence, 0))
    assert planner.tiles[3].counters[_WEST_IN] == 2
    assert planner.tiles[3].counters[_EAST_IN] == 7


def test_the_record_before_an_empty_one_belongs_to_the_inbound_half() -> None:
    both = {"s0_val": 5 << 2 | 2, "s0_en_a": 1, "s1_val": 5 << 2 | 3, "s1_en_a": 1}
    (outbound,) = decode(encode_one(_NORTH, {"tiles": 1, **both}))
    assert waits_of(outbound) == [(0, 5, 2), (0, 5, 3)]
    (told_apart,) = decode(encode_one(_NORTH, {"tiles": 1, **both, "s2_id": 1}))
    assert waits_of(told_apart) == [(0, 5, 2)]


def test_the_last_round_of_the_outermost_level_is_short() -> None:
    (transfer,) = decode(encode_one(_NORTH, {"tiles": 1, "o_group": 1, "o_group_stride": 1}))
    assert steps_of(transfer, "o_", (4, 2, 2, 1)).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13]
