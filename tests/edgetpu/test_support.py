# SPDX-License-Identifier: Apache-2.0
"""Verdicts on single operators, at and around their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgekit.edgetpu.rules import (
    DATA_TYPE,
    NOT_CONSTANT,
    NOT_SUPPORTED,
    OP_RULES,
    RANK,
    STRIDES,
    UNSPECIFIED,
)
from edgekit.edgetpu.support import OperatorVerdict, judge_operators
from edgekit.formats.tflite import Model

if TYPE_CHECKING:
    from tests.edgetpu.conftest import NewGraph, Unary


def last(model: Model, runtime: int = 14) -> OperatorVerdict:
    return judge_operators(model, runtime)[-1]


def test_a_quantized_convolution_maps(new_graph: NewGraph) -> None:
    graph = new_graph()
    verdict = last(graph.model(graph.conv(graph.feed((1, 8, 8, 3)), 8)))
    assert (verdict.verdict, verdict.reason, verdict.rule) == ("tpu", "", "")
    assert "seen mapped" in verdict.source


def test_real_numbers_stay_on_the_cpu_in_the_compilers_words(new_graph: NewGraph) -> None:
    graph = new_graph()
    q = graph.add("QUANTIZE", (graph.feed((1, 8), dtype="FLOAT32"),), (1, 8))
    d = graph.add("DEQUANTIZE", (q,), (1, 8), 2, dtype="FLOAT32")
    first, second = judge_operators(graph.model(d))
    assert (first.verdict, first.status, first.rule) == ("cpu", UNSPECIFIED, "dtype")
    assert (second.verdict, second.status, second.rule) == ("cpu", DATA_TYPE, "dtype")


def test_an_operator_that_the_edge_tpu_does_not_have_stays_on_the_cpu(unary: Unary) -> None:
    verdict = last(unary("LEAKY_RELU", (1, 4, 4, 8), (1, 4, 4, 8), version=2))
    assert (verdict.verdict, verdict.status) == ("cpu", NOT_SUPPORTED)
    assert "edgekit fix" in verdict.fix


def test_a_dequantize_to_integers_is_no_operator_of_the_edge_tpu(new_graph: NewGraph) -> None:
    """Damaged files contain it; one to real numbers is the border of the mapped part."""
    graph = new_graph()
    verdict = last(graph.model(graph.add("DEQUANTIZE", (graph.feed((1, 8)),), (1, 8))))
    assert (verdict.verdict, verdict.status) == ("cpu", NOT_SUPPORTED)


def test_a_custom_operator_keeps_its_name(new_graph: NewGraph) -> None:
    graph = new_graph()
    x = graph.feed((1, 8))
    y = graph.add("CUSTOM", (x,), (1, 4), dtype="FLOAT32", custom_code="Mine")
    verdict = last(graph.model(y))
    assert (verdict.opcode, verdict.label, verdict.status) == ("CUSTOM", "Mine", DATA_TYPE)


@pytest.mark.parametrize("shape", [(2, 4, 4, 8), (1, 2, 4, 4, 8)])
def test_a_fourth_dimension_above_one_does_not_map(unary: Unary, shape: tuple[int, ...]) -> None:
    verdict = last(unary("LOGISTIC", shape, shape, version=2))
    assert (verdict.verdict, verdict.status) == ("cpu", RANK)


def test_int8_needs_runtime_12(unary: Unary) -> None:
    model = unary("LOGISTIC", (1, 8), (1, 8), version=2)
    assert last(model, 10).verdict == "cpu"
    assert last(model, 10).rule == "runtime"
    assert last(model, 12).verdict == "tpu"


def test_transpose_needs_runtime_14_and_a_small_tensor(unary: Unary) -> None:
    def transpose(size: int) -> Model:
        return unary(
            "TRANSPOSE",
            (1, size, size, 65),
            (1, 65, size, size),
            version=2,
            constants=[[0, 3, 1, 2]],
        )

    assert last(transpose(20), 13).rule == "runtime"
    assert last(transpose(20)).verdict == "tpu"
    assert last(transpose(35)).verdict == "unknown"
    assert last(transpose(40)).verdict == "cpu"


@pytest.mark.parametrize(
    ("shape", "verdict"),
    [
        ((1, 64, 24, 24), "tpu"),
        ((1, 32, 32, 32), "tpu"),
        ((1, 3, 128, 128), "tpu"),
        ((1, 3, 160, 160), "unknown"),
        ((1, 64, 28, 28), "unknown"),
        ((1, 16, 64, 64), "unknown"),
        ((1, 64, 32, 32), "cpu"),
        ((1, 32, 64, 64), "cpu"),
    ],
)
def test_a_transpose_from_nchw_maps_up_to_the_sizes_that_were_measured(
    unary: Unary, shape: tuple[int, ...], verdict: str
) -> None:
    out = tuple(shape[axis] for axis in (0, 2, 3, 1))
    model = unary("TRANSPOSE", shape, out, version=2, constants=[[0, 2, 3, 1]])
    assert last(model).verdict == verdict


@pytest.mark.parametrize(
    ("side", "out", "verdict"),
    [(3, 5, "tpu"), (4, 7, "tpu"), (8, 24, "unknown"), (8, 4, "unknown"), (4, 64, "cpu")],
)
def test_nearest_neighbors_map_by_factors_up_to_two(
    unary: Unary, side: int, out: int, verdict: str
) -> None:
    model = unary(
        "RESIZE_NEAREST_NEIGHBOR",
        (1, side, side, 64),
        (1, out, out, 64),
        version=2,
        constants=[[out, out]],
        options={"align_corners": False, "half_pixel_centers": False},
    )
    assert last(model).verdict == verdict


@pytest.mark.parametrize(
    ("side", "out", "align", "verdict"),
    [
        (12, 24, False, "tpu"),
        (12, 12, True, "tpu"),
        (12, 48, False, "unknown"),
        (12, 24, True, "unknown"),
        (1, 33, True, "cpu"),
        (33, 513, True, "cpu"),
    ],
)
def test_resizing_maps_by_two_but_not_by_large_factors(
    unary: Unary, side: int, out: int, align: bool, verdict: str
) -> None:
    model = unary(
        "RESIZE_BILINEAR",
        (1, side, side, 16),
        (1, out, out, 16),
        version=3,
        constants=[[out, out]],
        options={"align_corners": align, "half_pixel_centers": False},
    )
    assert last(model).verdict == verdict


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(4, 5), (8, 10), (16, 16)])
def test_nearest_neighbors_by_two_map_with_and_without_half_pixel_centers(
    unary: Unary, rows: int, columns: int, half: bool
) -> None:
    model = unary(
        "RESIZE_NEAREST_NEIGHBOR",
        (1, rows, columns, 16),
        (1, 2 * rows, 2 * columns, 16),
        version=3,
        constants=[[2 * rows, 2 * columns]],
        options={"align_corners": False, "half_pixel_centers": half},
    )
    assert last(model).verdict == "tpu"


@pytest.mark.parametrize(("side", "verdict"), [(64, "tpu"), (128, "unknown"), (256, "cpu")])
def test_bilinear_by_two_maps_for_the_sizes_that_were_seen(
    unary: Unary, side: int, verdict: str
) -> None:
    model = unary(
        "RESIZE_BILINEAR",
        (1, side, side, 32),
        (1, 2 * side, 2 * side, 32),
        version=3,
        constants=[[2 * side, 2 * side]],
        options={"align_corners": False, "half_pixel_centers": True},
    )
    assert last(model).verdict == verdict


@pytest.mark.parametrize(
    ("side", "verdict"), [(64, "tpu"), (90, "tpu"), (150, "unknown"), (256, "cpu")]
)
def test_a_mean_maps_over_a_small_image(unary: Unary, side: int, verdict: str) -> None:
    model = unary("MEAN", (1, side, side, 3), (1, 1, 1, 3), version=2, constants=[[1, 2]])
    assert last(model).verdict == verdict


def test_a_mean_over_channels_needs_a_multiple_of_four_and_runtime_13(unary: Unary) -> None:
    even = unary("MEAN", (1, 4, 4, 8), (1, 4, 4, 1), version=2, constants=[[3]])
    odd = unary("MEAN", (1, 4, 4, 6), (1, 4, 4, 1), version=2, constants=[[3]])
    assert [last(even).verdict, last(even, 12).verdict, last(odd).verdict] == ["tpu", "cpu", "cpu"]


def test_a_strided_slice_maps_only_with_stride_1(unary: Unary) -> None:
    def slice_by(step: int) -> OperatorVerdict:
        bounds = [[0, 0, 0, 0], [1, 8, 8, 4], [1, step, step, 1]]
        size = 8 // step
        out = (1, size, size, 4)
        return last(unary("STRIDED_SLICE", (1, 8, 8, 4), out, version=2, constants=bounds))

    assert slice_by(1).verdict == "tpu"
    assert (slice_by(2).verdict, slice_by(2).status) == ("cpu", STRIDES)


def test_computed_weights_stay_on_the_cpu(new_graph: NewGraph) -> None:
    graph = new_graph()
    x, w = graph.feed((1, 8)), graph.feed((4, 8))
    verdict = last(graph.model(graph.add("FULLY_CONNECTED", (x, w, -1), (1, 4), 4)))
    assert (verdict.verdict, verdict.status) == ("cpu", NOT_CONSTANT)


def test_a_dense_layer_maps_only_for_one_vector(new_graph: NewGraph) -> None:
    graph = new_graph()
    x = graph.feed((3, 8))
    y = graph.add("FULLY_CONNECTED", (x, graph.weights((4, 8)), -1), (3, 4), 4)
    assert last(graph.model(y)).rule == "FULLY_CONNECTED.vector_output"


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((1, 19, 19, 12), (1, 1083, 1, 4), "tpu"),
        ((1, 19, 19, 273), (1, 1083, 91), "tpu"),
        ((1, 80, 80, 64), (80, 80, 64), "tpu"),  # memory does not change
        ((40, 40, 255), (1600, 3, 85), "tpu"),
        ((1, 80, 80, 255), (1, 6400, 3, 85), "cpu"),
        ((1, 40, 40, 144), (1, 1600, 144), "unknown"),
    ],
)
def test_reshapes_of_large_tensors_do_not_map(
    unary: Unary, before: tuple[int, ...], after: tuple[int, ...], verdict: str
) -> None:
    assert last(unary("RESHAPE", before, after, constants=[after])).verdict == verdict


def test_joining_maps_except_for_many_odd_channels_and_constants(new_graph: NewGraph) -> None:
    def join(*channels: int) -> str:
        graph = new_graph()
        parts = [graph.feed((1, 32, 32, size)) for size in channels]
        options = {"axis": 3, "fused_activation_function": "NONE"}
        out = (1, 32, 32, sum(channels))
        return last(graph.model(graph.add("CONCATENATION", parts, out, 2, options))).verdict

    assert [join(128, 128), join(3, 1, 2), join(64, 1)] == ["tpu"] * 3
    assert join(192, 1, 1) == "unknown"


def test_versions_above_those_seen_are_unknown_and_unreadable_ones_stay_on_the_cpu(
    unary: Unary,
) -> None:
    shape = (1, 4, 4, 8)
    assert last(unary("LOGISTIC", shape, shape, version=3)).verdict == "unknown"
    assert last(unary("LOGISTIC", shape, shape, version=9)).verdict == "cpu"


def test_a_softmax_maps_over_one_long_vector_or_few_short_ones(unary: Unary) -> None:
    def softmax(*shape: int) -> str:
        return last(unary("SOFTMAX", shape, shape, version=2)).verdict

    assert [softmax(1, 16_384), softmax(1, 4, 756, 16)] == ["tpu", "tpu"]
    assert [softmax(1, 20_000), softmax(1, 4, 8400, 16)] == ["cpu", "unknown"]


def test_every_rule_has_a_source_and_every_limit_a_text_and_a_fix() -> None:
    for opcode, rule in OP_RULES.items():
        assert rule.opcode == opcode
        assert rule.source
        for limit in rule.limits:
            assert limit.text
            assert limit.fix
            assert limit.source
