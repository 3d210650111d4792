# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSEs in the order that was seen mapped."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.edgetpu.support import judge_operators
from edgekit.formats.tflite import Model
from edgekit.rewrite import apply_rule, channels_last, rules, turns
from tests.rewrite.conftest import Graph, opcodes, random_inputs, run


def _transposed(shape: tuple[int, ...], order: tuple[int, ...]) -> Model:
    graph = Graph(shape)
    graph.transpose(order)
    return graph.model()


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((1, 8, 5, 6), (0, 2, 3, 1)),
        ((1, 8, 5), (0, 2, 1)),
        ((8, 5), (1, 0)),
        ((1, 1, 8, 5), (0, 1, 3, 2)),
        ((1, 8, 5, 1), (0, 2, 1, 3)),
    ],
)
def test_an_exchange_of_two_blocks_of_axes_maps(
    shape: tuple[int, ...], order: tuple[int, ...]
) -> None:
    model = _transposed(shape, order)
    changed = apply_rule(turns.RULE, model)
    assert changed is not None
    for each in rules():  # no other rule undoes it
        if each is not channels_last.RULE:  # the input would have another shape
            changed = apply_rule(each, changed) or changed
    assert opcodes(changed).count("TRANSPOSE") == 1
    assert {each.verdict for each in judge_operators(changed)} == {"tpu"}
    inputs = random_inputs(model)
    for (expected,), (actual,) in zip(run(model, inputs), run(changed, inputs)):
        np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((1, 8, 5, 6), (0, 3, 1, 2)),  # seen mapped
        ((1, 8, 5, 6), (0, 2, 1, 3)),  # pixels, not a matrix
        ((1, 8, 5, 6), (0, 3, 2, 1)),
        ((1, 1, 5, 6), (1, 0, 2, 3)),  # moves nothing
        ((1, 300, 200), (0, 2, 1)),  # larger than any that was seen mapped
    ],
)
def test_any_other_transpose_stays(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    assert apply_rule(turns.RULE, _transposed(shape, order)) is None
