# SPDX-License-Identifier: Apache-2.0
"""Addresses on a grid are those of the walk, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.chip.emulator.grid import Addresses, Grid, common_grid, straight
from edgekit.chip.isa.walks import Walk, product

_LOOPS = (4, 3, 2, 5, 1, 1, 1, 1)


def _walk(*levels: tuple[int, int]) -> Walk:
    whole = [*levels, *[(0, 1)] * (8 - len(levels))]
    return Walk(96, tuple(stride for stride, _ in whole), tuple(count for _, count in whole))


def _read(walk: Walk) -> tuple[Grid, Addresses]:
    grid = common_grid(_LOOPS, [walk])
    addresses = straight(grid, walk)
    assert addresses is not None
    return grid, addresses


@pytest.mark.parametrize(
    "walk",
    [
        _walk((4, 4), (64, 3), (0, 2), (-8, 5)),
        _walk((4, 12), (0, 10)),  # two loops in one level
        _walk((4, 2), (32, 2), (0, 6), (64, 5)),  # a loop in two levels, two in one
        _walk((8, 120)),
    ],
)
def test_every_step_has_the_address_of_the_walk(walk: Walk) -> None:
    grid, addresses = _read(walk)
    assert product(grid.sizes) == product(_LOOPS)
    assert grid.full(addresses.values()).tolist() == walk.addresses().tolist()


def test_addresses_along_axes_in_another_order_are_those_of_the_reordered_steps() -> None:
    grid, addresses = _read(_walk((4, 2), (32, 2), (0, 6), (64, 5)))
    axes = (2, 0, 3)  # of five
    steps = np.arange(grid.num_steps).reshape(grid.sizes).transpose(1, 4, 2, 0, 3)[0, 0]
    whole = grid.full(addresses.values())
    assert addresses.along(axes).tolist() == whole[steps].reshape(-1).tolist()
    listed = Addresses(grid, 0, (), whole.reshape(grid.sizes))
    assert listed.along(axes, 4).tolist() == addresses.along(axes, 4).tolist()


def test_nests_that_do_not_divide_each_other_have_no_common_grid() -> None:
    walk = _walk((4, 5), (64, 24))
    grid = common_grid(_LOOPS, [walk])
    assert grid.sizes == (5, 2, 3, 4)
    assert straight(grid, walk) is None
