# SPDX-License-Identifier: Apache-2.0
"""Convert real values to integers and back, with the float operations of TFLite kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.errors import QuantizationError
from edgekit.quant.params import QuantParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The float32 just below one half. Adding 0.5 itself would round 0.49999997 up to 1 (the sum is a
# tie between two float32); adding this is exact enough for every float32 below 2**23, and larger
# values saturate in 8 and 16 bits.
_BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))
_WIDEST_BYTES = 2


def quantize(real: NDArray[Any], params: QuantParams) -> NDArray[Any]:
    """Map real values to integers: ``q = clip(round(real / scale) + zero_point)``.

    Ties round away from zero; ``numpy.rint`` rounds them to even and differs in the last bit. The
    steps, each rounded to float32, are: ``real`` and ``scale`` to float32, the quotient (a
    division, not a product with the reciprocal), rounding, addition of the zero point, saturation.
    Infinities saturate.

    Args:
        real: Any shape, float32 or float64, in the units of the tensor.
        params: 8 or 16 bit; ``params.dtype`` is the type of the result.

    Returns:
        A new array in the shape of ``real``.

    Raises:
        QuantizationError: ``real`` contains NaN, which no integer represents, or ``params`` are
        wider than 16 bits.

    Source:
        tensorflow/lite/kernels/internal/reference/quantize.h, AffineQuantize.
    """
    if np.dtype(params.dtype).itemsize > _WIDEST_BYTES:
        raise QuantizationError(f"cannot quantize to {params.dtype}, expected 8 or 16 bits")
    values = np.asarray(real)
    # The minimum of an array with NaN is NaN; isnan().any() would iterate over it twice.
    if values.size and np.isnan(values.min()):
        raise QuantizationError(
            f"{int(np.isnan(values).sum())} of {values.size} values are NaN",
            why="an integer cannot represent it",
        )
    with np.errstate(over="ignore"):  # overflowing values saturate
        steps = np.divide(values, np.float32(params.scale), dtype=np.float32, casting="same_kind")
    steps = np.asarray(steps)  # a scalar stays a scalar, which cannot be written to
    steps += np.copysign(_BELOW_HALF, steps)
    np.trunc(steps, out=steps)
    steps += np.float32(params.zero_point)
    np.clip(steps, params.q_min, params.q_max, out=steps)
    q: NDArray[Any] = steps.astype(params.dtype)
    return q


def dequantize(q: NDArray[Any], params: QuantParams) -> NDArray[np.float32]:
    """Map integers to real values: ``real = scale * (q - zero_point)``.

    The difference is exact (int32); the product is rounded once, to float32.

    Args:
        q: Any shape, values in the range of ``params.dtype``.
        params: The parameters with which ``q`` was quantized.

    Returns:
        A new float32 array in the shape of ``q``.
    """
    difference = np.subtract(q, params.zero_point, dtype=np.int32)
    real: NDArray[np.float32] = np.multiply(
        difference, np.float32(params.scale), dtype=np.float32, casting="same_kind"
    )
    return real
