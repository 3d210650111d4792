# SPDX-License-Identifier: Apache-2.0
"""Causes that are derived from the model."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.evaluate.causes import Making, find_causes
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor
from edgekit.runtime import TensorInfo
from edgekit.runtime.agreement import InputRanges, OutputSums


@pytest.mark.parametrize(
    ("activation", "code"), [("NONE", "cause.unequal_channels"), ("RELU6", "cause.unknown")]
)
def test_channels_limited_to_6_are_not_of_unequal_size(activation: str, code: str) -> None:
    """The advice for such layers is ReLU6."""
    scales = (*[0.01] * 7, 1.0)
    weights = Quantization(scales, (0,) * 8, quantized_dimension=0)
    one = Quantization((0.1,), (0,))
    tensors = (
        Tensor("x", (1, 4, 4, 8), "INT8", 0, one),
        Tensor("w", (8, 1, 1, 8), "INT8", 1, weights),
        Tensor("b", (8,), "INT32", 2),
        Tensor("y", (1, 4, 4, 8), "INT8", 0, one),
    )
    convolution = Operator(
        "CONV_2D", 1, (0, 1, 2), (3,), {"fused_activation_function": activation}, "Conv2DOptions"
    )
    buffers = (np.empty(0, np.uint8), np.ones(64, np.uint8), np.zeros(32, np.uint8))
    model = Model((Subgraph(tensors, (0,), (3,), (convolution,)),), buffers)
    assert [cause.code for cause in find_causes(Making(model, ""), [], [])] == [code]


def test_samples_far_outside_the_range_of_an_input_are_the_cause() -> None:
    """Calibration saw pictures ten times darker than these."""
    dark = InputRanges(TensorInfo("image", (1, 2, 2, 1), "int8", 0.1 / 255, -128, 0))
    dark.add(np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2, 1))
    model = Model((Subgraph((), (), (), ()),), (np.empty(0, np.uint8),))
    (cause,) = find_causes(Making(model, ""), [], [dark])
    assert cause.code == "cause.saturation"
    assert "can store 0 to 0.1" in cause.text


def _empty() -> Making:
    return Making(Model((Subgraph((), (), (), ()),), (np.empty(0, np.uint8),)), "")


def test_an_input_far_from_0_leaves_few_steps() -> None:
    """Kelvin: half a degree about 300 is one step of an int8 range that holds 0."""
    kelvin = InputRanges(TensorInfo("t", (1, 8, 1), "int8", 301 / 255, -128, 0))
    kelvin.add(np.linspace(299, 301, 32, dtype=np.float32).reshape(4, 8, 1))
    (cause,) = find_causes(_empty(), [], [kelvin])
    assert cause.code == "cause.offset_input"
    assert "all samples are within 2 of them" in cause.text
    assert "subtract about 300 " in cause.fix


def test_samples_that_use_a_small_part_of_the_range_of_an_input_are_the_cause() -> None:
    """Calibrated with values of 0..8; these are between 0 and 1, which is 32 steps."""
    dim = InputRanges(TensorInfo("image", (1, 2, 2, 1), "int8", 8 / 255, -128, 0))
    dim.add(np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2, 1))
    (cause,) = find_causes(_empty(), [], [dim])
    assert cause.code == "cause.wide_input"
    assert "can store 0 to 8" in cause.text
    dim.add(np.full((1, 2, 2, 1), 7.0, np.float32))
    assert [each.code for each in find_causes(_empty(), [], [dim])] == ["cause.unknown"]


def test_an_input_that_is_joined_with_wide_values_shares_their_scale() -> None:
    one = Quantization((8 / 255,), (-128,))
    tensors = tuple(Tensor(name, (1, 2, 2, 1), "INT8", 0, one) for name in ("x", "y", "joined"))
    info = TensorInfo("x", (1, 2, 2, 1), "int8", 8 / 255, -128, 0)
    image = InputRanges(info)
    image.add(np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2, 1))
    for inputs, code in (((0, 1), "cause.joined_input"), ((1, 1), "cause.wide_input")):
        join = Operator("CONCATENATION", 2, inputs, (2,))
        graph = Subgraph(tensors, (0,), (2,), (join,))
        making = Making(Model((graph,), (np.empty(0, np.uint8),)), "")
        assert [cause.code for cause in find_causes(making, [], [image])] == [code]


@pytest.mark.parametrize(
    ("largest", "code"), [(127, "cause.weight_outliers"), (20, "cause.unknown")]
)
def test_few_weights_far_larger_than_the_others_are_the_cause(largest: int, code: str) -> None:
    codes = np.random.default_rng(1).integers(-5, 6, (8, 64)).astype(np.int8)
    codes[:, 0] = largest  # every row has one, so that no row is weaker than the others
    if largest < 127:
        codes *= 6
    one = Quantization((0.1,), (0,))
    tensors = (
        Tensor("x", (1, 64), "INT8", 0, one),
        Tensor("w", (8, 64), "INT8", 1, one),
        Tensor("y", (1, 8), "INT8", 0, one),
    )
    dense = Operator("FULLY_CONNECTED", 1, (0, 1), (2,))
    buffers = (np.empty(0, np.uint8), codes.view(np.uint8).reshape(-1))
    model = Model((Subgraph(tensors, (0,), (2,), (dense,)),), buffers)
    assert [cause.code for cause in find_causes(Making(model, ""), [], [])] == [code]


def test_an_output_far_from_0_is_not_constant() -> None:
    """2000 to 2010 in steps of 8: the answers differ, though by little of their size."""
    expected = np.linspace(2000, 2010, 40)[:, None]
    sums = OutputSums(TensorInfo("year", (1, 1), "int8", 7.9, -128, 0))
    sums.add(expected, np.round(expected / 7.9) * 7.9)
    (cause,) = find_causes(_empty(), [sums.record()], [])
    assert cause.code == "cause.offset_output"
    assert "its steps are 7.9" in cause.text
    assert "subtract about 2005 from the targets" in cause.fix


def test_targets_of_two_sizes_in_one_output_are_the_cause() -> None:
    expected = np.random.default_rng(0).uniform(0, 1, (40, 2)) * (1000, 1)
    sums = OutputSums(TensorInfo("y", (1, 2), "uint8", 4.0, 0, 0))
    sums.add(expected, np.round(expected / 4) * 4)
    (cause,) = find_causes(_empty(), [sums.record()], [])
    assert cause.code == "cause.mixed_output"
    assert "(channels 1) beside numbers up to" in cause.text


def test_large_weights_on_small_channels_show_unequal_channels() -> None:
    """The preceding layer is one whose weights have one scale, or a depthwise layer."""
    one = Quantization((0.1,), (0,))
    codes = np.ones((8, 1, 1, 8), np.int8)
    codes[..., 5] = 100
    tensors = (
        Tensor("x", (1, 4, 4, 8), "INT8", 0, one),
        Tensor("w", (8, 1, 1, 8), "INT8", 1, Quantization((0.01,) * 8, (0,) * 8)),
        Tensor("b", (8,), "INT32", 2),
        Tensor("y", (1, 4, 4, 8), "INT8", 0, one),
    )
    options = {"fused_activation_function": "NONE"}
    convolution = Operator("CONV_2D", 1, (0, 1, 2), (3,), options, "Conv2DOptions")
    buffers = (np.empty(0, np.uint8), codes.reshape(-1).view(np.uint8), np.zeros(32, np.uint8))
    model = Model((Subgraph(tensors, (0,), (3,), (convolution,)),), buffers)
    (cause,) = find_causes(Making(model, ""), [], [])
    assert cause.code == "cause.unequal_channels"
    assert "the largest is 100 times the median" in cause.text


def test_an_input_whose_range_single_samples_widened_is_the_cause() -> None:
    wide = InputRanges(TensorInfo("x", (1, 8, 1), "uint8", 40 / 255, 0, 0))
    wide.add(np.random.default_rng(0).random((20, 8, 1)).astype(np.float32))
    (cause,) = find_causes(_empty(), [], [wide])
    assert cause.code == "cause.wide_input"
    assert "can store 0 to 40" in cause.text


def test_numbers_far_below_zero_may_be_logits() -> None:
    expected = np.random.default_rng(0).uniform(-900, 5, (20, 30))
    expected[:, :10] = np.abs(expected[:, :10]) / 200  # many are positive: a mask, not objects
    sums = OutputSums(TensorInfo("mask", (1, 30), "int8", 3.5, 0, 0))
    sums.add(expected, np.round(expected / 3.5) * 3.5)
    causes = find_causes(_empty(), [sums.record()], [])
    assert causes[0].code == "cause.wide_logits"
    assert "if they are logits" in causes[0].text
