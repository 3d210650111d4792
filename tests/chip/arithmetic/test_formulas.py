# SPDX-License-Identifier: Apache-2.0
"""The formulas against definitions in whole numbers, and against float64 functions."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.chip.arithmetic.formulas.convolutions import conv_sums, dense_sums, transpose_conv
from edgekit.chip.arithmetic.formulas.products import Matrix
from edgekit.chip.arithmetic.tables import EXP, HARD_SWISH, LOGISTIC, RSQRT, TANH
from edgekit.chip.arithmetic.twin import COVERED, run_twin
from edgekit.edgetpu.rules import OP_RULES
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor

_EMPTY = np.empty(0, np.uint8)


def _tensor(shape: tuple[int, ...], dtype: str, buffer: int, scale: float, zero: int) -> Tensor:
    return Tensor(f"t{buffer}", shape, dtype, buffer, Quantization((scale,), (zero,)))


def _model(
    opcode: str, tensors: list[Tensor], constants: list[Any], options: dict[str, Any]
) -> Model:
    """One operator: the first tensor is its input, the last one its output."""
    buffers = (_EMPTY, *(np.frombuffer(each.tobytes(), np.uint8) for each in constants))
    last = len(tensors) - 1
    inputs = tuple(range(last))
    operator = Operator(opcode, 1, inputs, (last,), options)
    return Model((Subgraph(tuple(tensors), (0,), (last,), (operator,)),), buffers)


@given(st.integers(0, 1 << 32), st.integers(1, 700), st.sampled_from([1, 100, 255]))
def test_products_of_a_matrix_are_exact(seed: int, length: int, largest: int) -> None:
    """Weights of 255 make the sums of 700 rows reach 2^25, so several parts are necessary."""
    random = np.random.default_rng(seed)
    weights = random.integers(-largest, largest + 1, (length, 3))
    weights[:, 0] = 255
    values = random.integers(0, 256, (5, length))
    values[0] = 255
    bias = random.integers(-(1 << 30), 1 << 30, 3)
    made = Matrix(weights.astype(np.float32), bias, 255).sums(values.astype(np.float32))
    assert np.array_equal(made, values @ weights + bias)


def _windows_of(
    length: int, size: int, stride: int, dilation: int, padding: str
) -> list[list[int]]:
    """The places of each window along one axis, also those outside of the image."""
    reach = (size - 1) * dilation + 1
    if padding == "SAME":
        number = -(-length // stride)
        before = max((number - 1) * stride + reach - length, 0) // 2
    else:
        number, before = (length - reach) // stride + 1, 0
    return [[k * stride - before + j * dilation for j in range(size)] for k in range(number)]


@given(
    st.integers(0, 1 << 32),
    st.sampled_from([(1, 1, 1), (3, 1, 1), (2, 2, 1), (3, 1, 2), (5, 3, 1)]),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from(["dense", "groups", "depthwise"]),
)
def test_a_convolution_sums_the_pixels_of_its_windows(
    seed: int, form: tuple[int, int, int], padding: str, kind: str
) -> None:
    random, (size, stride, dilation) = np.random.default_rng(seed), form
    height, width = random.integers(6, 12, 2).tolist()
    channels, filters = 4, 8
    zero, weight_zero = random.integers(0, 256, 2).tolist()
    per_filter = {"dense": 4, "groups": 2, "depthwise": 1}[kind]
    weights = random.integers(0, 256, (filters, size, size, per_filter)).astype(np.uint8)
    bias = random.integers(-5000, 5000, filters).astype(np.int32)
    rows = _windows_of(height, size, stride, dilation, padding)
    columns = _windows_of(width, size, stride, dilation, padding)
    stored = weights.transpose(3, 1, 2, 0) if kind == "depthwise" else weights
    model = _model(
        "DEPTHWISE_CONV_2D" if kind == "depthwise" else "CONV_2D",
        [
            _tensor((1, height, width, channels), "UINT8", 0, 1.0, zero),
            _tensor(stored.shape, "UINT8", 1, 1.0, weight_zero),
            _tensor((filters,), "INT32", 2, 1.0, 0),
            _tensor((1, len(rows), len(columns), filters), "UINT8", 0, 1.0, 0),
        ],
        [np.ascontiguousarray(stored), bias],
        {"padding": padding, "stride_h": stride, "stride_w": stride,
         "dilation_h_factor": dilation, "dilation_w_factor": dilation},
    )  # fmt: skip
    image = random.integers(0, 256, (1, height, width, channels)).astype(np.uint8)
    made = conv_sums(model, model.main.operators[0], {0: image})
    pixels = image[0].astype(int) - zero
    for y, x, filter_ in [(0, 0, 0), (len(rows) - 1, len(columns) - 1, 7), (-1, 0, 5)]:
        first = filter_ * channels // filters // per_filter * per_filter
        total = int(bias[filter_])
        for j, top in enumerate(rows[y]):
            for i, left in enumerate(columns[x]):
                if 0 <= top < height and 0 <= left < width:
                    for k in range(per_filter):
                        weight = int(weights[filter_, j, i, k]) - weight_zero
                        total += int(pixels[top, left, first + k]) * weight
        assert made[0, y, x, filter_] == total


@given(st.integers(0, 1 << 32), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_a_transposed_convolution_adds_a_window_for_each_pixel(
    seed: int, size: int, stride: int, is_same: bool
) -> None:
    random = np.random.default_rng(seed)
    height, width, channels, filters = 3, 4, 2, 3
    out = [n * stride if is_same else (n - 1) * stride + size for n in (height, width)]
    before = [max((n - 1) * stride + size - m, 0) // 2 if is_same else 0
              for n, m in zip((height, width), out)]  # fmt: skip
    weights = random.integers(-127, 128, (filters, size, size, channels)).astype(np.int8)
    image = random.integers(0, 256, (1, height, width, channels)).astype(np.uint8)
    zero = int(random.integers(0, 256))
    model = _model(
        "TRANSPOSE_CONV",
        [
            _tensor((4,), "INT32", 1, 1.0, 0),
            _tensor(weights.shape, "INT8", 2, 1.0, 0),
            _tensor(image.shape, "UINT8", 0, 0.5, zero),
            _tensor((1, *out, filters), "UINT8", 0, 1000.0, 128),
        ],
        [np.array([1, *out, filters], np.int32), weights],
        {"padding": "SAME" if is_same else "VALID", "stride_h": stride, "stride_w": stride},
    )
    total = np.zeros((*out, filters))
    for y, x in np.ndindex(height, width):
        for j, i in np.ndindex(size, size):
            top, left = y * stride + j - before[0], x * stride + i - before[1]
            if 0 <= top < out[0] and 0 <= left < out[1]:
                total[top, left] += (image[0, y, x].astype(int) - zero) @ weights[:, j, i].T
    made = transpose_conv(model, model.main.operators[0], {2: image})
    assert made is not None
    multiplier = np.float32(0.5) * (np.float32(1) / np.float32(1000))
    assert np.array_equal(made[0], np.rint(total.astype(np.float32) * multiplier) + 128)


def test_dense_sums_above_two_to_the_24_are_exact() -> None:
    length = 5000
    weights, image = np.full((2, length), 127, np.int8), np.full((1, length), 255, np.uint8)
    image[0, 0], weights[1, 1] = 254, 126
    model = _model(
        "FULLY_CONNECTED",
        [
            _tensor((1, length), "UINT8", 0, 1.0, 0),
            _tensor((2, length), "INT8", 1, 1.0, 0),
            _tensor((1, 2), "UINT8", 0, 1.0, 0),
        ],
        [weights],
        {},
    )
    made = dense_sums(model, model.main.operators[0], {0: image})
    assert made.tolist() == [[127 * (255 * length - 1), 127 * (255 * length - 1) - 255]]


_CURVES: list[tuple[str, Callable[[Any], Any], float, float]] = [
    # Largest error of the spline in units of the function's own value of 1.
    ("LOGISTIC", lambda x: 1 / (1 + np.exp(-x)), 10.39, 4e-5),
    ("TANH", np.tanh, 6.87, 4e-5),
    ("EXP", np.exp, 13.0, 2e-5),
    ("HARD_SWISH", lambda x: x * np.clip(x + 3, 0, 6) / 6, 20.0, 2e-6),
]


@pytest.mark.parametrize(("name", "curve", "reach", "error"), _CURVES)
def test_a_table_is_its_function(
    name: str, curve: Callable[[Any], Any], reach: float, error: float
) -> None:
    table = {"LOGISTIC": LOGISTIC, "TANH": TANH, "EXP": EXP, "HARD_SWISH": HARD_SWISH}[name]
    real = np.linspace(-reach, 0 if name == "EXP" else reach, 20_001, dtype=np.float32)
    made = table.odd(real) if name == "TANH" else table(real)
    assert np.abs(made - curve(real.astype(np.float64))).max() < error


def test_the_table_of_reciprocal_roots_holds_for_every_magnitude() -> None:
    real = np.float32(2.0) ** np.linspace(-40, 40, 10_001).astype(np.float32)
    exact = 1 / np.sqrt(real.astype(np.float64))
    assert np.abs(RSQRT.reduced(real) / exact - 1).max() < 3e-5


@given(st.integers(0, 1 << 32), st.integers(2, 400), st.floats(0.001, 3.0))
def test_a_softmax_is_that_of_float64_but_for_one_step(
    seed: int, number: int, scale: float
) -> None:
    random = np.random.default_rng(seed)
    given_ = random.integers(0, int(random.choice([3, 20, 256])), (3, number)).astype(np.uint8)
    tensors = [
        _tensor((3, number), "UINT8", 0, scale, 7),
        _tensor((3, number), "UINT8", 0, 1 / 256, 0),
    ]
    model = _model("SOFTMAX", tensors, [], {"beta": 1.0})
    ((_, _, made),) = run_twin(model, {0: given_})
    real = np.exp((given_.astype(np.float64) - given_.max(1, keepdims=True)) * np.float32(scale))
    expected = np.minimum(real / real.sum(1, keepdims=True) * 256, 255)
    assert np.abs(made - expected).max() < 0.51


def test_inputs_may_be_any_tensors_given_by_index_in_both_types() -> None:
    """Two tensors of the same name: an index tells them apart."""
    quantization = Quantization((0.5,), (-3,))
    signed = Tensor("x", (4,), "INT8", 0, quantization)
    unsigned = Tensor("x", (4,), "UINT8", 0, Quantization((0.5,), (125,)))
    add = Operator("ADD", 1, (0, 1), (2,), {"fused_activation_function": "NONE"})
    graph = Subgraph((signed, unsigned, signed), (0, 1), (2,), (add,))
    feeds = {0: np.array([-128, -3, 0, 127], np.int8), 1: np.array([125, 125, 0, 255], np.uint8)}
    ((number, index, made),) = run_twin(Model((graph,), (_EMPTY,)), feeds)
    assert (number, index) == (0, 2)
    assert made.tolist() == [0, 125, 3, 255]


def test_every_operator_that_maps_has_a_formula() -> None:
    """`edgekit check` must not report that an operator maps if edgekit cannot compute it."""
    assert set(OP_RULES) <= COVERED


def test_an_operator_without_a_formula_and_all_behind_it_are_left_out() -> None:
    tensor = Tensor("x", (4,), "INT8", 0, Quantization((0.5,), (-3,)))
    graph = Subgraph(
        (tensor,) * 5,
        (0,),
        (2, 4),
        (
            Operator("COS", 1, (0,), (1,)),
            Operator("RELU", 1, (1,), (2,)),
            Operator("ADD", 1, (0, 0), (3,), {"fused_activation_function": "TANH"}),
            Operator("RELU", 1, (0,), (4,)),
        ),
    )
    made = run_twin(Model((graph,), (_EMPTY,)), {"x": np.zeros(4, np.int8)})
    assert [index for _, index, _ in made] == [4]
