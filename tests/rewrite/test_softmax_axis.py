# SPDX-License-Identifier: Apache-2.0
"""SOFTMAX along other axes than the last."""

from __future__ import annotations

import pytest

from edgekit.rewrite import apply_rule
from edgekit.rewrite.softmax_axis import RULE
from tests.rewrite.conftest import Graph, opcodes, rewritten


def _softmax(graph: Graph, order: tuple[int, ...]) -> None:
    """A SOFTMAX as Keras and exporters write it: exchange the axis with the last one, and back."""
    graph.transpose(order)
    out = graph.tensor(graph.shape(), 1 / 256, -128)
    graph.apply("SOFTMAX", [graph.x], out, {"beta": 1.0}, "SoftmaxOptions")
    graph.transpose(order)


@pytest.mark.parametrize("order", [(0, 3, 2, 1), (0, 1, 3, 2)])
def test_softmax_over_rows_or_columns_of_an_image_maps(order: tuple[int, ...]) -> None:
    graph = Graph((1, 6, 5, 4))
    _softmax(graph, order)
    turn = ["RESHAPE", "TRANSPOSE", "RESHAPE"]
    assert opcodes(rewritten(graph.model(), RULE)) == [*turn, "SOFTMAX", *turn]


def test_softmax_over_the_last_axis_or_of_a_matrix_stays() -> None:
    """`transpose-order` gives the TRANSPOSE of a matrix the order that was seen mapped."""
    graph = Graph((1, 6, 4))
    _softmax(graph, (0, 2, 1))
    assert apply_rule(RULE, graph.model()) is None
