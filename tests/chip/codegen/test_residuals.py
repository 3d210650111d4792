# SPDX-License-Identifier: Apache-2.0
"""Networks that run in slices: residual blocks are bit-equal; parameters are sent once."""

from __future__ import annotations

import sys
from typing import Callable

import numpy as np
import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.codegen import Partition, make_program, partition
from edgekit.chip.codegen.layout import Compute
from edgekit.formats.tflite import Model, Subgraph
from scripts.random_operators import Graph, random_feeds

Compare = Callable[..., Partition]


def _convolution(graph: Graph, x: int, filters: int, size: int) -> int:
    channels = graph.shape(x)[3]
    weights, spread = graph.weights((filters, size, size, channels), 0, per_channel=False)
    spread *= graph.spreads[x] * size * float(np.sqrt(channels))
    bias = graph.bias(x, weights, filters, spread)
    options = {f"stride_{axis}": 1 for axis in "hw"} | {"padding": "SAME"}
    made = graph.activation((*graph.shape(x)[:3], filters), spread)
    return graph.add("CONV_2D", (x, weights, bias), made, "Conv2DOptions", **options)


def _block(seed: int, height: int, width: int, channels: int) -> Model:
    """A wide map, plus three convolutions of it."""
    graph = Graph(np.random.default_rng(seed), "INT8")
    image = graph.activation((1, height, width, 4), 1.0)
    wide = _convolution(graph, image, channels, 1)
    inside = _convolution(graph, _convolution(graph, wide, 8, 1), 8, 3)
    other = _convolution(graph, inside, channels, 1)
    added = graph.activation(graph.shape(wide), graph.spreads[wide] + graph.spreads[other])
    graph.add("ADD", (wide, other), added, "AddOptions", fused_activation_function="RELU")
    end = _convolution(graph, added, 8, 1)
    subgraph = Subgraph(tuple(graph.tensors), (image,), (end,), tuple(graph.operators), "main")
    return Model((subgraph,), tuple(graph.buffers), "a residual block")


@pytest.mark.parametrize("shape", [(45, 41, 720), (33, 62, 608)])
def test_a_residual_block_of_twice_the_memory(
    compare: Compare, shape: tuple[int, int, int]
) -> None:
    """The two operands and the sum have up to 1.6 times the bytes of a tile's narrow memory."""
    model = _block(1, *shape)
    part = compare(model, random_feeds(model, 1), random_feeds(model, 0, extreme=255))
    assert part.reasons == {}


def test_layers_that_run_several_times_are_not_the_streamed_ones() -> None:
    """Convolutions of large maps, and a dense layer that fills the chip's memory."""
    graph = Graph(np.random.default_rng(0), "INT8")
    image = here = graph.activation((1, 80, 80, 4), 1.0)
    for _ in range(4):
        here = _convolution(graph, here, 256, 3)
    pooled = graph.like(here, (1, 4, 4, 256))
    names = ("stride_h", "stride_w", "filter_height", "filter_width")
    options = {**dict.fromkeys(names, 20), "padding": "VALID"}
    graph.add("MAX_POOL_2D", (here,), pooled, "Pool2DOptions", **options)
    weights, spread = graph.weights((1600, 16 * 256), 0, per_channel=False)
    end = graph.activation((1, 1600), spread)
    graph.add("FULLY_CONNECTED", (pooled, weights, -1), end, "FullyConnectedOptions")
    subgraph = Subgraph(tuple(graph.tensors), (image,), (end,), tuple(graph.operators), "main")
    part = partition(Model((subgraph,), tuple(graph.buffers), "a wide network"))
    assert part.reasons == {}
    program = make_program(part.network, {i: graph.tensors[i] for i in (image, end)})
    times = [each.index for each in program.layout.steps if isinstance(each, Compute)]
    assert len(times) > len(set(times))
    assert program.parameters.streamed
    assert all(times.count(index) == 1 for index in program.parameters.streamed)
