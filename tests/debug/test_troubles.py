# SPDX-License-Identifier: Apache-2.0
"""The kinds of trouble of one tensor, on values made for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgekit.debug.ranges import Group
from edgekit.debug.sums import Errors, TensorSums
from edgekit.debug.troubles import Place, find_troubles
from edgekit.formats.tflite import Model, Operator, Quantization, Subgraph, Tensor
from edgekit.quant import QuantParams, dequantize, quantize

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHAPE = (1, 6, 6, 8)


def _params(low: float, high: float) -> QuantParams:
    scale = (high - low) / 255
    return QuantParams(scale, round(-128 - low / scale), "int8")


def _sums(values: NDArray[np.float64], params: QuantParams, weights: float = 0.0) -> TensorSums:
    """Sums over samples whose only errors are rounding, and ``weights`` as large as expected."""
    random = np.random.default_rng(1)
    sums = TensorSums(values.shape[1:], params)
    for each in values.astype(np.float32):
        rounding = dequantize(quantize(each, params), params) - each
        noise, expected = random.normal(0, weights, (2, *each.shape)).astype(np.float32)
        sums.add(each, Errors(rounding + noise, rounding, noise, expected))
    return sums


def _kinds(
    sums: TensorSums,
    *,
    model: Model | None = None,
    operator: Operator | None = None,
    neighbour: TensorSums | None = None,
) -> list[str]:
    tensors = {0: sums} if neighbour is None else {0: sums, 1: neighbour}
    assert sums.params is not None
    group = Group(tuple(tensors), sums.params, is_fixed=False, joins=neighbour is not None)
    empty = Model((Subgraph((), (), (), ()),), ())
    found = find_troubles(model or empty, Place(0, sums, operator, group), tensors)
    return [each.kind for each in found]


def _values(scale: float = 1.0) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-scale, scale, (16, *_SHAPE))


def test_a_range_that_fits_is_no_trouble() -> None:
    assert _kinds(_sums(_values(), _params(-1, 1))) == []


def test_values_outside_the_range_are_saturation() -> None:
    assert _kinds(_sums(_values(), _params(-0.5, 0.5)))[0] == "saturation"


def test_a_range_of_which_a_tenth_is_used_is_wide() -> None:
    assert _kinds(_sums(_values(), _params(-10, 10))) == ["wide_range"]


def test_one_large_channel_is_an_outlier() -> None:
    values = _values()
    values[..., 3] *= 20
    assert _kinds(_sums(values, _params(-20, 20))) == ["outlier_channels"]


def test_one_large_sample_sets_the_range() -> None:
    values = _values()
    values[5] *= 10
    assert _kinds(_sums(values, _params(-10, 10))) == ["few_samples"]


def test_a_small_part_of_a_join_has_a_mixed_range() -> None:
    params = _params(-10, 10)
    small, large = _sums(_values(), params), _sums(_values(10.0), params)
    assert _kinds(small, neighbour=large) == ["mixed_range"]


def test_a_sigmoid_that_reads_a_wide_range_has_coarse_logits() -> None:
    reader = Operator("LOGISTIC", 1, (0,), (1,))
    model = Model((Subgraph((), (), (), (reader,)),), ())
    assert _kinds(_sums(_values(300.0), _params(-300, 300)), model=model) == ["logits"]


def _dense(codes: NDArray[np.int8]) -> tuple[Model, Operator]:
    weights = Tensor("w", codes.shape, "INT8", 1, Quantization((0.01,), (0,)))
    operator = Operator("FULLY_CONNECTED", 1, (2, 1), (0,))
    tensor = Tensor("y", _SHAPE, "INT8", 0)
    buffers = (np.empty(0, np.uint8), np.frombuffer(codes.tobytes(), np.uint8))
    return Model((Subgraph((tensor, weights, tensor), (2,), (0,), (operator,)),), buffers), operator


def test_weights_of_unequal_rows_need_a_scale_each() -> None:
    codes = np.full((8, 16), 5, np.int8)
    codes[0] = 127
    model, operator = _dense(codes)
    sums = _sums(_values(), _params(-1, 1), weights=0.05)
    assert _kinds(sums, model=model, operator=operator) == ["per_tensor_weights"]
    equal, operator = _dense(np.full((8, 16), 127, np.int8))
    assert _kinds(sums, model=equal, operator=operator) == []


def test_logits_limited_to_16_are_no_trouble() -> None:
    assert _kinds(_sums(_values(60.0), _params(-16, 16))) == []
    assert _kinds(_sums(_values(60.0), _params(-30, 30)))[0] == "saturation"
