# SPDX-License-Identifier: Apache-2.0
"""Operators for which the tiles have no room stay on the CPU, the others are compiled."""

from __future__ import annotations

import sys

import numpy as np
import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.formats.tflite import Model, Subgraph
from edgekit.opencompiler import NotCompiledError, compile_program
from edgekit.opencompiler.translate import translate_all
from scripts.random_operators import Graph


def _widened(size: int, *, first: bool = True) -> Model:
    """RELU, and a convolution to 96 channels."""
    graph = Graph(np.random.default_rng(0), "INT8")
    given = here = graph.activation((1, size, size, 4), 1.0)
    if first:
        here = graph.add("RELU", (given,), graph.activation(graph.shape(given), 1.0))
    weights, spread = graph.weights((96, 1, 1, 4), 0, per_channel=True)
    made = graph.activation((1, size, size, 96), 2 * spread)
    options = {
        "padding": "SAME",
        "stride_h": 1,
        "stride_w": 1,
        "dilation_h_factor": 1,
        "dilation_w_factor": 1,
        "fused_activation_function": "NONE",
    }
    graph.add("CONV_2D", (here, weights, -1), made, "Conv2DOptions", **options)
    subgraph = Subgraph(tuple(graph.tensors), (given,), (made,), tuple(graph.operators), "main")
    return Model((subgraph,), tuple(graph.buffers), "a convolution")


def test_an_operator_without_room_stays_on_the_cpu() -> None:
    """Its result has 192 x 192 x 96 bytes, all tiles together have 3 MiB."""
    made = compile_program(_widened(192))
    assert made.part.mapped == (0,)
    row = next(row for row in made.operators if row.opcode == "CONV_2D")
    assert "activations of a step need" in row.status


def test_a_model_of_nothing_else_is_refused() -> None:
    with pytest.raises(NotCompiledError, match="cannot compile the model"):
        compile_program(_widened(192, first=False))


def test_one_of_several_models_is_cut() -> None:
    (small, _), (large, _) = translate_all([(_widened(16), "small"), (_widened(192), "large")])
    assert (small.mapped, large.mapped) == ((0, 1), (0,))
