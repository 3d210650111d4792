# SPDX-License-Identifier: Apache-2.0
"""Parameter bytes in the device's layout, compared with results computed by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgekit.edgetpu.parameters import lay_out_parameters
from edgekit.formats.tflite import Model, Quantization

if TYPE_CHECKING:
    from tests.edgetpu.conftest import NewGraph


def bytes_of(model: Model, runtime: int = 14) -> int:
    return lay_out_parameters(model, runtime=runtime).total_bytes


@pytest.mark.parametrize(
    ("inputs", "outputs", "scales", "expected"),
    [
        (3, 8, 1, 16 * (9 * 4 + 4)),  # outputs padded to 16, inputs to 4
        (64, 128, 1, 128 * (9 * 64 + 4)),
        (64, 120, 120, 128 * (9 * 64 + 12)),  # per channel: bias, multiplier, zero point
        (96, 1, 1, 3520),  # up to 4 outputs are padded to 4: 4 * (864 + 4) in units of 64
    ],
)
def test_a_convolution_is_padded_in_both_directions(
    new_graph: NewGraph, inputs: int, outputs: int, scales: int, expected: int
) -> None:
    graph = new_graph()
    y = graph.conv(graph.feed((1, 8, 8, inputs)), outputs, scales=scales)
    assert bytes_of(graph.model(y)) == expected


def test_a_bias_of_zeros_is_left_out(new_graph: NewGraph) -> None:
    graph = new_graph()
    x = graph.feed((1, 256))
    y = graph.add("FULLY_CONNECTED", (x, graph.weights((64, 256)), graph.bias(64, 0)), (1, 64), 4)
    assert bytes_of(graph.model(y)) == 64 * 256


def test_depthwise_weights_take_four_bytes_each(new_graph: NewGraph) -> None:
    graph = new_graph()
    x = graph.feed((1, 8, 8, 32))
    w = graph.weights((1, 3, 3, 32))
    y = graph.add("DEPTHWISE_CONV_2D", (x, w, graph.bias(32)), (1, 8, 8, 32), 3)
    assert bytes_of(graph.model(y)) == 32 * (9 * 4 + 4)


def test_a_softmax_over_a_dense_layer_costs_48_bytes_a_class_since_compiler_14(
    new_graph: NewGraph,
) -> None:
    graph = new_graph()
    x = graph.feed((1, 64))
    d = graph.add("FULLY_CONNECTED", (x, graph.weights((10, 64)), graph.bias(10)), (1, 10), 4)
    model = graph.model(graph.add("SOFTMAX", (d,), (1, 10), 2))
    dense = 16 * (64 + 4) + 0
    assert bytes_of(model) == dense + 48 * 12 + 64
    assert bytes_of(model, runtime=10) == dense


def test_a_layer_is_cached_whole_or_streamed_whole(new_graph: NewGraph) -> None:
    graph = new_graph()
    x = graph.feed((1, 8, 8, 64))
    a = graph.conv(x, 64)
    b = graph.conv(a, 128)
    c = graph.conv(b, 64)
    layout = lay_out_parameters(graph.model(c), cache_bytes=111_200)
    assert [layer.cached for layer in layout.layers] == [True, False, True]
    assert layout.cached_bytes + layout.streamed_bytes == layout.total_bytes
    assert layout.streamed_bytes == layout.layers[1].device_bytes


def test_a_constant_image_is_sent_with_every_inference(new_graph: NewGraph) -> None:
    graph = new_graph()
    x = graph.feed((1, 48, 48, 1))
    k = graph.constant(np.ones((48, 48, 1), np.int8), Quantization((0.1,), (0,)))
    layout = lay_out_parameters(graph.model(graph.add("MUL", (x, k), (1, 48, 48, 1), 2)))
    assert (layout.cached_bytes, layout.streamed_bytes) == (0, 2304)


def test_flattening_odd_channels_costs_parameters_and_flattening_even_ones_does_not(
    new_graph: NewGraph,
) -> None:
    costs = []
    for channels in (32, 30):
        graph = new_graph()
        x = graph.feed((1, 3, 3, channels))
        shape = graph.constant(np.array([1, 9 * channels], np.int32))
        y = graph.add("RESHAPE", (x, shape), (1, 9 * channels))
        costs.append(bytes_of(graph.model(y)))
    assert costs[0] == 0
    assert costs[1] > 9 * 30 * 100


def test_only_the_requested_operators_are_laid_out(new_graph: NewGraph) -> None:
    graph = new_graph()
    a = graph.conv(graph.feed((1, 8, 8, 4)), 16)
    model = graph.model(graph.conv(a, 16))
    layers = lay_out_parameters(model, [1]).layers
    assert [layer.index for layer in layers] == [1]
