# SPDX-License-Identifier: Apache-2.0
"""QUANTIZEs within a chain of operators that move values."""

from __future__ import annotations

from edgekit.fix.mapping import mapped_operators
from edgekit.formats.tflite import Model
from edgekit.rewrite import apply_rule, resampling
from edgekit.rewrite.rescaled import RULE
from tests.rewrite.conftest import Graph, opcodes, rewritten


def _shuffled(*, ends: bool = False) -> Model:
    """A channel shuffle in five dimensions, whose second half has another scale."""
    graph = Graph((1, 4, 5, 8))
    graph.activation("RELU")
    graph.reshape((1, 4, 5, 2, 4))
    graph.apply("QUANTIZE", [graph.x], graph.tensor(graph.shape(), 0.03, -7), {}, "QuantizeOptions")
    if ends:
        return graph.model()
    graph.transpose((0, 1, 2, 4, 3))
    graph.reshape((1, 4, 5, 8))
    graph.activation("RELU")
    return graph.model()


def test_a_channel_shuffle_whose_scale_changes_maps() -> None:
    moved = rewritten(_shuffled(), RULE, maps=False)
    assert opcodes(moved) == ["RELU", "QUANTIZE", "RESHAPE", "TRANSPOSE", "RESHAPE", "RELU"]
    changed = rewritten(moved, resampling.RULE)
    assert opcodes(changed) == ["RELU", "QUANTIZE", "CONV_2D", "RELU"]
    assert all(mapped_operators(changed))


def test_a_quantize_at_the_end_stays() -> None:
    assert apply_rule(RULE, _shuffled(ends=True)) is None
