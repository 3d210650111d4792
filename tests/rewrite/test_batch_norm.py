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


def _normalized(
    layer: str,
    steps: str,
    padding: str = "VALID",
    size: int = 3,
    factors: tuple[float, ...] | None = None,
) -> Model:
    """A ReLU, then MUL and ADD with a number for each channel, then a layer."""
    graph = Graph(_SHAPE)
    graph.tensors[0] = Tensor("x", _SHAPE, "FLOAT32", 0)
    graph.apply("RELU", [graph.x], _float(graph, _SHAPE), version=1)
    for step in steps.split():
        fused = {"fused_activation_function": "NONE"}
        is_given = factors is not None and step == "MUL"
        number = graph.constant(np.array(factors, np.float32)) if is_given else _numbers(graph, 4)
        graph.apply(step, [graph.x, number], _float(graph, _SHAPE), fused,
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


def test_factors_leave_a_shift_just_before_padding() -> None:
    """Zeros around the image stay zeros: f x + s is f (x + s / f)."""
    model = _normalized("CONV_2D", "MUL ADD", "SAME", factors=(0.5, -1, 2, 0.7))
    assert _folded(model) == ["RELU", "ADD", "CONV_2D"]


@pytest.mark.parametrize("factors", [(1, 1, 0, 1), (1, 1, 0.1, 1)])
def test_very_unequal_factors_before_padding_stay(factors: tuple[float, ...]) -> None:
    """The shift divided by a small factor would need the whole scale of the tensor."""
    model = _normalized("CONV_2D", "MUL ADD", "SAME", factors=factors)
    assert apply_rule(RULE, model) is None


def _steps(middle: str, steps: str, factors: tuple[float, ...]) -> Model:
    """Factors and shifts, then other operators, then a dense layer or a convolution."""
    graph = Graph(_SHAPE)
    graph.tensors[0] = Tensor("x", _SHAPE, "FLOAT32", 0)
    graph.apply("RELU", [graph.x], _float(graph, _SHAPE), version=1)
    for step in steps.split():
        given = np.array(factors, np.float32)
        number = graph.constant(given) if step == "MUL" else _numbers(graph, 4)
        fused = {"fused_activation_function": "NONE"}
        graph.apply(step, [graph.x, number], _float(graph, _SHAPE), fused,
                    f"{step.capitalize()}Options", 1)  # fmt: skip
    for opcode in middle.split():
        if opcode == "RESHAPE":
            shape = (1, int(np.prod(graph.shape())))
            values = graph.constant(np.array(shape, np.int32))
            graph.apply(opcode, [graph.x, values], _float(graph, shape), version=1)
        elif opcode == "MEAN":
            axes = graph.constant(np.array([1, 2], np.int32))
            out = _float(graph, (1, 4))
            graph.apply(opcode, [graph.x, axes], out, {"keep_dims": False}, "ReducerOptions", 1)
        elif opcode == "PAD":
            amounts = graph.constant(np.array([[0, 0], [1, 1], [1, 0], [0, 0]], np.int32))
            _, height, width, depth = graph.shape()
            out = _float(graph, (1, height + 2, width + 1, depth))
            graph.apply(opcode, [graph.x, amounts], out, {}, "PadOptions", 1)
        else:
            _, height, width, depth = graph.shape()
            names = ("filter_height", "filter_width", "stride_h", "stride_w")
            options: dict[str, object] = {"padding": "SAME", "fused_activation_function": "NONE"}
            out = _float(graph, (1, -(-height // 2), -(-width // 2), depth))
            graph.apply(opcode, [graph.x], out, {**options, **dict.fromkeys(names, 2)},
                        "Pool2DOptions", 1)  # fmt: skip
    if len(graph.shape()) == 2:
        inputs = [graph.x, _numbers(graph, 3, graph.shape()[-1]), _numbers(graph, 3)]
        options = {"fused_activation_function": "NONE", "keep_num_dims": False}
        graph.apply("FULLY_CONNECTED", inputs, _float(graph, (1, 3)), options,
                    "FullyConnectedOptions", 1)  # fmt: skip
    else:
        names = ("stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor")
        options = {"fused_activation_function": "NONE", "padding": "VALID"}
        _, height, width, depth = graph.shape()
        inputs = [graph.x, _numbers(graph, 3, 2, 2, depth), _numbers(graph, 3)]
        graph.apply("CONV_2D", inputs, _float(graph, (1, height - 1, width - 1, 3)),
                    {**options, **dict.fromkeys(names, 1)}, "Conv2DOptions", 1)  # fmt: skip
    return graph.model()


@pytest.mark.parametrize(
    "middle",
    ["RESHAPE", "MEAN", "AVERAGE_POOL_2D", "AVERAGE_POOL_2D RESHAPE", "MAX_POOL_2D RESHAPE"],
)
def test_pooling_and_flattening_are_passed(middle: str) -> None:
    model = _steps(middle, "MUL ADD", (0.5, 1, 2, 0.01))
    assert _folded(model)[:-1] == ["RELU", *middle.split()]


def test_the_largest_value_is_another_one_after_a_negative_factor() -> None:
    model = _steps("MAX_POOL_2D RESHAPE", "MUL ADD", (0.5, -1, 2, 1))
    assert _folded(model) == ["RELU", "MUL", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED"]


def test_zeros_around_the_image_are_passed_by_factors_only() -> None:
    assert _folded(_steps("PAD", "MUL", (0, 1, 2, 3))) == ["RELU", "PAD", "CONV_2D"]
    shifted = _steps("PAD", "MUL ADD", (1, -1, 2, 3))
    assert _folded(shifted) == ["RELU", "ADD", "PAD", "CONV_2D"]


def test_a_number_for_each_value_is_folded_into_a_dense_layer() -> None:
    graph = Graph(_SHAPE)
    graph.tensors[0] = Tensor("x", _SHAPE, "FLOAT32", 0)
    graph.apply("RELU", [graph.x], _float(graph, _SHAPE), version=1)
    fused = {"fused_activation_function": "NONE"}
    inputs = [graph.x, _numbers(graph, 1, 5, 6, 1)]
    graph.apply("MUL", inputs, _float(graph, _SHAPE), fused, "MulOptions", 1)
    shape = graph.constant(np.array([1, 120], np.int32))
    graph.apply("RESHAPE", [graph.x, shape], _float(graph, (1, 120)), version=1)
    options = {**fused, "keep_num_dims": False}
    inputs = [graph.x, _numbers(graph, 3, 120), _numbers(graph, 3)]
    graph.apply("FULLY_CONNECTED", inputs, _float(graph, (1, 3)), options,
                "FullyConnectedOptions", 1)  # fmt: skip
    assert _folded(graph.model()) == ["RELU", "RESHAPE", "FULLY_CONNECTED"]
