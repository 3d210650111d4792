# SPDX-License-Identifier: Apache-2.0
"""Copied integers must mean the same before and after the copy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor, write_model
from edgekit.rewrite import changes_scale, fix_copied_scales
from edgekit.runtime import Runner

_EMPTY = np.empty(0, np.uint8)
_FINE, _COARSE = Quantization((0.5,), (3,)), Quantization((1.0,), (-4,))


def _reverse(out: Quantization) -> Model:
    tensors = (
        Tensor("x", (1, 4), "INT8", 0, _FINE),
        Tensor("axis", (1,), "INT32", 1),
        Tensor("y", (1, 4), "INT8", 0, out),
    )
    axis = np.frombuffer(np.array([1], "<i4").tobytes(), np.uint8)
    operator = Operator("REVERSE_V2", 2, (0, 1), (2,), {}, "ReverseV2Options")
    return Model((Subgraph(tensors, (0,), (2,), (operator,)),), (_EMPTY, axis))


def _concat(dtype: str, second: Quantization) -> Model:
    tensors = (
        Tensor("a", (1, 2), dtype, 0, _FINE),
        Tensor("b", (1, 2), dtype, 0, second),
        Tensor("y", (1, 4), dtype, 0, _FINE),
    )
    options = {"axis": 1, "fused_activation_function": "NONE"}
    operator = Operator("CONCATENATION", 2, (0, 1), (2,), options, "ConcatenationOptions")
    return Model((Subgraph(tensors, (0, 1), (2,), (operator,)),), (_EMPTY,))


def _predict(model: Model, *real: np.ndarray) -> np.ndarray:
    with Runner(write_model(model), kernels="reference") as runner:
        (answer,) = runner.predict(*real)
    return answer


def test_a_reversal_that_changes_the_scale_is_wrong_and_is_fixed() -> None:
    real, expected = np.array([[4.0, 3.0, 2.0, 1.0]]), [[1.0, 2.0, 3.0, 4.0]]
    wrong = _reverse(_COARSE)
    assert _predict(wrong, real).tolist() != expected
    mended = fix_copied_scales(wrong)
    assert [op.opcode for op in mended.main.operators] == ["REVERSE_V2", "QUANTIZE"]
    assert _predict(mended, real).tolist() == expected


def test_inputs_that_are_joined_are_rescaled_before() -> None:
    mended = fix_copied_scales(_concat("INT8", _COARSE))
    assert [op.opcode for op in mended.main.operators] == ["QUANTIZE", "CONCATENATION"]
    real = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    assert _predict(mended, *real).tolist() == [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize("model", [_reverse(_FINE), _concat("INT8", _FINE)])
def test_operators_that_keep_their_scale_are_not_changed(model: Model) -> None:
    assert fix_copied_scales(model) is model


def test_old_uint8_joins_rescale_by_themselves() -> None:
    model = _concat("UINT8", Quantization((1.0,), (4,)))
    assert not changes_scale(model.main.operators[0], model.main.tensors)
    real = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    assert _predict(model, *real).tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_fixing_a_fixed_model_changes_nothing() -> None:
    mended = fix_copied_scales(_reverse(_COARSE))
    assert fix_copied_scales(mended) is mended


def test_several_outputs_are_each_rescaled() -> None:
    tensors = (
        Tensor("axis", (), "INT32", 1),
        Tensor("x", (1, 4), "INT8", 0, _FINE),
        Tensor("a", (1, 2), "INT8", 0, _COARSE),
        Tensor("b", (1, 2), "INT8", 0, _FINE),
    )
    axis = np.frombuffer(np.array(1, "<i4").tobytes(), np.uint8)
    split = Operator("SPLIT", 2, (0, 1), (2, 3), {"num_splits": 2}, "SplitOptions")
    graph = Subgraph(tensors, (1,), (2, 3), (split,))
    mended = fix_copied_scales(Model((graph,), (_EMPTY, axis)))
    with Runner(write_model(mended), kernels="reference") as runner:
        first, second = runner.predict(np.array([[4.0, 3.0, 2.0, 1.0]]))
    assert (first.tolist(), second.tolist()) == ([[4.0, 3.0]], [[2.0, 1.0]])
    assert replace(mended.main, operators=()).outputs == (2, 3)
