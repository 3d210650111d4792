# SPDX-License-Identifier: Apache-2.0
"""Every operator's formula against TensorFlow Lite's reference kernel, on random operators."""

from __future__ import annotations

import sys

import pytest

if sys.version_info < (3, 10):
    pytest.skip("scripts need Python 3.10", allow_module_level=True)

from scripts.random_operators import MAKERS, random_feeds, random_model
from scripts.reference_kernels import TOLERATED, compared


@pytest.mark.parametrize("opcode", MAKERS)
def test_a_formula_is_the_reference_kernel_but_for_the_tolerated_steps(opcode: str) -> None:
    rows = []
    for seed in range(8):
        model = random_model(seed, [opcode])
        rows += [
            each
            for extreme in (None, 0, 255)
            for each in compared(model, random_feeds(model, seed, extreme=extreme))
        ]
    assert {opcode} <= {each.opcode for each in rows}
    assert [each for each in rows if not each.is_tolerated] == []
    # A tolerance of one step must not hide a shift of all values.
    assert sum(each.differing for each in rows) < 0.15 * sum(each.values for each in rows)


@pytest.mark.parametrize("seed", range(6))
def test_operators_in_a_chain_are_compared_on_the_chip_s_own_values(seed: int) -> None:
    chain = ["CONV_2D", "HARD_SWISH", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "LOGISTIC"]
    model = random_model(seed, chain)
    rows = list(compared(model, random_feeds(model, seed)))
    assert len(rows) == len(model.main.operators)
    assert all(each.is_tolerated for each in rows)


def test_tolerances_are_of_known_operators_and_one_step() -> None:
    assert set(TOLERATED) <= set(MAKERS)
    assert set(TOLERATED.values()) == {1}
