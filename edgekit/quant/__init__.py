# SPDX-License-Identifier: Apache-2.0
"""Affine quantization: scale, zero point, rounding."""

from __future__ import annotations

from edgekit.quant.affine import dequantize, quantize
from edgekit.quant.params import QuantParams

__all__ = ["QuantParams", "dequantize", "quantize"]
