# SPDX-License-Identifier: Apache-2.0
"""Float networks in the forms that can be quantized: the same values from other operators."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor
from edgekit.rewrite import apply_rule, prepare, resampling, saturation
from tests.rewrite.conftest import Graph, opcodes, random_inputs, run


def _float(model: Model) -> Model:
    """Return ``model`` with real numbers in place of integers; its constants are int32."""
    tensors = tuple(
        each
        if each.dtype in ("INT32", "FLOAT32")
        else Tensor(each.name, each.shape, "FLOAT32", each.buffer)
        for each in model.main.tensors
    )
    graph = model.main
    return Model((Subgraph(tensors, graph.inputs, graph.outputs, graph.operators),), model.buffers)


def _saturated(dtype: str) -> Model:
    graph = Graph((1, 64), "INT8")
    out = graph.tensor(graph.shape(), 1 / 200, -100)
    graph.apply("RELU_0_TO_1", [graph.x], out, version=1)
    return _float(graph.model()) if dtype == "FLOAT32" else graph.model()


def test_a_hard_sigmoid_saturates_at_zero_and_one() -> None:
    """Compared with numpy: no runtime has a kernel of 8-bit RELU_0_TO_1."""
    for dtype in ("FLOAT32", "INT8"):
        changed = apply_rule(saturation.RULE, _saturated(dtype))
        assert changed is not None
        assert opcodes(changed) == ["RELU", "RELU_N1_TO_1"]
        if dtype == "FLOAT32":
            values = np.linspace(-2, 3, 64, dtype=np.float32)[None]
            ((answer,),) = run(changed, [values])
            np.testing.assert_array_equal(answer, values.clip(0, 1))
        else:
            codes = np.arange(-128, 128, 4, dtype=np.int8)[None]
            ((answer,),) = run(changed, [codes])
            real = ((codes.astype(float) - 3) * 0.05).clip(0, 1)
            assert np.abs((answer.astype(float) + 100) / 200 - real).max() <= 0.5 / 200


def test_a_float_network_keeps_its_values() -> None:
    graph = Graph((1, 6, 5, 4))
    graph.activation("RELU")
    graph.transpose((0, 3, 1, 2))
    axis = graph.tensor((1, 6, 5), 0.05)
    outputs = (axis, *(graph.like(axis) for _ in range(3)))
    graph.operators.append(
        Operator("UNPACK", 1, (graph.x,), outputs, {"axis": 1, "num": 4}, "UnpackOptions")
    )
    model = _float(graph.model(*outputs))
    prepared = prepare(model)
    assert opcodes(prepared) == ["RELU"] + ["STRIDED_SLICE"] * 4
    inputs = random_inputs(model)
    for expected, actual in zip(run(model, inputs), run(prepared, inputs)):
        for left, right in zip(expected, actual):
            np.testing.assert_array_equal(left, right)
    assert prepare(prepared) is prepared


def test_squares_differences_and_absolute_values_get_operators_that_map() -> None:
    graph = Graph((1, 6, 4))
    start, mean = graph.x, graph.tensor((1, 6, 1))
    axes = graph.constant(np.array([2], np.int32))
    graph.apply("MEAN", [start, axes], mean, {"keep_dims": True}, "ReducerOptions", 1)
    graph.apply("SQUARED_DIFFERENCE", [start, mean], graph.like(start), version=1)
    graph.apply("SQUARE", [graph.x], graph.like(start), version=1)
    graph.apply("NEG", [graph.x], graph.like(start), version=1)
    graph.apply("ABS", [graph.x], graph.like(start), version=1)
    model = _float(graph.model())
    prepared = prepare(model)
    assert opcodes(prepared) == ["MEAN", "SUB", "MUL", "MUL", "MUL", "RELU", "MUL", "ADD"]
    inputs = random_inputs(model)
    for (left,), (right,) in zip(run(model, inputs), run(prepared, inputs)):
        np.testing.assert_array_equal(left, right)


def test_a_network_with_nothing_to_change_is_returned_itself(float_model: Model) -> None:
    assert prepare(float_model) is float_model


def test_depth_to_space_waits_until_it_is_in_integers() -> None:
    """The quantizer knows it; its parts would keep operators behind them in real numbers."""
    graph = Graph((1, 4, 4, 8), "INT8")
    out = graph.tensor((1, 8, 8, 2))
    graph.apply("DEPTH_TO_SPACE", [graph.x], out, {"block_size": 2}, "DepthToSpaceOptions")
    assert opcodes(prepare(_float(graph.model()))) == ["DEPTH_TO_SPACE"]
    changed = apply_rule(resampling.RULE, graph.model())
    assert changed is not None
    assert "DEPTH_TO_SPACE" not in opcodes(changed)


def test_a_mean_over_a_large_image_is_computed_in_bands() -> None:
    graph = Graph((1, 96, 96, 4))
    axes = graph.constant(np.array([1, 2], np.int32))
    graph.apply("MEAN", [graph.x, axes], graph.tensor((1, 4)), {}, "ReducerOptions", 1)
    model = _float(graph.model())
    prepared = prepare(model)
    assert opcodes(prepared) == ["SPLIT", "MEAN", "MEAN", "CONCATENATION", "MEAN"]
    inputs = random_inputs(model)
    for (expected,), (actual,) in zip(run(model, inputs), run(prepared, inputs)):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def _roots(graph: Graph, kind: str) -> None:
    """A value over its own root, in the spellings of exporters."""
    options = {"fused_activation_function": "NONE"}
    start = graph.x
    if kind == "POW":
        half = graph.constant(np.array(-0.5, np.float32))
        graph.apply("POW", [start, half], graph.like(start), {}, "PowOptions", 1)
        graph.apply("MUL", [start, graph.x], graph.like(start), options, "MulOptions", 1)
    else:
        graph.apply("SQRT", [start], graph.like(start), version=1)
        graph.apply("DIV", [start, graph.x], graph.like(start), options, "DivOptions", 1)


@pytest.mark.parametrize("kind", ["POW", "SQRT"])
def test_quotients_by_roots_become_products_with_rsqrt(kind: str) -> None:
    graph = Graph((1, 8))
    graph.apply("LOGISTIC", [graph.x], graph.like(graph.x), version=1)
    _roots(graph, kind)
    model = _float(graph.model())
    prepared = prepare(model)
    assert opcodes(prepared) == ["LOGISTIC", "RSQRT", "MUL"]
    inputs = random_inputs(model)
    for (expected,), (actual,) in zip(run(model, inputs), run(prepared, inputs)):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_powers_and_quotients_by_constants_become_products() -> None:
    graph = Graph((1, 8))
    for opcode, number in (("POW", 2.0), ("POW", 3.0), ("DIV", 4.0)):
        value = graph.constant(np.array(number, np.float32))
        options = {"fused_activation_function": "NONE"} if opcode == "DIV" else {}
        kind = "DivOptions" if opcode == "DIV" else "PowOptions"
        graph.apply(opcode, [graph.x, value], graph.like(graph.x), options, kind, 1)
    model = _float(graph.model())
    prepared = prepare(model)
    assert opcodes(prepared) == ["MUL"] * 4
    inputs = random_inputs(model)
    for (expected,), (actual,) in zip(run(model, inputs), run(prepared, inputs)):
        np.testing.assert_allclose(actual, expected, rtol=1e-5)
