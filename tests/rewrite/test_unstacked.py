# SPDX-License-Identifier: Apache-2.0
"""UNPACK, SPLIT_V and PACK as operators that map."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import apply_rule
from edgekit.rewrite.unstacked import RULE
from tests.rewrite.conftest import Graph, opcodes, rewritten


def _unstacked(model: Model) -> list[str]:
    """Apply the rule; the outputs stay equal, and every new operator maps."""
    return opcodes(rewritten(model, RULE))


@pytest.mark.parametrize(("shape", "axis"), [((4, 1, 6), 0), ((1, 3, 6), 1), ((1, 2, 5, 3), -1)])
def test_unpack_becomes_a_slice_for_each_part(shape: tuple[int, ...], axis: int) -> None:
    graph = Graph(shape)
    kept = [size for number, size in enumerate(shape) if number != axis % len(shape)]
    outputs = tuple(graph.like(graph.input, kept) for _ in range(shape[axis]))
    options = {"axis": axis, "num": len(outputs)}
    graph.operators.append(Operator("UNPACK", 2, (graph.input,), outputs, options, "UnpackOptions"))
    assert _unstacked(graph.model(*outputs)) == ["STRIDED_SLICE"] * len(outputs)


def test_a_split_of_unequal_sizes_becomes_slices() -> None:
    graph = Graph((1, 5, 7))
    sizes = graph.constant(np.array([3, 4], np.int32))
    axis = graph.constant(np.array(2, np.int32))
    outputs = (graph.like(graph.input, (1, 5, 3)), graph.like(graph.input, (1, 5, 4)))
    options = {"num_splits": 2}
    graph.operators.append(
        Operator("SPLIT_V", 2, (graph.input, sizes, axis), outputs, options, "SplitVOptions")
    )
    assert _unstacked(graph.model(*outputs)) == ["STRIDED_SLICE"] * 2


@pytest.mark.parametrize("shape", [(1, 6), (3, 4)])
def test_pack_along_the_batch_becomes_a_concatenation(shape: tuple[int, ...]) -> None:
    graph = Graph(shape)
    parts = [graph.activation("RELU")]
    graph.x = graph.input
    parts.append(graph.activation("RELU"))
    graph.apply(
        "PACK", parts, graph.like(parts[0], (2, *shape)), {"axis": 0, "values_count": 2},
        "PackOptions",
    )  # fmt: skip
    assert _unstacked(graph.model()) == ["RELU"] * 2 + ["RESHAPE"] * 2 + [
        "CONCATENATION",
        "RESHAPE",
    ]


def test_pack_along_another_axis_stays() -> None:
    graph = Graph((1, 6))
    graph.apply(
        "PACK", [graph.x, graph.x], graph.like(graph.x, (1, 2, 6)), {"axis": 1}, "PackOptions"
    )
    assert apply_rule(RULE, graph.model()) is None


def _gather(graph: Graph, positions: list[int] | int, axis: int) -> None:
    values = graph.constant(np.array(positions, np.int32))
    shape = graph.shape()
    axis %= len(shape)
    taken = () if isinstance(positions, int) else (len(positions),)
    out = graph.like(graph.x, (*shape[:axis], *taken, *shape[axis + 1 :]))
    options = {"axis": axis, "batch_dims": 0}
    graph.apply("GATHER", [graph.x, values], out, options, "GatherOptions")


@pytest.mark.parametrize(
    ("positions", "axis", "made"),
    [
        (4, 1, ["STRIDED_SLICE"]),  # x[:, 4]
        ([1, 2, 3], -1, ["STRIDED_SLICE"]),
        ([3, 4, 5, 0, 1, 2], -1, ["STRIDED_SLICE"] * 2 + ["CONCATENATION"]),
        ([2, 2], 2, ["STRIDED_SLICE"] * 2 + ["CONCATENATION"]),
    ],
)
def test_a_gather_of_positions_in_a_row_becomes_slices(
    positions: list[int] | int, axis: int, made: list[str]
) -> None:
    graph = Graph((1, 5, 4, 6))
    _gather(graph, positions, axis)
    assert opcodes(rewritten(graph.model(), RULE, maps=False)) == made


def test_a_gather_of_computed_or_scattered_positions_stays() -> None:
    graph = Graph((1, 5, 4, 6))
    _gather(graph, [5, 3, 1, 4, 2, 0], -1)
    assert apply_rule(RULE, graph.model()) is None


def test_a_reversed_sequence_becomes_slices() -> None:
    graph = Graph((1, 5, 6))
    axes = graph.constant(np.array([1], np.int32))
    graph.apply("REVERSE_V2", [graph.x, axes], graph.like(graph.x), {}, "ReverseV2Options", 1)
    made = opcodes(rewritten(graph.model(), RULE, maps=False))
    assert made == ["STRIDED_SLICE"] * 5 + ["CONCATENATION"]
