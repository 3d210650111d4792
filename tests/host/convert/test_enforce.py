# SPDX-License-Identifier: Apache-2.0
"""Each rule is broken on purpose in a model that follows all the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgekit.edgetpu.issues import ISSUE_CODES
from edgekit.edgetpu.structure import layer_of
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor
from edgekit.host.convert.enforce import NotEdgeTpuModelError, broken_rules, enforce

Change = Callable[[Model], Model]


def _tensor(index: int, **change: object) -> Change:
    def apply(model: Model) -> Model:
        tensors = list(model.main.tensors)
        tensors[index] = replace(tensors[index], **change)  # type: ignore[arg-type] # a test's freedom
        return replace(model, subgraphs=(replace(model.main, tensors=tuple(tensors)),))

    return apply


def _operator(index: int, **change: object) -> Change:
    def apply(model: Model) -> Model:
        operators = list(model.main.operators)
        operators[index] = replace(operators[index], **change)  # type: ignore[arg-type] # a test's freedom
        return replace(model, subgraphs=(replace(model.main, operators=tuple(operators)),))

    return apply


def _with_loop(model: Model) -> Model:
    loop = Operator("WHILE", 1, model.main.inputs, model.main.outputs)
    main = replace(model.main, operators=(*model.main.operators, loop))
    return replace(model, subgraphs=(main, model.main))


def _index(model: Model, name: str) -> int:
    return next(i for i, tensor in enumerate(model.main.tensors) if tensor.name == name)


def test_a_good_model_does_not_break_a_rule(int8_model: Model) -> None:
    assert broken_rules(int8_model, "uint8") == []
    enforce(int8_model, "uint8", "")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_operator(1, version=6), "map.op_version"),
        (_operator(1, opcode="GELU", options_type="NONE", options={}), "map.op_unknown"),
        (_operator(1, opcode="CUSTOM", custom_code="FlexErf"), "model.custom_op"),
        (_operator(1, opcode="CUSTOM", custom_code="Mine"), "model.custom_op"),
        (_tensor(0, shape_signature=(-1, 8, 8, 1)), "model.dynamic_shape"),
        (_tensor(0, dtype="INT8"), "io.dtype"),
        (_tensor(11, dtype="FLOAT32"), "io.dtype"),
        (_tensor(5, dtype="INT16"), "quant.not_int8"),
        (_tensor(5, dtype="FLOAT32"), "quant.float_tensor"),
        (_with_loop, "model.subgraphs"),
    ],
)
def test_a_broken_rule_is_found(int8_model: Model, change: Change, code: str) -> None:
    issues = broken_rules(change(int8_model), "uint8")
    assert code in {issue.code for issue in issues}
    assert all(issue.code in ISSUE_CODES for issue in issues)
    assert all(issue.where and issue.message and issue.fix for issue in issues)


def test_dense_weights_with_a_scale_per_channel_are_found(int8_model: Model) -> None:
    scales = Quantization((0.1,) * 5, (0,) * 5, 0)
    change = _tensor(_index(int8_model, "dense/w"), quantization=scales)
    (issue,) = broken_rules(change(int8_model), "uint8")
    assert issue.code == "quant.per_channel_dense"


def test_other_input_types_are_enforced_too(int8_model: Model) -> None:
    change = _tensor(0, dtype="FLOAT32", quantization=None)
    model = _tensor(11, dtype="FLOAT32", quantization=None)(change(int8_model))
    assert broken_rules(model, "float32") == []
    assert {issue.code for issue in broken_rules(model, "uint8")} >= {"io.dtype"}


def test_operators_that_only_follow_a_float_operation_are_not_reported(int8_model: Model) -> None:
    """DEQUANTIZE, RESHAPE, NEG, QUANTIZE: only NEG does not have an integer form."""
    reals = tuple(Tensor(name, (1, 5), "FLOAT32", 0) for name in ("a/real", "a/flat", "a/neg/out"))
    base = len(int8_model.main.tensors)
    scores, out = _index(int8_model, "dense/scores"), int8_model.main.outputs[0]
    island = (
        Operator("DEQUANTIZE", 2, (scores,), (base,)),
        Operator("RESHAPE", 1, (base,), (base + 1,), {"new_shape": (1, 5)}, "ReshapeOptions"),
        Operator("NEG", 1, (base + 1,), (base + 2,)),
        Operator("QUANTIZE", 1, (base + 2,), (out,)),
    )
    graph = int8_model.main
    graph = replace(
        graph, tensors=(*graph.tensors, *reals), operators=(*graph.operators[:-1], *island)
    )
    (issue,) = broken_rules(replace(int8_model, subgraphs=(graph,)), "uint8")
    assert "NEG" in issue.where
    assert "layer a/neg" in issue.where


def test_the_error_contains_every_issue_and_shows_the_first(int8_model: Model) -> None:
    model = int8_model
    for index in range(len(model.main.operators)):
        model = _operator(index, version=99)(model)
    with pytest.raises(NotEdgeTpuModelError) as caught:
        enforce(model, "uint8", "the source")
    assert len(caught.value.issues) == len(model.main.operators)
    assert len(caught.value.to_dict()["issues"]) == len(model.main.operators)
    assert caught.value.where == "the source"
    assert "CONV_2D has version 99, compiler 16 reads up to 5" in caught.value.why


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("net/block/conv/Conv2D;net/bn/Fused", "net/block/conv"),
        ("StatefulPartitionedCall/net/dense/MatMul", "net/dense"),
        ("Identity", ""),
    ],
)
def test_the_layer_is_read_from_the_tensors_names(name: str, layer: str) -> None:
    tensors = (Tensor("x", (1,), "INT8", 0), Tensor(name, (1,), "INT8", 0))
    operator = Operator("RELU", 1, (0,), (1,))
    assert layer_of(Subgraph(tensors, (0,), (1,), (operator,)), operator) == layer
