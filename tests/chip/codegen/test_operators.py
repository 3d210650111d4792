# SPDX-License-Identifier: Apache-2.0
"""Single operators, compiled and run in the emulator: bit-equal to the chip's arithmetic."""

from __future__ import annotations

import sys
from typing import Any, Callable

import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.codegen import Partition, partition
from scripts.random_operators import random_feeds, random_model

Compare = Callable[..., Partition]


def _check(compare: Compare, opcode: str, seed: int, shape: tuple[int, ...]) -> None:
    model = random_model(seed, (opcode,), shape)
    extremes: list[Any] = [random_feeds(model, 0, extreme=value) for value in (0, 255)]
    part = compare(model, random_feeds(model, 1), random_feeds(model, 2), *extremes)
    assert part.reasons == {}


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 10, 31, 64, 257, 1001])
def test_softmax_of_a_vector(compare: Compare, channels: int) -> None:
    for seed in range(3):
        _check(compare, "SOFTMAX", seed, (1, channels))


def test_softmax_of_an_image_is_refused() -> None:
    part = partition(random_model(0, ("SOFTMAX",), (1, 4, 4, 3)))
    assert part.reasons == {0: "a softmax over the channels of 4x4x3"}
