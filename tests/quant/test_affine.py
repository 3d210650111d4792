# SPDX-License-Identifier: Apache-2.0
"""Rounding, saturation and dequantization, compared with exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgekit.errors import QuantizationError
from edgekit.quant import QuantParams, dequantize, quantize

_DTYPES = ("uint8", "int8", "int16")
_SCALES = st.floats(2.0**-20, 2.0**10, width=32)


@st.composite
def _params(draw: Any) -> QuantParams:  # noqa: ANN401 - hypothesis' draw
    dtype = draw(st.sampled_from(_DTYPES))
    info = np.iinfo(dtype)
    return QuantParams(draw(_SCALES), draw(st.integers(int(info.min), int(info.max))), dtype)


def _exact(real: np.float32, params: QuantParams) -> int:
    """The definition in rational numbers, except the quotient, which is float32 by definition."""
    quotient = Fraction(float(real / np.float32(params.scale)))
    size = math.floor(abs(quotient) + Fraction(1, 2))
    q = (size if quotient >= 0 else -size) + params.zero_point
    return min(max(q, params.q_min), params.q_max)


@given(params=_params(), real=st.floats(-1e6, 1e6, width=32))
@example(params=QuantParams(1.0, 0, "int8"), real=float(np.nextafter(np.float32(0.5), 0)))
@example(params=QuantParams(1.0, 0, "int8"), real=-0.5)
@example(params=QuantParams(1.0, 0, "int16"), real=32766.5)
def test_every_value_is_rounded_as_defined(params: QuantParams, real: float) -> None:
    value = np.float32(real)
    assert quantize(np.array([value]), params)[0] == _exact(value, params)


@given(scale=_SCALES, zero_point=st.integers(0, 255))
def test_all_256_codes_are_restored(scale: float, zero_point: int) -> None:
    for dtype, shift in (("uint8", 0), ("int8", -128)):
        params = QuantParams(scale, zero_point + shift, dtype)
        codes = np.arange(256) + shift
        q = codes.astype(dtype)
        np.testing.assert_array_equal(quantize(dequantize(q, params), params), q)


def test_ties_round_away_from_zero() -> None:
    params = QuantParams(2.0, 10, "int8")
    real = np.array([-5, -3, -1, 1, 3, 5], np.float32)  # quotients -2.5, -1.5, ... 2.5
    assert (quantize(real, params).astype(int) - 10).tolist() == [-3, -2, -1, 1, 2, 3]


def test_values_outside_the_range_saturate() -> None:
    params = QuantParams(0.5, 128, "uint8")
    real = np.array([-np.inf, -1e300, -64.3, 63.8, 1e300, np.inf])
    assert quantize(real, params).tolist() == [0, 0, 0, 255, 255, 255]
    tiny = QuantParams(2.0**-20, 0, "int8")
    assert quantize(np.array([3e38], np.float32), tiny).tolist() == [127]


@pytest.mark.parametrize("dtype", _DTYPES)
def test_the_range_in_real_values_is_that_of_the_first_and_last_code(dtype: str) -> None:
    params = QuantParams(0.25, 3, dtype)
    ends = dequantize(np.array([params.q_min, params.q_max], dtype), params)
    assert ends.tolist() == [params.real_min, params.real_max]


def test_nan_is_refused_and_counted() -> None:
    real = np.array([1.0, np.nan, np.nan], np.float32)
    with pytest.raises(QuantizationError, match="2 of 3 values are NaN"):
        quantize(real, QuantParams(1.0, 0, "int8"))


def test_float64_and_empty_arrays_are_accepted() -> None:
    params = QuantParams(0.1, 0, "int8")
    assert quantize(np.array([0.25, -0.25]), params).tolist() == [3, -3]
    assert quantize(np.empty((0, 3), np.float32), params).shape == (0, 3)


@pytest.mark.parametrize(
    ("scale", "zero_point", "dtype"),
    [(0.0, 0, "int8"), (math.nan, 0, "int8"), (1.0, 256, "uint8"), (1.0, 0, "float32")],
)
def test_invalid_parameters_are_refused(scale: float, zero_point: int, dtype: str) -> None:
    with pytest.raises(QuantizationError):
        QuantParams(scale, zero_point, dtype)


def test_quantizing_to_int32_is_refused() -> None:
    with pytest.raises(QuantizationError, match="8 or 16 bits"):
        quantize(np.zeros(1, np.float32), QuantParams(1.0, 0, "int32"))
