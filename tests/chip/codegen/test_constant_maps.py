# SPDX-License-Identifier: Apache-2.0
"""Operands that are constants with a value for each position, bit-equal in the emulator."""

from __future__ import annotations

import sys
from typing import Any, Callable

import numpy as np
import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.codegen import Partition, partition
from edgekit.formats.tflite import Model, Quantization, Subgraph
from scripts.random_operators import Graph, random_feeds

Compare = Callable[..., Partition]
_KINDS = {"MAXIMUM": "MaximumMinimumOptions", "CONCATENATION": "ConcatenationOptions"}


def _model(
    opcode: str,
    shape: tuple[int, ...],
    constant: tuple[int, ...],
    output: tuple[int, ...],
    dtype: str = "INT8",
    **options: Any,  # noqa: ANN401 - of several types
) -> Model:
    """One operator on a constant and an input, the constant first."""
    graph = Graph(np.random.default_rng(len(constant)), dtype)
    given = graph.activation(shape, 1.0)
    low = -128 if dtype == "INT8" else 0
    values = graph.random.integers(low, low + 256, constant).astype(dtype.lower())
    same = opcode in _KINDS
    grid = graph.quantization(given) if same else Quantization((0.02,), (low + 100,))
    made = graph.like(given, output) if same else graph.activation(output, 1.5)
    kind = _KINDS.get(opcode, f"{opcode.title()}Options")
    if opcode != "MAXIMUM":
        options["fused_activation_function"] = "NONE"
    graph.add(opcode, (graph.constant(values, grid), given), made, kind, **options)
    subgraph = Subgraph(tuple(graph.tensors), (given,), (made,), tuple(graph.operators), "main")
    return Model((subgraph,), tuple(graph.buffers), opcode)


@pytest.mark.parametrize(
    ("opcode", "shape", "constant"),
    [
        ("ADD", (1, 49, 32), (1, 49, 32)),  # positions of a transformer
        ("ADD", (1, 8, 8, 8), (1, 1, 8, 8)),
        ("ADD", (1, 12, 5, 6), (1, 12, 1, 1)),
        ("MUL", (1, 24, 24, 1), (1, 24, 24, 1)),  # the map of MoveNet
        ("MUL", (1, 9, 5, 12), (1, 9, 5, 12)),
        ("MUL", (1, 8, 8, 8), (1, 8, 8, 1)),
        ("SUB", (1, 6, 7, 3), (6, 7, 3)),
        ("MAXIMUM", (1, 6, 6, 4), (1, 6, 6, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
def test_a_constant_has_a_value_for_each_position(
    compare: Compare, opcode: str, shape: tuple[int, ...], constant: tuple[int, ...], dtype: str
) -> None:
    model = _model(opcode, shape, constant, shape, dtype)
    assert compare(model, random_feeds(model, 1), random_feeds(model, 2)).reasons == {}


@pytest.mark.parametrize(
    ("shape", "constant", "axis"),
    [
        ((1, 16, 24), (1, 1, 24), 1),  # the class token of a transformer
        ((1, 6, 6, 3), (1, 6, 6, 2), 3),
        ((1, 5, 6, 8), (1, 2, 6, 8), 1),
    ],
)
def test_a_constant_is_joined(
    compare: Compare, shape: tuple[int, ...], constant: tuple[int, ...], axis: int
) -> None:
    output = list(shape)
    output[axis] += constant[axis]
    model = _model("CONCATENATION", shape, constant, tuple(output), axis=axis)
    assert compare(model, random_feeds(model, 1)).reasons == {}


def test_a_constant_of_many_values_is_refused() -> None:
    model = _model("MUL", (1, 64, 64, 17), (1, 64, 64, 17), (1, 64, 64, 17))
    (reason,) = partition(model).reasons.values()
    assert "64x64x17 values" in reason
