# SPDX-License-Identifier: Apache-2.0
"""Convolutions on slices of every s-th pixel."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Quantization
from edgekit.rewrite import apply_rule
from edgekit.rewrite.focus import RULE
from tests.rewrite.conftest import Graph, opcodes, rewritten


def _slice(graph: Graph, source: int, offset: tuple[int, int], step: tuple[int, int]) -> int:
    _, height, width, depth = graph.tensors[source].shape
    size = [-(-(end - at) // by) for end, at, by in zip((height, width), offset, step)]
    bounds = [
        graph.constant(np.array(each, np.int32))
        for each in ((0, *offset, 0), (1, height, width, depth), (1, *step, 1))
    ]
    out = graph.like(source, (1, *size, depth))
    return graph.apply(
        "STRIDED_SLICE", [source, *bounds], out, {"end_mask": 0b0110}, "StridedSliceOptions"
    )


def _conv(graph: Graph, length: int, stride: int, padding: str) -> None:
    _, height, width, depth = graph.shape()
    scales = graph.random.uniform(0.002, 0.02, 6).astype(np.float32)
    weights = graph.random.integers(-127, 128, (6, length, length, depth)).astype(np.int8)
    products = tuple(float(np.float32(0.05) * each) for each in scales)
    inputs = [
        graph.x,
        graph.constant(weights, Quantization(tuple(scales.tolist()), (0,) * 6)),
        graph.constant(np.arange(6, dtype=np.int32) * 99, Quantization(products, (0,) * 6)),
    ]
    lost = 0 if padding == "SAME" else length - 1
    options = {
        "padding": padding,
        "stride_w": stride,
        "stride_h": stride,
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "fused_activation_function": "RELU",
    }
    out = graph.tensor((1, *(-(-(size - lost) // stride) for size in (height, width)), 6), 0.3, -9)
    graph.apply("CONV_2D", inputs, out, options, "Conv2DOptions", 3)


def _focus(
    step: tuple[int, int] = (2, 2),
    length: int = 3,
    stride: int = 1,
    padding: str = "SAME",
    *,
    in_two: bool = False,
) -> Model:
    graph = Graph((1, 4 * step[0], 6 * step[1], 3))
    graph.activation("RELU")
    start, parts = graph.x, []
    for x in range(step[1]):
        for y in range(step[0]):
            source = start
            if in_two:  # one slice for the rows, one for the columns
                source = _slice(graph, start, (y, 0), (step[0], 1))
                parts.append(_slice(graph, source, (0, x), (1, step[1])))
            else:
                parts.append(_slice(graph, source, (y, x), step))
    graph.concatenate(parts, axis=3)
    _conv(graph, length, stride, padding)
    return graph.model()


def _whole(model: Model) -> Model:
    return rewritten(model, RULE, maps=False)


@pytest.mark.parametrize("in_two", [False, True])
def test_focus_becomes_a_convolution_of_6x6_with_stride_2(in_two: bool) -> None:
    changed = _whole(_focus(in_two=in_two))
    assert opcodes(changed) == ["RELU", "CONV_2D"]
    conv = changed.main.operators[1]
    assert changed.main.tensors[conv.inputs[1]].shape == (6, 6, 6, 3)
    assert (conv.options["stride_h"], conv.options["padding"]) == (2, "SAME")


@pytest.mark.parametrize("step", [(2, 2), (3, 2), (4, 4), (1, 2)])
@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_any_steps_and_kernels_give_equal_outputs(
    step: tuple[int, int], length: int, stride: int, padding: str
) -> None:
    changed = _whole(_focus(step, length, stride, padding))
    assert "STRIDED_SLICE" not in opcodes(changed)


def test_slices_that_something_else_reads_stay_for_it() -> None:
    graph = Graph((1, 8, 8, 3))
    parts = [_slice(graph, graph.input, (y, x), (2, 2)) for x in (0, 1) for y in (0, 1)]
    graph.concatenate(parts, axis=3)
    _conv(graph, 3, 1, "SAME")
    changed = apply_rule(RULE, graph.model(graph.x, parts[0]))
    assert changed is not None
    assert sorted(opcodes(changed)) == ["CONV_2D", "STRIDED_SLICE"]


def test_joined_slices_that_leave_pixels_out_at_the_edge_stay() -> None:
    graph = Graph((1, 9, 8, 3))
    parts = [_slice(graph, graph.input, (y, x), (2, 2)) for x in (0, 1) for y in (0, 0)]
    graph.concatenate(parts, axis=3)
    _conv(graph, 3, 1, "SAME")
    assert apply_rule(RULE, graph.model()) is None


def test_a_slice_that_is_joined_twice_stays() -> None:
    """The sum of its two weights may not fit into 8 bits."""
    graph = Graph((1, 8, 8, 3))
    parts = [_slice(graph, graph.input, offset, (2, 2)) for offset in ((0, 0), (0, 0), (1, 1))]
    graph.concatenate(parts, axis=3)
    _conv(graph, 3, 1, "SAME")
    assert apply_rule(RULE, graph.model()) is None


def test_pixels_that_no_slice_reads_get_weights_of_zero_in_uint8() -> None:
    graph = Graph((1, 8, 8, 3), "UINT8")
    parts = [_slice(graph, graph.input, offset, (2, 2)) for offset in ((0, 0), (1, 1))]
    graph.concatenate(parts, axis=3)
    weights = graph.random.integers(0, 256, (6, 3, 3, 6)).astype(np.uint8)
    inputs = [
        graph.x,
        graph.constant(weights, Quantization((0.01,), (120,))),
        graph.constant(np.zeros(6, np.int32), Quantization((0.0005,), (0,))),
    ]
    options = {
        "padding": "SAME",
        "stride_w": 1,
        "stride_h": 1,
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "fused_activation_function": "NONE",
    }
    out = graph.tensor((1, 4, 4, 6), 0.3, -9)
    graph.apply("CONV_2D", inputs, out, options, "Conv2DOptions", 1)
    assert opcodes(_whole(graph.model())) == ["CONV_2D"]
