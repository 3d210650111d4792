# SPDX-License-Identifier: Apache-2.0
"""Bounds of fused activations that no code of the output reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgekit.edgetpu.check import check_model
from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.rewrite.saturation import drop_unreachable_bounds


def _with(model: Model, activation: str, scale: float) -> Model:
    """Return the model with a fused activation and a step of the convolution's output."""
    graph = model.main
    op = next(each for each in graph.operators if each.opcode == "CONV_2D")
    quantization = graph.tensors[op.outputs[0]].quantization
    assert quantization is not None
    tensors = list(graph.tensors)
    for each in graph.operators:  # the pool behind it has the same scale
        if each is op or each.opcode == "MAX_POOL_2D":
            index = each.outputs[0]
            made = replace(quantization, scale=(scale,))
            tensors[index] = replace(tensors[index], quantization=made)
    options = {**op.options, "fused_activation_function": activation}
    operators = tuple(replace(x, options=options) if x is op else x for x in graph.operators)
    main = replace(graph, tensors=tuple(tensors), operators=operators)
    return replace(model, subgraphs=(main, *model.subgraphs[1:]))


@pytest.mark.parametrize(("activation", "instead"), [("RELU6", "RELU"), ("RELU_N1_TO_1", "NONE")])
def test_a_bound_beyond_32_bits_is_dropped(
    int8_model: Model, activation: str, instead: str
) -> None:
    model = _with(int8_model, activation, 1e-10)
    codes = [issue.code for issue in check_model(ModelFile.of(model)).issues]
    assert "quant.activation_overflow" in codes
    changed = drop_unreachable_bounds(model)
    assert changed is not None
    found = next(each for each in changed.main.operators if each.opcode == "CONV_2D")
    assert found.options["fused_activation_function"] == instead
    codes = [issue.code for issue in check_model(ModelFile.of(changed)).issues]
    assert "quant.activation_overflow" not in codes
    assert drop_unreachable_bounds(changed) is None


@pytest.mark.parametrize("activation", ["RELU6", "RELU", "NONE", "RELU_N1_TO_1"])
def test_a_bound_that_fits_stays(int8_model: Model, activation: str) -> None:
    assert drop_unreachable_bounds(_with(int8_model, activation, 0.02)) is None
