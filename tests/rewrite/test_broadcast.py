# SPDX-License-Identifier: Apache-2.0
"""Inputs of elementwise operators that are repeated in ways which were not seen mapped."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.edgetpu.support import judge_operators
from edgekit.formats.tflite import Model, Quantization
from edgekit.rewrite import apply_rule
from edgekit.rewrite.broadcast import RULE
from tests.rewrite.conftest import Graph, opcodes, rewritten

_SHAPE = (1, 4, 5, 3)
_KINDS = {"ADD": "AddOptions", "MUL": "MulOptions", "SUB": "SubOptions"}


def _apply(graph: Graph, opcode: str, inputs: list[int], shape: tuple[int, ...]) -> None:
    options: dict[str, object] = {"fused_activation_function": "NONE"}
    if opcode != "MUL":
        options["pot_scale_int16"] = True
    graph.apply(opcode, inputs, graph.tensor(shape, 0.08, -4), options, _KINDS[opcode])


def _with_constant(opcode: str, shape: tuple[int, ...]) -> Model:
    graph = Graph(_SHAPE)
    graph.activation("RELU")
    values = graph.random.integers(-127, 128, shape).astype(np.int8)
    number = graph.constant(values, Quantization((float(np.float32(0.02)),), (0,)))
    _apply(graph, opcode, [graph.x, number], _SHAPE)
    return graph.model()


def _with_activation(opcode: str, axes: tuple[int, ...]) -> Model:
    graph = Graph(_SHAPE)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(_SHAPE))
    begin, size = (graph.constant(np.array(each, np.int32)) for each in ((0,) * 4, shape))
    part = graph.apply("SLICE", [graph.x, begin, size], graph.like(graph.x, shape))
    _apply(graph, opcode, [part, graph.input], _SHAPE)
    return graph.model()


@pytest.mark.parametrize("opcode", _KINDS)
@pytest.mark.parametrize("shape", [(1, 4, 5, 1), (1, 1, 5, 3), (4, 1, 1), (5, 1)])
def test_a_constant_is_repeated_in_the_file(opcode: str, shape: tuple[int, ...]) -> None:
    model = _with_constant(opcode, shape)
    assert judge_operators(model)[-1].alone == "unknown"
    assert opcodes(rewritten(model, RULE)) == ["RELU", opcode]


@pytest.mark.parametrize("opcode", _KINDS)
@pytest.mark.parametrize(
    ("axes", "made"),
    [
        ((3,), ["CONV_2D"]),
        ((2,), ["CONCATENATION"]),
        ((1,), ["CONCATENATION"]),
        ((1, 3), ["CONV_2D", "CONCATENATION"]),
    ],
)
def test_an_activation_is_repeated_before_it(
    opcode: str, axes: tuple[int, ...], made: list[str]
) -> None:
    model = _with_activation(opcode, axes)
    assert judge_operators(model)[-1].alone == "unknown"
    assert opcodes(rewritten(model, RULE)) == ["SLICE", *made, opcode]


@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (4, 5, 3), (3,), (1, 1, 1, 3), (1,), ()])
def test_what_was_seen_mapped_stays(shape: tuple[int, ...]) -> None:
    model = _with_constant("MUL", shape)
    assert judge_operators(model)[-1].alone == "tpu"
    assert apply_rule(RULE, model) is None
