# SPDX-License-Identifier: Apache-2.0
"""Factors and shifts before a layer, folded into its weights."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Tensor
from edgekit.rewrite import apply_rule
from edgekit.rewrite.batch_norm import RULE
from tests.rewrite.conftest import Graph, opcodes, random_inputs, run

_SHAPE = (1, 5, 6, 4)


def _float(graph: Graph, shape: tuple[int, ...]) -> int:
    return graph.tensor(shape, None, dtype="FLOAT32")


def _numbers(graph: Graph, *shape: int) -> int:
    return graph.constant(graph.random.normal(size=shape).astype(np.float32))


def _normalized(layer: str, steps: str, padding: str = "VALID", size: int = 3) -> Model:
    """A ReLU, then MUL and ADD with a number for each channel, then a layer."""
    graph = Graph(_SHAPE)
    graph.tensors[0] = Tensor("x", _SHAPE, "FLOAT32", 0)
    graph.apply("RELU", [graph.x], _float(graph, _SHAPE), version=1)
    for step in steps.split():
        fused = {"fused_activation_function": "NONE"}
        graph.apply(step, [graph.x, _numbers(graph, 4)], _float(graph, _SHAPE), fused,
                    f"{step.capitalize()}Options", 1)  # fmt: skip
    lost = size - 1 if padding == "VALID" else 0
    image = (1, 5 - lost, 6 - lost)
    options: dict[str, object] = {"fused_activation_function": "NONE"}
    if layer == "FULLY_CONNECTED":
        options["keep_num_dims"] = True
    else:
        names = ("stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor")
        options.update(padding=padding, **dict.fromkeys(names, 1))
    if layer == "DEPTHWISE_CONV_2D":
        options["depth_multiplier"] = 1
    shapes = {
        "CONV_2D": ((3, size, size, 4), (*image, 3), "Conv2DOptions"),
        "DEPTHWISE_CONV_2D": ((1, size, size, 4), (*image, 4), "DepthwiseConv2DOptions"),
        "FULLY_CONNECTED": ((3, 4), (1, 5, 6, 3), "FullyConnectedOptions"),
    }
    weights, out, kind = shapes[layer]
    inputs = [graph.x, _numbers(graph, *weights), _numbers(graph, out[-1])]
    version = 5 if layer == "FULLY_CONNECTED" else 1
    graph.apply(layer, inputs, _float(graph, out), options, kind, version)
    return graph.model()


def _folded(model: Model) -> list[str]:
    changed = apply_rule(RULE, model)
    assert changed is not None
    inputs = random_inputs(model)
    for (expected,), (actual,) in zip(run(model, inputs), run(changed, inputs)):
        np.testing.assert_allclose(expected, actual, rtol=1e-4, atol=1e-4)
    assert apply_rule(RULE, changed) is None
    return opcodes(changed)


@pytest.mark.parametrize("layer", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"])
@pytest.mark.parametrize("steps", ["MUL", "ADD", "MUL ADD", "ADD MUL"])
def test_factors_and_shifts_go_into_the_weights(layer: str, steps: str) -> None:
    assert _folded(_normalized(layer, steps)) == ["RELU", layer]


def test_a_shift_before_a_pixel_wise_convolution_is_folded() -> None:
    assert _folded(_normalized("CONV_2D", "MUL ADD", "SAME", 1)) == ["RELU", "CONV_2D"]


def test_a_shift_before_padding_stays_and_a_factor_after_it_does_not() -> None:
    assert _folded(_normalized("CONV_2D", "ADD MUL", "SAME")) == ["RELU", "ADD", "CONV_2D"]


def test_a_shift_just_before_padding_stays() -> None:
    assert apply_rule(RULE, _normalized("CONV_2D", "MUL ADD", "SAME")) is None
