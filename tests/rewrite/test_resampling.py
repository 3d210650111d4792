# SPDX-License-Identifier: Apache-2.0
"""Upsampling, pixel shuffle and channel shuffle in many spellings."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Sequence

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Quantization
from edgekit.rewrite import apply_rule
from edgekit.rewrite.resampling import RULE
from tests.rewrite.conftest import Graph, opcodes, random_inputs, rewritten, run

_SIX_AXES = pytest.mark.skipif(
    sys.version_info < (3, 8), reason="the runtime of Python 3.7 has no TRANSPOSE of six axes"
)


def _resampled(model: Model) -> list[str]:
    """Apply the rule; the outputs stay equal, and everything maps."""
    return opcodes(rewritten(model, RULE))


def _tile(graph: Graph, multiples: Sequence[int]) -> None:
    shape = [size * each for size, each in zip(graph.shape(), multiples)]
    values = graph.constant(np.array(multiples, np.int32))
    graph.apply("TILE", [graph.x, values], graph.like(graph.x, shape), version=1)


def _keras_upsampling(graph: Graph, down: int, across: int) -> None:
    """Keras 3's `UpSampling2D`: an axis of one for each factor, TILE, RESHAPE."""
    _, height, width, depth = graph.shape()
    graph.reshape((1, height, 1, width, depth))
    _tile(graph, (1, 1, down, 1, 1))
    graph.reshape((1, height * down, width, 1, depth))
    _tile(graph, (1, 1, 1, across, 1))
    graph.reshape((1, height * down, width * across, depth))


@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
@pytest.mark.parametrize(
    ("factors", "made"),
    [
        ((2, 2), ["RESIZE_NEAREST_NEIGHBOR"]),
        ((4, 4), ["RESIZE_NEAREST_NEIGHBOR"] * 2),
        ((1, 2), ["CONCATENATION", "RESHAPE"]),
        ((3, 1), ["CONCATENATION", "RESHAPE"]),
        ((6, 4), ["RESIZE_NEAREST_NEIGHBOR"] + ["CONCATENATION", "RESHAPE"] * 2),
    ],
)
def test_upsampling_repeats_pixels(dtype: str, factors: tuple[int, int], made: list[str]) -> None:
    graph = Graph((1, 4, 5, 8), dtype)
    graph.activation("RELU")
    _keras_upsampling(graph, *factors)
    graph.quantize(0.06)
    assert _resampled(graph.model()) == ["RELU", *made, "QUANTIZE"]


def test_upsampling_of_a_sequence() -> None:
    graph = Graph((1, 6, 8))
    graph.reshape((1, 6, 1, 8))
    _tile(graph, (1, 1, 3, 1))
    graph.reshape((1, 18, 8))
    graph.quantize(0.06)
    assert _resampled(graph.model()) == [
        "RESHAPE", "CONCATENATION", "RESHAPE", "RESHAPE", "QUANTIZE",
    ]  # fmt: skip


def test_interpolation_in_nchw() -> None:
    graph = Graph((1, 4, 5, 8))
    graph.activation("RELU")
    graph.transpose((0, 3, 1, 2))
    graph.reshape((1, 8, 4, 1, 5, 1))
    _tile(graph, (1, 1, 1, 2, 1, 2))
    graph.reshape((1, 8, 8, 10))
    graph.transpose((0, 2, 3, 1))
    graph.quantize(0.06)
    assert _resampled(graph.model()) == ["RELU", "RESIZE_NEAREST_NEIGHBOR", "QUANTIZE"]


def _conv(graph: Graph, channels: int) -> None:
    """A 1x1 convolution with a scale for each output."""
    depth = graph.shape()[-1]
    scales = graph.random.uniform(0.002, 0.02, channels).astype(np.float32)
    zeros = (0,) * channels
    weights = graph.random.integers(-127, 128, (channels, 1, 1, depth)).astype(np.int8)
    products = tuple(float(np.float32(0.05) * each) for each in scales)
    inputs = [
        graph.x,
        graph.constant(weights, Quantization(tuple(scales.tolist()), zeros)),
        graph.constant(
            graph.random.integers(-500, 500, channels).astype(np.int32),
            Quantization(products, zeros),
        ),
    ]
    options = {
        "padding": "VALID",
        "stride_w": 1,
        "stride_h": 1,
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "fused_activation_function": "NONE",
    }
    out = graph.tensor((*graph.shape()[:-1], channels), 0.06, -7)
    graph.apply("CONV_2D", inputs, out, options, "Conv2DOptions", 3)


def _pixel_shuffle(graph: Graph, block: int) -> None:
    """PyTorch's: channel c * block * block + y * block + x, in NCHW."""
    _, height, width, depth = graph.shape()
    kept = depth // block**2
    graph.transpose((0, 3, 1, 2))
    graph.reshape((1, kept, block, block, height, width))
    graph.transpose((0, 1, 4, 2, 5, 3))
    graph.reshape((1, kept, height * block, width * block))
    graph.transpose((0, 2, 3, 1))


_SPREAD = ["RESHAPE", "RESHAPE", "CONCATENATION", "RESHAPE"]


@_SIX_AXES
def test_pixel_shuffle_takes_its_channels_from_the_convolution_in_their_new_order() -> None:
    graph = Graph((1, 4, 5, 8))
    _conv(graph, 12)
    _pixel_shuffle(graph, 2)
    graph.quantize(0.05)
    assert _resampled(graph.model()) == ["CONV_2D", "SPLIT", *_SPREAD, "QUANTIZE"]


@_SIX_AXES
def test_pixel_shuffle_of_anything_else_gets_a_convolution_that_orders_channels() -> None:
    graph = Graph((1, 4, 5, 12))
    graph.activation("RELU")
    _pixel_shuffle(graph, 2)
    graph.quantize(0.05)
    assert _resampled(graph.model()) == ["RELU", "CONV_2D", "SPLIT", *_SPREAD, "QUANTIZE"]


@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
def test_depth_to_space_becomes_a_split_and_a_concatenation(dtype: str) -> None:
    graph = Graph((1, 4, 5, 8), dtype)
    options = {"block_size": 2}
    out = graph.like(graph.x, (1, 8, 10, 2))
    graph.apply("DEPTH_TO_SPACE", [graph.x], out, options, "DepthToSpaceOptions", 1)
    assert _resampled(graph.model()) == ["SPLIT", *_SPREAD]


@_SIX_AXES
def test_pixel_unshuffle_becomes_space_to_depth() -> None:
    graph = Graph((1, 4, 6, 3))
    graph.activation("RELU")
    graph.transpose((0, 3, 1, 2))
    graph.reshape((1, 3, 2, 2, 3, 2))
    graph.transpose((0, 1, 3, 5, 2, 4))
    graph.reshape((1, 12, 2, 3))
    graph.transpose((0, 2, 3, 1))
    assert _resampled(graph.model()) == ["RELU", "SPACE_TO_DEPTH", "CONV_2D"]


def test_channel_shuffle_becomes_one_convolution() -> None:
    graph = Graph((1, 4, 5, 12))
    graph.activation("RELU")
    graph.reshape((1, 4, 5, 3, 4))
    graph.transpose((0, 1, 2, 4, 3))
    graph.reshape((1, 4, 5, 12))
    assert _resampled(graph.model()) == ["RELU", "CONV_2D"]


def test_a_channel_shuffle_of_a_small_image_that_ends_in_nchw_orders_channels_only() -> None:
    """All values of the image as the channels of one pixel would need 6.6 million weights."""
    graph = Graph((1, 4, 4, 160))
    graph.activation("RELU")
    graph.reshape((1, 4, 4, 2, 80))
    graph.transpose((0, 4, 3, 1, 2))
    graph.reshape((1, 160, 4, 4))
    graph.transpose((0, 2, 3, 1))
    graph.activation("RELU")
    changed = rewritten(graph.model(), RULE)
    assert opcodes(changed) == ["RELU", "CONV_2D", "RELU"]
    nchw = Graph((1, 4, 4, 160))
    nchw.activation("RELU")
    nchw.reshape((1, 4, 4, 2, 80))
    nchw.transpose((0, 4, 3, 1, 2))
    nchw.reshape((1, 160, 4, 4))
    moved = rewritten(nchw.model(), RULE, maps=False)
    (conv,) = [op for op in moved.main.operators if op.opcode == "CONV_2D"]
    assert moved.main.tensors[conv.inputs[1]].shape == (160, 1, 1, 160)


def test_a_movement_that_is_none_of_these_stays() -> None:
    graph = Graph((1, 4, 5, 8))
    graph.activation("RELU")
    graph.transpose((0, 2, 1, 3))
    graph.quantize(0.06)
    assert apply_rule(RULE, graph.model()) is None


def test_operators_that_map_stay() -> None:
    graph = Graph((1, 4, 5, 8))
    graph.activation("RELU")
    graph.reshape((1, 20, 8))
    graph.quantize(0.06)
    assert apply_rule(RULE, graph.model()) is None


def test_a_convolution_keeps_its_channels_if_nothing_is_gained_by_another_order() -> None:
    """The output [3, 1, 1, 4] needs a RESHAPE that does not map, so the TRANSPOSE stays."""
    graph = Graph((1, 1, 1, 8))
    _conv(graph, 12)
    graph.reshape((1, 1, 4, 3))
    graph.transpose((3, 0, 1, 2))
    first = graph.quantize(0.06)
    graph.x = graph.input
    _keras_upsampling(graph, 2, 2)  # this one is rewritten
    model = graph.model(first, graph.quantize(0.07))
    changed = apply_rule(RULE, model)
    assert changed is not None
    inputs = random_inputs(model)
    for expected, actual in zip(run(model, inputs), run(changed, inputs)):
        for left, right in zip(expected, actual):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    "order", [[7, 5, 3, 1, 6, 4, 2, 0], [1, 3, 6], [0, 0, 2, 2, 4, 4, 6, 6, 7, 7]]
)
@pytest.mark.parametrize("is_nchw", [False, True])
def test_a_gather_of_channels_becomes_a_convolution(order: list[int], is_nchw: bool) -> None:
    """As exporters write channel shuffles; the weights of one keep every integer."""
    graph = Graph((1, 4, 5, 8))
    graph.activation("RELU")
    if is_nchw:
        graph.transpose((0, 3, 1, 2))
    axis = 1 if is_nchw else 3
    shape = list(graph.shape())
    shape[axis] = len(order)
    values = graph.constant(np.array(order, np.int32))
    options = {"axis": axis, "batch_dims": 0}
    graph.apply("GATHER", [graph.x, values], graph.like(graph.x, shape), options, "GatherOptions")
    if is_nchw:
        graph.transpose((0, 2, 3, 1))
    graph.quantize(0.06)
    assert _resampled(graph.model()) == ["RELU", "CONV_2D", "QUANTIZE"]


def test_an_image_several_times_becomes_joins() -> None:
    graph = Graph((1, 4, 5, 8))
    graph.activation("RELU")
    _tile(graph, (1, 2, 3, 1))
    graph.quantize(0.06)
    assert _resampled(graph.model()) == ["RELU", "CONCATENATION", "CONCATENATION", "QUANTIZE"]


def test_repeated_channels_become_a_convolution() -> None:
    """Keras's ``repeat`` along the channels: an axis of one after them, TILE, RESHAPE."""
    graph = Graph((1, 4, 5, 8))
    graph.activation("RELU")
    graph.reshape((1, 4, 5, 8, 1))
    _tile(graph, (1, 1, 1, 1, 2))
    graph.reshape((1, 4, 5, 16))
    graph.quantize(0.06)
    assert _resampled(graph.model()) == ["RELU", "CONV_2D", "QUANTIZE"]


@pytest.mark.parametrize("half_pixel_centers", [False, True])
@pytest.mark.parametrize(
    ("factors", "made"),
    [
        ((8, 8), ["RESIZE_NEAREST_NEIGHBOR"] * 3),
        ((3, 3), ["CONCATENATION", "RESHAPE"] * 2),
        ((4, 2), ["RESIZE_NEAREST_NEIGHBOR", "CONCATENATION", "RESHAPE"]),
    ],
)
def test_a_resize_by_more_than_two_takes_steps(
    factors: tuple[int, int], made: list[str], half_pixel_centers: bool
) -> None:
    graph = Graph((1, 3, 4, 8))
    graph.activation("RELU")
    size = (3 * factors[0], 4 * factors[1])
    options = {"align_corners": False, "half_pixel_centers": half_pixel_centers}
    values = graph.constant(np.array(size, np.int32))
    graph.apply(
        "RESIZE_NEAREST_NEIGHBOR",
        [graph.x, values],
        graph.like(graph.x, (1, *size, 8)),
        options,
        "ResizeNearestNeighborOptions",
        3,
    )
    graph.quantize(0.06)
    assert _resampled(graph.model()) == ["RELU", *made, "QUANTIZE"]


def test_a_resize_by_two_stays() -> None:
    graph = Graph((1, 3, 4, 8))
    options = {"align_corners": False, "half_pixel_centers": False}
    values = graph.constant(np.array([6, 8], np.int32))
    graph.apply(
        "RESIZE_NEAREST_NEIGHBOR",
        [graph.x, values],
        graph.like(graph.x, (1, 6, 8, 8)),
        options,
        "ResizeNearestNeighborOptions",
    )
    assert apply_rule(RULE, graph.model()) is None


def _slice(graph: Graph, begin: Sequence[int], end: Sequence[int], strides: Sequence[int]) -> None:
    """STRIDED_SLICE with NumPy's meaning; the end of a reversed axis is open."""
    rank = len(graph.shape())
    parts = tuple(
        slice(first, None if step < 0 else last, step)
        for first, last, step in zip(begin, end, strides)
    )
    shape = np.empty(graph.shape())[parts].shape
    open_ends = sum(1 << axis for axis in range(rank) if strides[axis] < 0)
    masks = dict.fromkeys(("begin_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)
    numbers = [graph.constant(np.array(each, np.int32)) for each in (begin, end, strides)]
    options = {**masks, "end_mask": open_ends}
    out = graph.like(graph.x, shape)
    graph.apply("STRIDED_SLICE", [graph.x, *numbers], out, options, "StridedSliceOptions")


@pytest.mark.parametrize(
    ("begin", "end", "steps", "made"),
    [
        ((0, 0), (6, 8), (2, 2), ["MAX_POOL_2D"]),
        ((1, 0), (6, 8), (2, 1), ["SLICE", "MAX_POOL_2D"]),
        ((0, 2), (5, 7), (3, 2), ["SLICE", "MAX_POOL_2D"]),
    ],
)
def test_every_nth_pixel_is_a_pooling_of_one_value(
    begin: tuple[int, int], end: tuple[int, int], steps: tuple[int, int], made: list[str]
) -> None:
    graph = Graph((1, 6, 8, 4))
    graph.activation("RELU")
    _slice(graph, (0, *begin, 0), (1, *end, 4), (1, *steps, 1))
    graph.quantize(0.06)
    assert _resampled(graph.model()) == ["RELU", *made, "QUANTIZE"]


def test_reversed_channels_are_read_in_their_order_by_the_convolution_behind() -> None:
    """A network for BGR that is fed with RGB."""
    graph = Graph((1, 4, 5, 3))
    _slice(graph, (0, 0, 0, 2), (1, 4, 5, 0), (1, 1, 1, -1))
    _conv(graph, 6)
    graph.quantize(0.06)
    changed = rewritten(graph.model(), RULE)
    # A RESHAPE to the same shape is left, which another rule removes.
    assert [each for each in opcodes(changed) if each != "RESHAPE"] == ["CONV_2D", "QUANTIZE"]


def test_reversed_channels_with_another_reader_become_a_convolution() -> None:
    graph = Graph((1, 4, 5, 4))
    _slice(graph, (0, 0, 0, 3), (1, 4, 5, 0), (1, 1, 1, -1))
    graph.activation("RELU")
    assert _resampled(graph.model()) == ["CONV_2D", "RELU"]


@pytest.mark.parametrize("dtype", ["INT8", "FLOAT32"])
def test_an_image_flattened_in_nchw_gives_the_dense_layer_its_order(dtype: str) -> None:
    graph = Graph((1, 4, 5, 3))
    graph.activation("RELU")
    graph.transpose((0, 3, 1, 2))
    graph.reshape((1, 60))
    graph.dense(4)
    if dtype == "INT8":
        assert _resampled(graph.model()) == ["RELU", "RESHAPE", "FULLY_CONNECTED"]
        return
    model = _real(graph)
    changed = apply_rule(RULE, model)
    assert changed is not None
    assert opcodes(changed) == ["RELU", "RESHAPE", "FULLY_CONNECTED"]
    inputs = random_inputs(model)
    for (expected,), (actual,) in zip(run(model, inputs), run(changed, inputs)):
        np.testing.assert_allclose(expected, actual, rtol=1e-5, atol=1e-3)


def _real(graph: Graph) -> Model:
    """Return the graph of real numbers with the same weights."""
    for place, tensor in enumerate(graph.tensors):
        if tensor.quantization is not None:
            data = graph.buffers[tensor.buffer]
            if data.size:
                kind = np.int8 if tensor.dtype == "INT8" else np.int32
                graph.buffers[tensor.buffer] = data.view(kind).astype(np.float32).view(np.uint8)
            graph.tensors[place] = replace(tensor, dtype="FLOAT32", quantization=None)
    graph.operators = [replace(op, version=1) for op in graph.operators]
    return graph.model()
