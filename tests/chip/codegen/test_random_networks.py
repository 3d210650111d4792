# SPDX-License-Identifier: Apache-2.0
"""Random networks through the compiler: right, or refused with a reason."""

from __future__ import annotations

import sys

import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from scripts.fuzz_compiler import try_network
from scripts.random_network import last_output, random_network


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_random_networks_compile_and_are_right_or_are_refused(first: int) -> None:
    outcomes = [try_network(seed) for seed in range(first, first + 10)]
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    assert any(outcome.mapped for outcome in outcomes)


def test_the_same_seed_gives_the_same_network() -> None:
    first, second = (random_network(7) for _ in range(2))
    assert first.tensors == second.tensors
    assert first.real[last_output(first)].tolist() == second.real[last_output(second)].tolist()
