# SPDX-License-Identifier: Apache-2.0
"""For random graphs: exact rules keep outputs equal, and a rule changes nothing twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from edgekit.edgetpu.support import judge_operators
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.rewrite import apply_rule, rules
from tests.rewrite.conftest import graphs, random_inputs, run

_RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_LARGEST_STEPS = 3  # some additional rounding, and its later effect


def _all_rules(model: Model) -> Model:
    for _ in range(8):
        before = model
        for rule in rules():
            model = apply_rule(rule, model) or model
        if model is before:
            return model
    raise AssertionError("the rules undo each other")


def _as_turned(values: NDArray[Any], model: Model) -> NDArray[Any]:
    """Return an input in the order of axes that the rule channels-last may have given it."""
    shape = model.main.tensors[model.main.inputs[0]].shape
    return values if values.shape == shape else np.moveaxis(values, 1, -1)


@_RELAXED
@given(model=graphs())
def test_exact_rules_give_equal_outputs(model: Model) -> None:
    inputs = random_inputs(model)
    for rule in rules():
        changed = apply_rule(rule, model)
        if changed is None:
            continue
        old, inputs = inputs, [_as_turned(each, changed) for each in inputs]
        if rule.exact:
            for (before,), (after,) in zip(run(model, old), run(changed, inputs)):
                np.testing.assert_array_equal(before, after)
        model = changed


@_RELAXED
@given(model=graphs())
def test_applying_a_rule_twice_changes_nothing(model: Model) -> None:
    fixed = _all_rules(model)
    content = write_model(fixed)
    assert write_model(read_model(content)) == content
    for rule in rules():
        assert apply_rule(rule, read_model(content)) is None


@_RELAXED
@given(model=graphs())
def test_rules_create_only_operators_that_the_compiler_can_read_and_map(model: Model) -> None:
    fixed = _all_rules(model)
    for verdict in judge_operators(fixed):
        assert verdict.alone != "cpu" or verdict.opcode in ("DEQUANTIZE",), verdict


@_RELAXED
@given(model=graphs())
def test_the_model_given_is_not_changed(model: Model) -> None:
    before = write_model(model)
    _all_rules(model)
    assert write_model(model) == before
