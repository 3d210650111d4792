# SPDX-License-Identifier: Apache-2.0
"""An operator is taken only if it computes the shapes that the model declares."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.chip.codegen import partition
from edgekit.chip.codegen.operator_shapes import FORMS
from edgekit.formats.tflite import Model, Operator
from scripts.random_operators import random_model


def _with_operator(model: Model, operator: Operator) -> Model:
    return replace(model, subgraphs=(replace(model.main, operators=(operator,)),))


@pytest.mark.parametrize("opcode", sorted(FORMS))
def test_an_output_of_another_shape_is_refused(opcode: str) -> None:
    model = random_model(3, (opcode,), (1, 1, 6, 4) if opcode == "PACK" else ())
    operator = model.main.operators[-1]
    tensors = list(model.main.tensors)
    output = tensors[operator.outputs[0]]
    tensors[operator.outputs[0]] = replace(output, shape=(*output.shape[:-1], output.shape[-1] + 1))
    reasons = partition(replace(model, subgraphs=(replace(model.main, tensors=tuple(tensors)),)))
    reason = reasons.reasons[len(model.main.operators) - 1]
    assert any(words in reason for words in ("is declared as", "cannot be", "a constant of"))


@pytest.mark.parametrize("opcode", sorted(FORMS))
def test_an_operator_without_options_or_inputs_is_refused_or_taken(opcode: str) -> None:
    """Every rule ends with an answer, whatever a damaged file leaves out."""
    model = random_model(3, (opcode,))
    operator = model.main.operators[-1]
    damaged = [replace(operator, options={}, options_type="NONE")]
    damaged += [
        replace(operator, inputs=operator.inputs[:n]) for n in range(1, len(operator.inputs))
    ]
    damaged += [replace(operator, inputs=(*operator.inputs, operator.inputs[0]))]
    damaged += [replace(operator, inputs=(*operator.inputs[:-1], -1))]
    for each in damaged:
        part = partition(_with_operator(model, each))
        assert part.mapped or part.reasons[0]


def test_a_tensor_that_is_written_twice_is_refused() -> None:
    model = random_model(0, ("RELU",))
    operators = (*model.main.operators, model.main.operators[-1])
    main = replace(model.main, operators=operators)
    part = partition(replace(model, subgraphs=(main,)))
    assert not part.mapped
    assert "is written more than once" in part.reasons[0]
