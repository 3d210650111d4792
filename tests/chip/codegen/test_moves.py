# SPDX-License-Identifier: Apache-2.0
"""Operators that move values, resizes and transposed convolutions: bit-equal to the arithmetic."""

from __future__ import annotations

import sys
from typing import Any, Callable

import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

import numpy as np

from edgekit.chip.codegen import Partition, partition
from edgekit.formats.tflite import Model, Subgraph
from scripts.random_operators import Graph, random_feeds, random_model

Compare = Callable[..., Partition]

_SHAPES = [(1, 4, 4, 3), (1, 5, 7, 4), (1, 9, 6, 8), (1, 1, 1, 10), (1, 12, 13, 17)]
_MOVES = (
    "CONCATENATION",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "MIRROR_PAD",
    "PAD",
    "PADV2",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "SPLIT_V",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
    "TRANSPOSE_CONV",
    "UNPACK",
)


@pytest.mark.parametrize("opcode", _MOVES)
def test_an_operator_that_moves_values(compare: Compare, opcode: str) -> None:
    for seed, shape in enumerate(_SHAPES):
        model = random_model(seed, (opcode,), shape)
        extremes: list[Any] = [random_feeds(model, 0, extreme=value) for value in (0, 255)]
        assert compare(model, random_feeds(model, 1), *extremes).reasons == {}


def _model(graph: Graph, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Model:
    subgraph = Subgraph(tuple(graph.tensors), inputs, outputs, tuple(graph.operators), "main")
    return Model((subgraph,), tuple(graph.buffers), "moves")


def _reshape(graph: Graph, source: int, shape: tuple[int, ...]) -> int:
    made = graph.like(source, shape)
    return graph.add("RESHAPE", (source, graph.integers(shape)), made)


def _relu(graph: Graph, source: int) -> int:
    return graph.add("RELU", (source,), graph.activation(graph.shape(source), 1.2))


@pytest.mark.parametrize("sizes", [((6, 3), (3, 2)), ((14, 6), (7, 6))])
@pytest.mark.parametrize("classes", [(4,), (7,), (1, 4)])  # (1, 4): as a column, not as a row
def test_the_heads_of_a_detector(
    compare: Compare, classes: tuple[int, ...], sizes: tuple[tuple[int, int], ...]
) -> None:
    """Boxes of every position and anchor, one after the other, of two maps."""
    graph, parts, inputs = Graph(np.random.default_rng(2), "INT8"), [], []
    for size, anchors in sizes:
        image = graph.activation((1, size, size, anchors * classes[-1]), 1.0)
        inputs.append(image)
        parts.append(_reshape(graph, image, (1, size * size * anchors, *classes)))
    rows = sum(graph.shape(part)[1] for part in parts)
    joined = graph.activation((1, rows, *classes), 1.0)
    graph.add(
        "CONCATENATION",
        parts,
        joined,
        "ConcatenationOptions",
        axis=1,
        fused_activation_function="NONE",
    )
    model = _model(graph, tuple(inputs), (joined,))
    assert compare(model, random_feeds(model, 1), random_feeds(model, 2)).reasons == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1, 6, 5, 8), (1, 30, 8)),
        ((1, 6, 5, 8), (1, 5, 6, 8)),  # rows of another length
        ((1, 6, 5, 6), (1, 6, 10, 3)),  # channels to positions
        ((1, 6, 8, 3), (1, 6, 4, 6)),  # positions to channels
        ((1, 6, 8, 4), (1, 3, 4, 16)),
        ((1, 4, 3, 6), (1, 4, 2, 9)),  # both
        ((1, 24), (1, 2, 3, 4)),
        ((1, 24), (1, 4, 3, 2)),
        ((1, 40, 40, 20), (1, 1600, 20)),  # more than every tile can read of it
    ],
)
def test_a_reshape_that_moves_values(
    compare: Compare, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    graph = Graph(np.random.default_rng(3), "INT8")
    image = graph.activation(before, 1.0)
    moved = _reshape(graph, _relu(graph, image), after)
    border = [[0, 0], *([1, 2] for _ in after[1:-1]), [0, 0]]
    padded = [size + sum(pads) for size, pads in zip(after, border, strict=True)]
    made = graph.like(moved, padded)
    graph.add("PAD", (moved, graph.integers(border)), made, "PadOptions")
    model = _model(graph, (image,), (made,))
    assert compare(model, random_feeds(model, 1)).reasons == {}


@pytest.mark.parametrize(
    "shape",
    [(1, 5, 7, 8), (1, 12, 16, 1), (1, 6, 10, 2), (1, 9, 8, 3), (1, 4, 3, 5), (1, 3, 2, 64)],
)
def test_a_map_that_becomes_a_vector(compare: Compare, shape: tuple[int, ...]) -> None:
    """A softmax over all positions and channels."""
    graph = Graph(np.random.default_rng(4), "INT8")
    image = graph.activation(shape, 1.0)
    vector = _reshape(graph, _relu(graph, image), (1, int(np.prod(shape))))
    made = graph.fixed(vector, 1 / 256, -128)
    graph.add("SOFTMAX", (vector,), made, "SoftmaxOptions", beta=1.0)
    model = _model(graph, (image,), (made,))
    assert compare(model, random_feeds(model, 1), random_feeds(model, 2)).reasons == {}


def test_a_split_into_one_part(compare: Compare) -> None:
    """Of the batch, too."""
    graph = Graph(np.random.default_rng(4), "INT8")
    image = graph.activation((1, 6, 5, 3), 1.0)
    here = _relu(graph, image)
    part = graph.like(here)
    graph.add("SPLIT", (graph.integers(0), here), part, "SplitOptions", num_splits=1)
    made = _relu(graph, part)
    model = _model(graph, (image,), (made,))
    assert compare(model, random_feeds(model, 1)).reasons == {}


def test_an_input_that_is_reshaped_first(compare: Compare) -> None:
    graph = Graph(np.random.default_rng(4), "INT8")
    flat = graph.activation((1, 60), 1.0)
    image = _reshape(graph, flat, (1, 5, 4, 3))
    made = graph.like(image, (1, 5, 1, 3))
    inputs = (image, graph.integers([0, 0, 2, 0]), graph.integers([1, 5, 1, 3]))
    graph.add("SLICE", inputs, made, "SliceOptions")
    model = _model(graph, (flat,), (made,))
    part = compare(model, random_feeds(model, 1))
    assert part.reasons == {}
    assert len(part.network.nodes) == 1


@pytest.mark.parametrize("channels", [1, 2, 5, 8])
@pytest.mark.parametrize("times", [2, 3])
def test_a_depth_multiplier(compare: Compare, channels: int, times: int) -> None:
    graph = Graph(np.random.default_rng(5), "INT8")
    image = graph.activation((1, 6, 7, channels), 1.0)
    kernel, size = graph.weights((1, 3, 3, channels * times), 3, per_channel=True)
    made = graph.activation((1, 6, 7, channels * times), 3 * size)
    graph.add(
        "DEPTHWISE_CONV_2D",
        (image, kernel),
        made,
        "DepthwiseConv2DOptions",
        padding="SAME",
        stride_h=1,
        stride_w=1,
        depth_multiplier=times,
        dilation_h_factor=1,
        dilation_w_factor=1,
        fused_activation_function="NONE",
    )
    model = _model(graph, (image,), (made,))
    assert compare(model, random_feeds(model, 1)).reasons == {}


def test_a_transposed_convolution_with_fewer_rows_than_its_stride(compare: Compare) -> None:
    graph = Graph(np.random.default_rng(3), "INT8")
    image = graph.activation((1, 1, 9, 5), 1.0)
    weights, _ = graph.weights((6, 1, 2, 5), 0, per_channel=True)
    made = graph.activation((1, 1, 26, 6), 2.0)
    options = {"padding": "VALID", "stride_h": 3, "stride_w": 3}
    shape = graph.integers([1, 1, 26, 6])
    graph.add("TRANSPOSE_CONV", (shape, weights, image), made, "TransposeConvOptions", **options)
    model = _model(graph, (image,), (made,))
    assert compare(model, random_feeds(model, 1)).reasons == {}


@pytest.mark.parametrize("opcode", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
@pytest.mark.parametrize(
    ("before", "after", "align", "half"),
    [
        ((4, 5), (8, 10), False, True),
        ((4, 5), (8, 10), False, False),
        ((5, 4), (9, 7), True, False),
        ((3, 2), (24, 16), False, True),  # each output is one of 64 kinds
        ((6, 4), (9, 6), False, False),  # by 3 / 2
        ((8, 6), (4, 3), False, False),  # smaller
        ((1, 1), (7, 9), True, False),  # the pooled branch of a segmentation network
        ((5, 3), (5, 6), False, True),
    ],
)
def test_a_resize(
    compare: Compare,
    opcode: str,
    before: tuple[int, int],
    after: tuple[int, int],
    align: bool,
    half: bool,
) -> None:
    for channels in (1, 3, 20):
        graph = Graph(np.random.default_rng(6), "INT8")
        image = graph.activation((1, *before, channels), 1.0)
        made = graph.like(image, (1, *after, channels))
        kind = {"RESIZE_BILINEAR": "ResizeBilinearOptions"}
        graph.add(
            opcode,
            (image, graph.integers(after)),
            made,
            kind.get(opcode, "ResizeNearestNeighborOptions"),
            align_corners=align,
            half_pixel_centers=half,
        )
        model = _model(graph, (image,), (made,))
        assert compare(model, random_feeds(model, 1)).reasons == {}


@pytest.mark.parametrize(
    ("opcode", "shape", "after", "reason"),
    [
        ("RESIZE_BILINEAR", (2, 2), (32, 32), "factors of 15 and more are refused"),
        ("RESIZE_NEAREST_NEIGHBOR", (17, 17), (29, 29), "841 kinds; at most 64 are made"),
    ],
)
def test_what_a_resize_does_not_take(
    opcode: str, shape: tuple[int, int], after: tuple[int, int], reason: str
) -> None:
    graph = Graph(np.random.default_rng(7), "INT8")
    image = graph.activation((1, *shape, 8), 1.0)
    made = graph.like(image, (1, *after, 8))
    words = {"align_corners": False, "half_pixel_centers": False}
    graph.add(opcode, (image, graph.integers(after)), made, "NONE", **words)
    (found,) = partition(_model(graph, (image,), (made,))).reasons.values()
    assert reason in found


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((1, 4, 4, 3), (0, 3, 1, 2)),
        ((1, 20, 20, 65), (0, 3, 1, 2)),  # the heads of a YOLO
        ((1, 3, 7, 6), (0, 2, 3, 1)),
        ((1, 9, 5, 8), (0, 2, 1, 3)),
        ((1, 9, 5, 6), (0, 1, 3, 2)),
        ((1, 2, 9, 13), (0, 3, 2, 1)),
        ((1, 7, 10), (0, 2, 1)),
        ((1, 1, 30, 21), (1, 0, 2, 3)),
    ],
)
def test_a_transpose(compare: Compare, shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    graph = Graph(np.random.default_rng(8), "INT8")
    image = graph.activation(shape, 1.0)
    here = _relu(graph, image)
    made = graph.like(here, [shape[axis] for axis in order])
    graph.add("TRANSPOSE", (here, graph.integers(order)), made)
    model = _model(graph, (image,), (made,))
    assert compare(model, random_feeds(model, 1), random_feeds(model, 2)).reasons == {}


def test_a_transpose_of_much_is_refused() -> None:
    graph = Graph(np.random.default_rng(8), "INT8")
    image = graph.activation((1, 40, 40, 65), 1.0)
    made = graph.like(image, (1, 65, 40, 40))
    graph.add("TRANSPOSE", (image, graph.integers([0, 3, 1, 2])), made)
    (reason,) = partition(_model(graph, (image,), (made,))).reasons.values()
    assert reason.startswith("a transpose of [1, 40, 40, 65] in the order [0, 3, 1, 2]")


def test_anchors_of_a_large_map_become_rows(compare: Compare) -> None:
    """As in YOLOv5's heads: more values than one transposition moves at once."""
    graph = Graph(np.random.default_rng(4), "INT8")
    given = graph.activation((1, 20, 30, 3 * 61), 1.0)
    part = _reshape(graph, given, (1, 600, 3, 61))
    made = graph.like(part, (1, 3, 600, 61))
    graph.add("TRANSPOSE", (part, graph.integers([0, 2, 1, 3])), made)
    model = _model(graph, (given,), (_relu(graph, made),))
    assert compare(model, random_feeds(model, 1)).reasons == {}


def test_distances_of_boxes_are_weighed_by_a_softmax(compare: Compare) -> None:
    """As in YOLOv8's heads: 16 bins of four sides, and a 1 x 1 convolution of each 16."""
    graph = Graph(np.random.default_rng(6), "INT8")
    images = [graph.activation((1, size, size, 64), 1.0) for size in (26, 13)]
    rows = [_reshape(graph, image, (1, graph.shape(image)[1] ** 2, 64)) for image in images]
    number = sum(graph.shape(row)[1] for row in rows)
    joined = graph.like(images[0], (1, number, 64))
    fused = {"axis": 1, "fused_activation_function": "NONE"}
    graph.add("CONCATENATION", rows, joined, "ConcatenationOptions", **fused)
    sides = _reshape(graph, joined, (1, number, 4, 16))
    shares = graph.fixed(sides, 1 / 256, -128)
    graph.add("SOFTMAX", (sides,), shares, "SoftmaxOptions", beta=1.0)
    weights, spread = graph.weights((1, 1, 1, 16), 0, per_channel=False)
    options = {
        "padding": "SAME",
        "stride_h": 1,
        "stride_w": 1,
        "dilation_h_factor": 1,
        "dilation_w_factor": 1,
        "fused_activation_function": "NONE",
    }
    made = graph.activation((1, number, 4, 1), spread)
    graph.add("CONV_2D", (shares, weights, -1), made, "Conv2DOptions", **options)
    model = _model(graph, tuple(images), (_relu(graph, _reshape(graph, made, (1, number, 4))),))
    assert compare(model, random_feeds(model, 1)).reasons == {}
