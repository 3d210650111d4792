# SPDX-License-Identifier: Apache-2.0
"""Single operators, compiled and run in the emulator: bit-equal to the chip's arithmetic."""

from __future__ import annotations

import sys
from typing import Any, Callable

import numpy as np
import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.codegen import Partition, partition
from edgekit.formats.tflite import Model, Quantization, Subgraph
from scripts.random_operators import Graph, random_feeds, random_model

Compare = Callable[..., Partition]


_TWO_OPERANDS = ("ADD", "SUB", "MUL")
_VALUE_BY_VALUE = (
    *("HARD_SWISH", "LOGISTIC", "MAXIMUM", "MINIMUM", "PRELU", "QUANTIZE", "RELU", "RELU6"),
    *("RELU_N1_TO_1", "RSQRT", "TANH"),
)


def _check(compare: Compare, opcode: str, seed: int, shape: tuple[int, ...]) -> None:
    model = random_model(seed, (opcode,), shape)
    extremes: list[Any] = [random_feeds(model, 0, extreme=value) for value in (0, 255)]
    part = compare(model, random_feeds(model, 1), random_feeds(model, 2), *extremes)
    assert part.reasons == {}


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 10, 31, 64, 257, 1001])
def test_softmax_of_a_vector(compare: Compare, channels: int) -> None:
    for seed in range(3):
        _check(compare, "SOFTMAX", seed, (1, channels))


@pytest.mark.parametrize("shape", [(1, 5, 7, 6), (1, 16, 9, 2), (1, 3, 5, 33), (1, 13, 21)])
def test_softmax_of_an_image(compare: Compare, shape: tuple[int, ...]) -> None:
    for seed in range(2):
        _check(compare, "SOFTMAX", seed, shape)


def test_softmax_of_more_positions_than_at_a_time(compare: Compare) -> None:
    _check(compare, "SOFTMAX", 0, (1, 46, 40, 3))
    _check(compare, "SOFTMAX", 1, (1, 2, 2, 900))


def test_the_softmax_of_the_most_classes(compare: Compare) -> None:
    _check(compare, "SOFTMAX", 0, (1, 16384))


def test_softmax_of_too_many_classes_is_refused() -> None:
    part = partition(random_model(0, ("SOFTMAX",), (1, 16385)))
    assert part.reasons == {0: "a softmax over more than 16,384 classes"}


@pytest.mark.parametrize("opcode", _VALUE_BY_VALUE)
def test_operators_that_take_value_by_value(compare: Compare, opcode: str) -> None:
    shapes = [(1, 9, 6, 5), (1, 8, 8, 18), (1, 4, 13, 70), (1, 37), (1, 1, 1, 8)]
    for seed, shape in enumerate(shapes):
        _check(compare, opcode, seed, shape)


@pytest.mark.parametrize("opcode", _TWO_OPERANDS)
def test_two_operands(compare: Compare, opcode: str) -> None:
    """Seeds give activations and constants, in either order, of the same shape or repeated."""
    refused = "a constant of"
    for seed in range(16):
        model = random_model(seed, (opcode,))
        reasons = partition(model).reasons
        if reasons:
            assert reasons[0].startswith(refused)
            assert max(_sizes_of_constants(model)) > max(1, model.main.tensors[0].shape[-1])
            continue
        compare(model, *(random_feeds(model, seed) for seed in range(3)))


@pytest.mark.parametrize("opcode", _TWO_OPERANDS)
def test_two_operands_of_vectors(compare: Compare, opcode: str) -> None:
    for seed in range(12):
        _check(compare, opcode, seed, (1, 22))


def _sizes_of_constants(model: Model) -> list[int]:
    tensors = [model.main.tensors[i] for i in model.main.operators[0].inputs]
    return [int(np.prod(each.shape)) for each in tensors if each.buffer]


def _model(
    opcode: str, first: tuple[int, ...], second: tuple[int, ...], output: tuple[int, ...]
) -> Model:
    graph = Graph(np.random.default_rng(5), "INT8")
    ends = [graph.activation(shape, 1.0) for shape in (first, second)]
    made = graph.activation(output, 1.2)
    kinds = {"MUL": "MulOptions", "MAXIMUM": "MaximumMinimumOptions", "ADD": "AddOptions"}
    if opcode == "MAXIMUM":
        graph.add(opcode, ends, made, kinds[opcode])
    else:
        graph.add(opcode, ends, made, kinds[opcode], fused_activation_function="RELU")
    return _finished(graph, (ends[0], ends[1]), made)


@pytest.mark.parametrize("opcode", ["ADD", "MAXIMUM", "MUL"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((1, 7, 6, 20), (1, 1, 1, 20)),  # squeeze and excite
        ((1, 1, 1, 20), (1, 7, 6, 20)),
        ((1, 7, 6, 20), (1, 7, 6, 1)),  # a map for all channels
        ((1, 7, 6, 20), (1, 1, 6, 20)),
        ((1, 7, 6, 20), (1, 7, 1, 20)),
        ((1, 7, 1, 20), (1, 1, 6, 20)),
        ((1, 7, 6, 20), (1, 20)),
        ((1, 7, 6, 20), (1, 1, 1, 1)),
    ],
)
def test_an_activation_that_repeats(
    compare: Compare, opcode: str, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    model = _model(opcode, first, second, (1, 7, 6, 20))
    part = compare(model, random_feeds(model, 1), random_feeds(model, 2))
    assert part.reasons == {}


def test_a_product_that_is_packed_in_parts(compare: Compare) -> None:
    """More values than the scratch memory has words for."""
    shape = (1, 21, 16, 256)
    model = _model("MUL", shape, shape, shape)
    assert compare(model, random_feeds(model, 1)).reasons == {}


def test_a_maximum_in_parts(compare: Compare) -> None:
    """More values than wide memory has room for."""
    shape = (1, 49, 16, 128)
    model = _model("MAXIMUM", shape, shape, shape)
    assert compare(model, random_feeds(model, 1)).reasons == {}


@pytest.mark.parametrize("opcode", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pools_also_padded(compare: Compare, opcode: str) -> None:
    """Seeds give windows and strides; an average counts only the pixels of the image."""
    for seed in range(16):
        model = random_model(seed, (opcode,))
        assert compare(model, random_feeds(model, 1), random_feeds(model, 2)).reasons == {}


def _pool(opcode: str, activation: str, scale: float) -> Model:
    graph = Graph(np.random.default_rng(5), "INT8")
    source = graph.activation((1, 9, 9, 5), 1.0, Quantization((0.1,), (3,)))
    made = graph.activation((1, 9, 9, 5), 1.0, Quantization((scale,), (-20,)))
    options = {
        "padding": "SAME",
        "stride_w": 1,
        "stride_h": 1,
        "filter_width": 3,
        "filter_height": 3,
        "fused_activation_function": activation,
    }
    graph.add(opcode, (source,), made, "Pool2DOptions", **options)
    return _finished(graph, (source,), made)


def test_an_average_pool_with_an_activation(compare: Compare) -> None:
    model = _pool("AVERAGE_POOL_2D", "RELU6", 0.07)
    assert compare(model, random_feeds(model, 1)).reasons == {}


def test_a_maximum_pool_that_rescales(compare: Compare) -> None:
    model = _pool("MAX_POOL_2D", "NONE", 0.07)
    assert compare(model, random_feeds(model, 1)).reasons == {}


def test_a_maximum_pool_with_an_activation_is_refused() -> None:
    reasons = partition(_pool("MAX_POOL_2D", "RELU", 0.1)).reasons
    assert reasons == {0: "a maximum pool with an activation"}


@pytest.mark.parametrize("opcode", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("axes", [(1, 2), (1,), (2,), (3,), (2, 3), (1, 2, 3), (-1,)])
@pytest.mark.parametrize("keep", [True, False])
def test_reductions(compare: Compare, opcode: str, axes: tuple[int, ...], *, keep: bool) -> None:
    graph = Graph(np.random.default_rng(5), "INT8")
    shape = (1, 7, 6, 21)
    source = graph.activation(shape, 1.0, Quantization((0.1,), (3,)))
    over = {axis % 4 for axis in axes}
    made = [1 if axis in over else size for axis, size in enumerate(shape)]
    if not keep:
        made = [size for axis, size in enumerate(shape) if axis not in over]
    number = int(np.prod([shape[axis] for axis in over]))
    scale = 0.2 if opcode == "SUM" and number > 20 else 0.03
    output = graph.activation(made, 1.0, Quantization((scale,), (-9,)))
    graph.add(opcode, (source, graph.integers(axes)), output, "ReducerOptions", keep_dims=keep)
    model = _finished(graph, (source,), output)
    if opcode.startswith("REDUCE") and 3 in over:
        assert partition(model).reasons == {0: "a maximum or minimum over channels"}
        return
    assert compare(model, random_feeds(model, 1), random_feeds(model, 2)).reasons == {}


def _finished(graph: Graph, inputs: tuple[int, ...], output: int) -> Model:
    operators = tuple(graph.operators)
    subgraph = Subgraph(tuple(graph.tensors), inputs, (output,), operators, "main")
    return Model((subgraph,), tuple(graph.buffers), "made by hand")


@pytest.mark.parametrize("shape", [(1, 3), (1, 128), (1, 5, 7, 6), (1, 9, 9, 33), (1, 30, 40, 5)])
def test_l2_normalization(compare: Compare, shape: tuple[int, ...]) -> None:
    for seed in range(2):
        _check(compare, "L2_NORMALIZATION", seed, shape)


@pytest.mark.parametrize(
    "opcodes",
    [
        ("CONV_2D", "TANH", "MEAN", "FULLY_CONNECTED", "SOFTMAX"),
        ("MAX_POOL_2D", "HARD_SWISH", "MINIMUM", "SUM"),
        ("CONV_2D", "PRELU", "AVERAGE_POOL_2D", "L2_NORMALIZATION"),
    ],
)
def test_stages_behind_each_other(compare: Compare, opcodes: tuple[str, ...]) -> None:
    """What one stage leaves in the shared memories does not disturb the next."""
    for seed in range(3):
        model = random_model(seed, opcodes)
        assert compare(model, random_feeds(model, 1)).reasons == {}
