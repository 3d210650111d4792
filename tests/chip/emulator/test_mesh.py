# SPDX-License-Identifier: Apache-2.0
"""Transfers between tiles: what counts as arrived, and what may be sent when."""

from __future__ import annotations

import pytest

from edgekit.chip.emulator.plan import Planner
from edgekit.chip.emulator.sync.strict import SyncChecker
from edgekit.chip.emulator.units.mesh import Mesh
from edgekit.chip.isa import Instruction, SyncError, decode, encode_one

_NORTH, _FROM_SOUTH = 0x17, 5  # the instruction, and the counter of what it brings
_SIGNALS = 1  # of i_mode


def _north(tile: int, **fields: int) -> Instruction:
    return decode(encode_one(_NORTH, {"tiles": 1 << tile, **fields}))[0]


def _fill(tile: int, *, signals: int) -> Instruction:
    """Three words of tile memory, at byte 64."""
    return _north(
        tile, i_addr=64, i_inc0=1, i_cnt0=2, i_levels=1, i_mode=signals, fill_en=1, fill=7
    )


_PASSED_ON = {"i_addr": 8, "i_inc0": 1, "i_cnt0": 1, "i_levels": 1, "i_mode": 3}


def _pass_on(threshold: int) -> Instruction:
    """Tile 4 sends words at bytes 0 to 12, and receives those at 8 and 12."""
    wait = {"s0_en_a": 1, "s0_en_b": 1, "s0_id": 2 * _FROM_SOUTH, "s0_val": threshold << 2 | 1}
    return _north(4, o_inc0=1, o_cnt0=3, o_levels=1, **_PASSED_ON, **(wait if threshold else {}))


def _planned(*instructions: Instruction) -> Planner:
    planner = Planner(SyncChecker())
    for order, instruction in enumerate(instructions):
        planner.issue(Mesh(instruction, order))
    return planner


@pytest.mark.parametrize("signals", [0, _SIGNALS])
def test_a_fill_counts_as_arrived_only_if_it_signals(signals: int) -> None:
    planner = _planned(_fill(4, signals=signals))
    assert planner.tiles[4].counters[_FROM_SOUTH] == 3 * signals


def test_words_are_passed_on_when_they_have_arrived() -> None:
    planner = _planned(
        _fill(4, signals=0), _pass_on(1), _north(8, o_addr=32, o_inc0=1, o_cnt0=1, o_levels=1)
    )
    assert [type(step).__name__ for step in planner.steps] == [
        "MeshFill",
        "MeshSend",  # of tile 8
        "MeshReceive",
        "MeshSend",
    ]


def test_words_that_are_passed_on_too_early_are_found() -> None:
    """Nothing else shows it: the values need not differ."""
    with pytest.raises(SyncError, match="writes 2 words of tile 4 that a later transfer"):
        _planned(_pass_on(0), _north(8, o_addr=32, o_inc0=1, o_cnt0=1, o_levels=1))
