# SPDX-License-Identifier: Apache-2.0
"""Large RESHAPEs of an image's channels into heads."""

from __future__ import annotations

from edgekit.rewrite import apply_rule
from edgekit.rewrite.reshaped_heads import RULE
from tests.rewrite.conftest import Graph, opcodes, rewritten


def _reshaped(shape: tuple[int, ...], new: tuple[int, ...]) -> Graph:
    graph = Graph(shape)
    graph.activation("RELU")
    graph.reshape(new)
    graph.activation("RELU")
    return graph


def test_each_head_is_reshaped_alone() -> None:
    changed = rewritten(_reshaped((1, 20, 20, 256), (1, 400, 2, 128)).model(), RULE)
    parts = ["SLICE", "RESHAPE"] * 2
    assert opcodes(changed) == ["RELU", *parts, "CONCATENATION", "RELU"]


def test_small_ones_and_other_movements_stay() -> None:
    for shape, new in (
        ((1, 10, 10, 64), (1, 100, 2, 32)),
        ((1, 20, 20, 256), (1, 400, 1, 256)),
        ((1, 20, 20, 256), (1, 256, 20, 20)),
    ):
        assert apply_rule(RULE, _reshaped(shape, new).model()) is None
