# SPDX-License-Identifier: Apache-2.0
"""TRANSPOSE_CONV as a convolution whose channels are spread over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Quantization
from edgekit.rewrite import apply_rule
from edgekit.rewrite.transpose_conv import RULE
from tests.rewrite.conftest import Graph, opcodes, rewritten


def _transposed(
    taps: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    *,
    bias: bool = True,
) -> Model:
    graph = Graph((1, 4, 5, 8))
    scales = graph.random.uniform(0.002, 0.02, 4).astype(np.float32)
    weights = graph.random.integers(-127, 128, (4, *taps, 8)).astype(np.int8)
    size = [
        each * by + (max(length - by, 0) if padding == "VALID" else 0)
        for each, by, length in zip((4, 5), strides, taps)
    ]
    inputs = [
        graph.constant(np.array((1, *size, 4), np.int32)),
        graph.constant(weights, Quantization(tuple(scales.tolist()), (0,) * 4)),
        graph.x,
    ]
    if bias:
        products = tuple(float(np.float32(0.05) * each) for each in scales)
        inputs.append(
            graph.constant(np.arange(4, dtype=np.int32) * 99, Quantization(products, (0,) * 4))
        )
    options = {
        "padding": padding,
        "stride_h": strides[0],
        "stride_w": strides[1],
        "fused_activation_function": "NONE",
    }
    out = graph.tensor((1, *size, 4), 0.2, -9)
    version = 3 if bias else 2
    graph.apply("TRANSPOSE_CONV", inputs, out, options, "TransposeConvOptions", version)
    return graph.model()


def _convolved(model: Model) -> list[str]:
    return opcodes(rewritten(model, RULE))


@pytest.mark.parametrize("taps", [(2, 2), (3, 3), (4, 4), (5, 3), (1, 1)])
@pytest.mark.parametrize("strides", [(2, 2), (3, 2), (1, 2), (1, 1)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_outputs_are_equal(taps: tuple[int, int], strides: tuple[int, int], padding: str) -> None:
    assert "CONV_2D" in _convolved(_transposed(taps, strides, padding))


def test_a_kernel_as_large_as_its_stride_needs_no_padding() -> None:
    assert _convolved(_transposed((2, 2), (2, 2), "VALID")) == [
        "CONV_2D", "SPLIT", "RESHAPE", "RESHAPE", "CONCATENATION", "RESHAPE",
    ]  # fmt: skip


def test_an_output_that_does_not_end_with_a_block_is_cut() -> None:
    """PyTorch's padding and output_padding make such sizes."""
    assert _convolved(_transposed((3, 3), (2, 2), "VALID"))[-1] == "SLICE"


def test_a_convolution_without_a_bias() -> None:
    assert "CONV_2D" in _convolved(_transposed((3, 3), (2, 2), "SAME", bias=False))


def test_a_large_image_stays() -> None:
    graph = Graph((1, 90, 90, 4))
    weights = graph.random.integers(-127, 128, (4, 2, 2, 4)).astype(np.int8)
    inputs = [
        graph.constant(np.array((1, 180, 180, 4), np.int32)),
        graph.constant(weights, Quantization((0.01,), (0,))),
        graph.x,
    ]
    options = {"padding": "VALID", "stride_h": 2, "stride_w": 2}
    graph.apply("TRANSPOSE_CONV", inputs, graph.tensor((1, 180, 180, 4), 0.2), options)
    assert apply_rule(RULE, graph.model()) is None
