# SPDX-License-Identifier: Apache-2.0
"""SOFTMAXes of more vectors than were seen mapped."""

from __future__ import annotations

import pytest

from edgekit.fix.mapping import mapped_operators
from edgekit.rewrite import apply_rule
from edgekit.rewrite.softmax_rows import RULE
from tests.rewrite.conftest import Graph, opcodes, rewritten


def _softmax(shape: tuple[int, ...]) -> Graph:
    graph = Graph(shape)
    out = graph.tensor(shape, 1 / 256, -128)
    graph.apply("SOFTMAX", [graph.x], out, {"beta": 1.0}, "SoftmaxOptions")
    return graph


@pytest.mark.parametrize("shape", [(1, 2, 170, 300), (1, 250, 200), (250, 200), (1, 1, 250, 200)])
def test_the_weights_of_attention_are_computed_some_rows_at_a_time(shape: tuple[int, ...]) -> None:
    changed = rewritten(_softmax(shape).model(), RULE)
    heads = 2 if shape[-1] == 300 else 1
    assert opcodes(changed).count("SOFTMAX") == 2 * heads
    assert all(mapped_operators(changed))


@pytest.mark.parametrize("shape", [(1, 2, 30, 30), (1, 1001), (1, 60000), (1, 1000, 100, 100)])
def test_others_stay(shape: tuple[int, ...]) -> None:
    """Small ones, single vectors, and those that need too many parts."""
    assert apply_rule(RULE, _softmax(shape).model()) is None
