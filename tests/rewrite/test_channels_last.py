# SPDX-License-Identifier: Apache-2.0
"""Inputs in NCHW that become NHWC."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edgekit.formats.tflite import Model
from edgekit.rewrite import apply_rule
from edgekit.rewrite.channels_last import RULE
from tests.rewrite.conftest import Graph, opcodes, random_inputs, run


def _exported(shape: tuple[int, ...], *, slices: bool = False) -> Model:
    """A network in PyTorch's order: its kernels work in NHWC (or NTC)."""
    graph = Graph(shape)
    if slices:
        begin, size = (
            graph.constant(np.array(each, np.int32))
            for each in ([0] * len(shape), [*shape[:-1], shape[-1] - 1])
        )
        out = graph.like(graph.x, (*shape[:-1], shape[-1] - 1))
        graph.apply("SLICE", [graph.x, begin, size], out)
    graph.transpose((0, *range(2, len(shape)), 1))
    graph.activation("RELU")
    graph.dense(4, keep_num_dims=True)
    return graph.model()


@pytest.mark.parametrize("shape", [(1, 3, 5, 6), (1, 8, 5)])
@pytest.mark.parametrize("slices", [False, True])
def test_an_input_with_channels_first_gets_them_last(shape: tuple[int, ...], slices: bool) -> None:
    model = _exported(shape, slices=slices)
    turned = apply_rule(RULE, model)
    assert turned is not None
    (before,), (after,) = (
        [each.main.tensors[index] for index in each.main.inputs] for each in (model, turned)
    )
    assert after.shape == (*shape[:1], *shape[2:], shape[1])
    assert after.name == before.name
    assert opcodes(turned) == ["SLICE"] * slices + ["RELU", "FULLY_CONNECTED"]
    inputs = random_inputs(model)
    outputs = run(turned, [np.moveaxis(each, 1, -1) for each in inputs])
    for (left,), (right,) in zip(run(model, inputs), outputs):
        np.testing.assert_array_equal(left, right)
    assert apply_rule(RULE, turned) is None


def test_an_input_whose_sides_are_all_equal_is_not_turned() -> None:
    """Nobody could see from its shape which order an array has."""
    assert apply_rule(RULE, _exported((1, 4, 4, 4))) is None


def test_an_input_that_is_flattened_is_not_turned() -> None:
    graph = Graph((1, 3, 4, 5))
    graph.reshape((1, 60))
    graph.dense(4)
    assert apply_rule(RULE, graph.model()) is None


def test_an_input_in_nhwc_is_not_turned() -> None:
    graph = Graph((1, 4, 5, 3))
    graph.activation("RELU")
    graph.transpose((0, 3, 1, 2))
    assert apply_rule(RULE, graph.model()) is None


@pytest.mark.skipif(
    sys.version_info < (3, 8), reason="the runtime of Python 3.7 has no TRANSPOSE of six axes"
)
def test_a_pixel_unshuffle_of_the_input_becomes_space_to_depth() -> None:
    """The TRANSPOSE of six axes, and the one behind it, go away with that of the input."""
    graph = Graph((1, 3, 4, 6))
    graph.reshape((1, 3, 2, 2, 3, 2))
    graph.transpose((0, 1, 3, 5, 2, 4))
    graph.reshape((1, 12, 2, 3))
    graph.transpose((0, 2, 3, 1))
    graph.activation("RELU")
    model = graph.model()
    turned = apply_rule(RULE, model)
    assert turned is not None
    assert opcodes(turned) == ["SPACE_TO_DEPTH", "CONV_2D", "RELU"]
    inputs = random_inputs(model)
    outputs = run(turned, [np.moveaxis(each, 1, -1) for each in inputs])
    for (left,), (right,) in zip(run(model, inputs), outputs):
        np.testing.assert_array_equal(left, right)
