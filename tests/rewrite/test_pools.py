# SPDX-License-Identifier: Apache-2.0
"""Padding and activations around pooling."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Quantization, Tensor
from edgekit.rewrite import Rule, apply_rule, fused, pool_padding
from tests.rewrite.conftest import Graph, opcodes, rewritten

_LOWEST = {"FLOAT32": -np.inf, "INT8": -128, "UINT8": 0}


def _changed(model: Model, rule: Rule) -> Model:
    """Apply the rule; the outputs stay equal, and every operator maps if it is an integer."""
    is_float = model.main.tensors[model.main.inputs[0]].dtype == "FLOAT32"
    return rewritten(model, rule, maps=not is_float)


def _padded(
    graph: Graph, borders: tuple[int, int], length: int, stride: int, value: float | None = None
) -> Model:
    """PADV2 of ``borders`` in height and width, then MAX_POOL_2D; PyTorch's padded pooling."""
    _, height, width, channels = graph.shape()
    paddings = np.array([[0, 0], borders, borders, [0, 0]], np.int32)
    dtype = np.dtype(graph.dtype.lower())
    lowest = np.array(_LOWEST[graph.dtype] if value is None else value, dtype)
    inputs = [
        graph.x,
        graph.constant(paddings),
        graph.constant(lowest, graph.tensors[graph.x].quantization),
    ]
    shape = (1, height + sum(borders), width + sum(borders), channels)
    graph.apply("PADV2", inputs, graph.like(graph.x, shape), {}, "PadV2Options")
    counts = [(size - length) // stride + 1 for size in shape[1:3]]
    return _pool(graph, (1, *counts, channels), length, stride)


def _pool(
    graph: Graph,
    shape: tuple[int, ...],
    length: int = 2,
    stride: int = 2,
    activation: str = "NONE",
    opcode: str = "MAX_POOL_2D",
) -> Model:
    options: dict[str, Any] = {
        "padding": "VALID",
        "stride_w": stride,
        "stride_h": stride,
        "filter_width": length,
        "filter_height": length,
        "fused_activation_function": activation,
    }
    graph.apply(opcode, [graph.x], graph.like(graph.x, shape), options, "Pool2DOptions")
    return graph.model()


def _graph(shape: tuple[int, ...], dtype: str) -> Graph:
    graph = Graph(shape, dtype)
    if dtype == "FLOAT32":
        graph = Graph(shape, "INT8")
        graph.dtype = dtype
        graph.tensors[0] = Tensor("t0", shape, dtype, 0)
    return graph


@pytest.mark.parametrize("dtype", ["INT8", "UINT8", "FLOAT32"])
@pytest.mark.parametrize(
    ("size", "borders", "length", "stride"),
    [(7, (1, 1), 3, 2), (8, (1, 1), 3, 2), (9, (2, 2), 5, 1), (6, (1, 0), 2, 2), (9, (1, 1), 2, 2)],
)
def test_lowest_numbers_before_max_pooling_are_not_needed(
    dtype: str, size: int, borders: tuple[int, int], length: int, stride: int
) -> None:
    model = _padded(_graph((1, size, size + 2, 4), dtype), borders, length, stride)
    assert "PADV2" not in opcodes(_changed(model, pool_padding.RULE))


def test_padding_same_takes_the_place_of_equal_windows() -> None:
    model = _padded(Graph((1, 9, 9, 4)), (2, 2), 5, 1)
    assert opcodes(_changed(model, pool_padding.RULE)) == ["MAX_POOL_2D"]


def test_values_that_are_not_negative_are_padded_with_zeros() -> None:
    graph = Graph((1, 8, 8, 4))
    graph.activation("RELU")
    model = _padded(graph, (1, 1), 3, 2)
    assert opcodes(_changed(model, pool_padding.RULE)) == ["RELU", "PAD", "MAX_POOL_2D"]


def test_a_negative_constant_that_is_joined_is_not_padded_with_zeros() -> None:
    graph = _graph((1, 8, 8, 4), "FLOAT32")
    positive = graph.apply("RELU", [graph.x], graph.like(graph.x))
    negative = graph.constant(np.full((1, 8, 8, 4), -5, np.float32))
    graph.concatenate([positive, negative])
    assert "PAD" not in opcodes(_changed(_padded(graph, (1, 1), 3, 2), pool_padding.RULE))


def test_padding_without_borders_stays() -> None:
    assert apply_rule(pool_padding.RULE, _padded(Graph((1, 8, 8, 4)), (0, 0), 3, 2)) is None


def test_a_window_of_nothing_but_padding_stays() -> None:
    assert apply_rule(pool_padding.RULE, _padded(Graph((1, 8, 8, 4)), (3, 0), 2, 1)) is None


def test_padding_with_the_real_value_zero_is_pad() -> None:
    model = _padded(Graph((1, 8, 8, 4)), (1, 1), 3, 2, value=3)
    assert opcodes(_changed(model, pool_padding.RULE)) == ["PAD", "MAX_POOL_2D"]


def test_padding_with_another_value_stays() -> None:
    assert apply_rule(pool_padding.RULE, _padded(Graph((1, 8, 8, 4)), (1, 1), 3, 2, 9)) is None


_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")


@pytest.mark.parametrize(
    ("opcode", "activation"),
    list(itertools.product(("MAX_POOL_2D", "AVERAGE_POOL_2D"), _ACTIVATIONS)),
)
def test_an_activation_fused_into_pooling_becomes_an_operator(opcode: str, activation: str) -> None:
    graph = Graph((1, 8, 8, 4))
    model = _pool(graph, (1, 4, 4, 4), activation=activation, opcode=opcode)
    assert opcodes(_changed(model, fused.RULE)) == [opcode, activation]


def test_an_activation_moves_from_max_pooling_to_the_operator_before() -> None:
    graph = Graph((1, 8, 8, 4))
    graph.add(graph.x, graph.x)
    model = _pool(graph, (1, 4, 4, 4), activation="RELU")
    changed = _changed(model, fused.RULE)
    assert opcodes(changed) == ["ADD", "MAX_POOL_2D"]
    assert changed.main.operators[0].options["fused_activation_function"] == "RELU"


def test_an_activation_that_the_range_makes_too_is_left_out() -> None:
    graph = Graph((1, 8, 8, 4))
    graph.tensors[0] = Tensor("t0", (1, 8, 8, 4), "INT8", 0, Quantization((0.02,), (-128,)))
    model = _pool(graph, (1, 4, 4, 4), activation="RELU6", opcode="AVERAGE_POOL_2D")
    assert opcodes(_changed(model, fused.RULE)) == ["AVERAGE_POOL_2D"]
