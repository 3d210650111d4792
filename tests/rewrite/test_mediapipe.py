# SPDX-License-Identifier: Apache-2.0
"""MediaPipe's custom transposed convolution; its expected values are computed with numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Tensor
from edgekit.rewrite import apply_rule
from edgekit.rewrite.mediapipe import RULE
from tests.rewrite.conftest import Graph, opcodes, run

# Padding 2 (VALID), stride 2 in x, 2 in y; padding 1 (SAME).
_VALID, _SAME = (bytes((each, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0)) for each in (2, 1))


def _custom(options: bytes) -> tuple[Model, np.ndarray, np.ndarray]:
    """A float network with the operator: a kernel of 2x2, so that no pixels overlap."""
    graph = Graph((1, 3, 4, 2))
    graph.tensors[0] = Tensor("x", (1, 3, 4, 2), "FLOAT32", 0)
    weights = graph.random.normal(size=(5, 2, 2, 2)).astype(np.float32)
    bias = np.arange(5, dtype=np.float32)
    out = graph.tensor((1, 6, 8, 5), None, dtype="FLOAT32")
    inputs = (graph.x, graph.constant(weights), graph.constant(bias))
    op = Operator("CUSTOM", 1, inputs, (out,))
    graph.operators.append(
        replace(op, custom_code="Convolution2DTransposeBias", custom_options=options)
    )
    graph.x = out
    return graph.model(), weights, bias


@pytest.mark.parametrize("options", [_VALID, _SAME])
def test_the_custom_operator_is_a_transposed_convolution_with_a_bias(options: bytes) -> None:
    model, weights, bias = _custom(options)
    changed = apply_rule(RULE, model)
    assert changed is not None
    assert opcodes(changed) == ["TRANSPOSE_CONV"]
    x = np.random.default_rng(1).normal(size=(1, 3, 4, 2)).astype(np.float32)
    ((answer,),) = run(changed, [x])
    pixels = np.einsum("yxc,oijc->yixjo", x[0], weights).reshape(1, 6, 8, 5) + bias
    np.testing.assert_allclose(answer, pixels, rtol=1e-5, atol=1e-5)


def test_options_that_are_not_understood_leave_the_operator() -> None:
    for options in (b"", _VALID[:8], b"\x07" + _VALID[1:]):
        assert apply_rule(RULE, _custom(options)[0]) is None
