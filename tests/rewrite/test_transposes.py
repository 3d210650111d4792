# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSEs that move down: for each operator that they pass, equal outputs and fewer of them."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.formats.tflite import Model, Operator, read_model, write_model
from edgekit.rewrite import apply_rule
from edgekit.rewrite.transposes import RULE
from tests.rewrite.conftest import Graph, opcodes, random_inputs, run

_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def _moved(model: Model) -> Model:
    """Apply the rule; the outputs stay equal, and the result does not change again."""
    changed = apply_rule(RULE, model)
    assert changed is not None
    after = read_model(write_model(changed))
    inputs = random_inputs(model, 3)
    for expected, actual in zip(run(model, inputs), run(after, inputs)):
        for left, right in zip(expected, actual):
            np.testing.assert_array_equal(left, right)
    assert apply_rule(RULE, after) is None
    return after


def _constant(graph: Graph, values: Sequence[Any]) -> int:
    return graph.constant(np.array(values, np.int32))


def _unary(graph: Graph) -> None:
    graph.activation("RELU")


def _bias(graph: Graph) -> None:
    """A constant of shape [1, C, 1, 1]: batch normalization after an activation."""
    values = graph.random.integers(-99, 99, (1, graph.shape()[1], 1, 1)).astype(np.int8)
    other = graph.constant(values, graph.tensors[graph.x].quantization)
    options = {"fused_activation_function": "NONE", "pot_scale_int16": True}
    out = graph.tensor(graph.shape(), 0.08, -4)
    graph.apply("ADD", [graph.x, other], out, options, "AddOptions")


def _slices(graph: Graph) -> None:
    """Two halves of the channels, joined in the other order (NCHW: axis 1)."""
    _, channels, height, width = graph.shape()
    start, half = graph.x, channels // 2
    parts = []
    for first in (half, 0):
        size = _constant(graph, [1, half, height, width])
        out = graph.like(start, (1, half, height, width))
        parts.append(graph.apply("SLICE", [start, _constant(graph, [0, first, 0, 0]), size], out))
    graph.concatenate(parts, axis=1)


def _strided_slice(graph: Graph) -> None:
    _, channels, height, width = graph.shape()
    bounds = [_constant(graph, each) for each in ([0, 1, 0, 0], [0, 0, 0, width], [1, 1, 2, 1])]
    out = graph.like(graph.x, (1, channels - 1, (height + 1) // 2, width))
    options = {"begin_mask": 0b1101, "end_mask": 0b0111}
    graph.apply("STRIDED_SLICE", [graph.x, *bounds], out, options, "StridedSliceOptions")


def _split(graph: Graph) -> None:
    _, channels, height, width = graph.shape()
    axis = graph.constant(np.array(1, np.int32))
    parts = tuple(graph.like(graph.x, (1, channels // 2, height, width)) for _ in range(2))
    inputs = (axis, graph.x)
    graph.operators.append(Operator("SPLIT", 2, inputs, parts, {"num_splits": 2}, "SplitOptions"))
    graph.add(*parts)


def _pad(graph: Graph) -> None:
    _, channels, height, width = graph.shape()
    paddings = _constant(graph, [[0, 0], [0, 0], [1, 2], [0, 1]])
    out = graph.like(graph.x, (1, channels, height + 3, width + 1))
    graph.apply("PAD", [graph.x, paddings], out, {}, "PadOptions")


def _mean(graph: Graph) -> None:
    _, channels, _, _ = graph.shape()
    out = graph.tensor((1, channels, 1, 1), 0.03)
    options = {"keep_dims": True}
    graph.apply("MEAN", [graph.x, _constant(graph, [2, 3])], out, options, "ReducerOptions")


def _channel_softmax(graph: Graph) -> None:
    """A softmax over channels in NCHW: TRANSPOSEs around it."""
    graph.transpose(_TO_NHWC)
    graph.apply("SOFTMAX", [graph.x], graph.tensor(graph.shape(), 1 / 256, -128), {"beta": 1.0},
                "SoftmaxOptions")  # fmt: skip
    graph.transpose(_TO_NCHW)


def _gate(graph: Graph) -> None:
    """The product with one number for each channel, which another branch reshapes to NCHW."""
    start, shape = graph.x, graph.shape()
    graph.transpose(_TO_NHWC)
    graph.apply("MEAN", [graph.x, _constant(graph, [1, 2])], graph.tensor((1, shape[1]), 0.03),
                {"keep_dims": False}, "ReducerOptions")  # fmt: skip
    gate = graph.reshape((1, shape[1], 1, 1))
    out = graph.tensor(shape, 0.02, 7)
    options = {"fused_activation_function": "NONE"}
    graph.apply("MUL", [start, gate], out, options, "MulOptions")


def _flat(graph: Graph) -> None:
    """Pixels in one axis, and back: a RESHAPE that does not mix channels and pixels."""
    shape = graph.shape()
    graph.reshape((1, shape[1], shape[2] * shape[3]))
    graph.activation("RELU")
    graph.reshape(shape)


_STEPS: dict[str, Callable[[Graph], None]] = {
    "unary": _unary,
    "bias": _bias,
    "slices": _slices,
    "strided slice": _strided_slice,
    "split": _split,
    "pad": _pad,
    "mean": _mean,
    "softmax": _channel_softmax,
    "gate": _gate,
    "flat": _flat,
}


def _graph(names: Sequence[str], seed: int = 0) -> Model:
    """NHWC, then the steps in NCHW, then NHWC."""
    graph = Graph((1, 5, 6, 8), seed=seed)
    graph.activation("RELU")
    graph.transpose(_TO_NCHW)
    for name in names:
        _STEPS[name](graph)
    graph.transpose(_TO_NHWC)
    graph.quantize(0.06)
    return graph.model()


@pytest.mark.parametrize("name", _STEPS)
def test_two_transposes_cancel_around_each_operator(name: str) -> None:
    assert "TRANSPOSE" not in opcodes(_moved(_graph([name])))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["unary", "bias", "slices", "pad", "softmax", "gate", "flat"])))
def test_two_transposes_cancel_around_any_operators(names: list[str]) -> None:
    assert "TRANSPOSE" not in opcodes(_moved(_graph(names)))


def test_two_transposes_become_one() -> None:
    graph = Graph((1, 4, 6, 3))
    graph.transpose(_TO_NCHW)
    graph.transpose(_TO_NCHW)
    graph.quantize(0.06)
    assert opcodes(_moved(graph.model())) == ["QUANTIZE", "TRANSPOSE"]


def test_a_transpose_moves_to_the_end_of_the_network() -> None:
    graph = Graph((1, 4, 6, 3))
    graph.transpose(_TO_NCHW)
    graph.activation("RELU")
    graph.logistic()
    model = graph.model()
    moved = _moved(model)
    assert opcodes(moved) == ["RELU", "LOGISTIC", "TRANSPOSE"]
    names = [each.main.tensors[each.main.outputs[0]].name for each in (model, moved)]
    assert names[0] == names[1]


def test_an_output_that_two_transposes_leave_as_it_was_keeps_its_name() -> None:
    graph = Graph((1, 4, 6, 3))
    graph.activation("RELU")
    graph.transpose(_TO_NCHW)
    graph.transpose(_TO_NHWC)
    model = graph.model()
    moved = _moved(model)
    assert opcodes(moved) == ["RELU"]
    assert moved.main.tensors[moved.main.outputs[0]].name == f"t{graph.x}"


def test_a_reshape_that_mixes_channels_and_pixels_stays_after_its_transpose() -> None:
    graph = Graph((1, 4, 6, 3))
    graph.activation("RELU")
    graph.transpose(_TO_NCHW)
    graph.reshape((1, 72))
    graph.dense(4)
    assert apply_rule(RULE, graph.model()) is None


def test_a_transpose_is_not_moved_where_more_would_be_needed() -> None:
    """Both the tensor and the result of the operator after it are outputs."""
    graph = Graph((1, 4, 6, 3))
    graph.activation("RELU")
    first = graph.transpose(_TO_NCHW)
    graph.activation("RELU")
    assert apply_rule(RULE, graph.model(first, graph.x)) is None


def test_a_constant_that_two_transposes_leave_as_it_was_stays_an_output() -> None:
    """Nothing writes a constant, so that the output cannot take its place."""
    graph = Graph((1, 4, 5, 8))
    codes = np.arange(24, dtype=np.int8).reshape(1, 2, 3, 4)
    graph.x = graph.constant(codes, graph.tensors[graph.input].quantization)
    graph.transpose(_TO_NCHW)
    output = graph.transpose(_TO_NHWC)
    graph.x = graph.input
    model = graph.model(graph.activation("RELU"), output)
    changed = apply_rule(RULE, model) or model
    for _, actual in run(changed, random_inputs(model, 1)):
        np.testing.assert_array_equal(actual, codes)
