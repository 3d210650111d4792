# SPDX-License-Identifier: Apache-2.0
"""Dense layers of any size in the emulator: bit-equal to the chip's arithmetic."""

from __future__ import annotations

import sys
from typing import Callable

import numpy as np
import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.codegen import Partition, make_program, partition
from edgekit.formats.darwinn import arithmetic_cycles
from edgekit.formats.tflite import Model, Subgraph
from scripts.random_operators import Graph, random_feeds

Compare = Callable[..., Partition]


def _layers(
    seed: int, shape: tuple[int, ...], outputs: tuple[int, ...], dtype: str = "INT8"
) -> Model:
    """Dense layers one after the other; the first result is an output of the model too."""
    graph = Graph(np.random.default_rng(seed), dtype)
    first = here = graph.activation(shape, 1.0)
    made = []
    for number in outputs:
        inputs = int(np.prod(graph.shape(here)))
        per_channel = dtype == "INT8" and bool(graph.random.integers(2))
        weights, mean = graph.weights((number, inputs), 0, per_channel=per_channel)
        spread = graph.spreads[here] * mean * float(np.sqrt(inputs))
        has_bias = bool(graph.random.integers(2))
        bias = graph.bias(here, weights, number, spread) if has_bias else -1
        made.append(graph.activation((1, number), spread))
        options = {"fused_activation_function": graph.fused(), "keep_num_dims": False}
        kind = "FullyConnectedOptions"
        graph.add("FULLY_CONNECTED", (here, weights, bias), made[-1], kind, **options)
        here = made[-1]
    ends = tuple(sorted({made[0], made[-1]}))
    subgraph = Subgraph(tuple(graph.tensors), (first,), ends, tuple(graph.operators), "main")
    return Model((subgraph,), tuple(graph.buffers), "dense layers")


def _steps(model: Model) -> int:
    part, tensors = partition(model), model.main.tensors
    ends = {i: tensors[i] for i in (*part.network.inputs, *part.network.outputs)}
    program = make_program(part.network, ends)
    return int(max(arithmetic_cycles(program.package.inference)))


@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
@pytest.mark.parametrize(
    ("shape", "outputs"),
    [
        ((1, 5), (65,)),
        ((1, 1), (70, 3)),
        ((1, 37), (100, 100, 10)),
        ((1, 512), (512, 1024)),
        ((1, 300), (1000,)),
        ((1, 130), (1025,)),  # two groups of a tile, on three rows of tiles
        ((1, 40), (2600, 7)),
        ((1, 4, 5, 16), (130,)),
        ((1, 7, 7, 33), (420, 65)),
        ((1, 3, 9, 2), (65, 1)),
        ((1, 33, 32, 2), (17,)),  # more rows of weights than wide memory has room for
        ((1, 40, 50, 3), (70,)),
    ],
)
def test_dense_layers(
    compare: Compare, shape: tuple[int, ...], outputs: tuple[int, ...], dtype: str
) -> None:
    for seed in range(2):
        model = _layers(seed, shape, outputs, dtype)
        extremes = [random_feeds(model, 0, extreme=value) for value in (0, 255)]
        assert compare(model, random_feeds(model, 1), *extremes).reasons == {}


def test_every_tile_computes_a_part_of_a_dense_layer() -> None:
    """1,024 inputs are 256 words; 1,024 outputs are 64 for each of the 16 tiles."""
    assert _steps(_layers(0, (1, 1024), (1024,))) == 256


def test_dense_layers_that_do_not_fit_the_chip_run_on_one_tile(compare: Compare) -> None:
    model = _layers(0, (1, 2048), (2048, 2048, 2048))
    assert compare(model, random_feeds(model, 1)).reasons == {}
    assert _steps(model) == 3 * (2048 // 4) * (2048 // 64)


@pytest.mark.parametrize(
    ("shape", "outputs"), [((1, 49, 32), 65), ((1, 5, 7, 8), 12), ((1, 16, 130), 3)]
)
def test_a_dense_layer_on_several_vectors(
    compare: Compare, shape: tuple[int, ...], outputs: int
) -> None:
    """As in a transformer: on each token."""
    graph = Graph(np.random.default_rng(5), "INT8")
    given = graph.activation(shape, 1.0)
    weights, mean = graph.weights((outputs, shape[-1]), 0, per_channel=False)
    spread = mean * float(np.sqrt(shape[-1]))
    made = graph.activation((*shape[:-1], outputs), spread)
    inputs = given, weights, graph.bias(given, weights, outputs, spread)
    options = {"fused_activation_function": "RELU", "keep_num_dims": True}
    graph.add("FULLY_CONNECTED", inputs, made, "FullyConnectedOptions", **options)
    subgraph = Subgraph(tuple(graph.tensors), (given,), (made,), tuple(graph.operators), "main")
    model = Model((subgraph,), tuple(graph.buffers), "tokens")
    assert compare(model, random_feeds(model, 1), random_feeds(model, 2)).reasons == {}
