# SPDX-License-Identifier: Apache-2.0
"""edgekit's quantizer: a float .tflite and ranges become an int8 .tflite, without TensorFlow.

`calibrate` runs a float network on samples and stores the range of each tensor in it; `quantize`
makes the integer network of a network with ranges, as often as wanted:

    calibrated = calibrate(network, batches)
    for ranges in candidates:  # tensor index -> (lowest, highest value)
        made = quantize(with_ranges(calibrated, ranges), io="uint8")

Operators, scales, zero points and constants are those of TensorFlow's quantizer.
`unknown_operators` returns the operators that only TensorFlow's can quantize.
"""

from __future__ import annotations

from edgekit.host.convert.quantizer.calibrate import calibrate
from edgekit.host.convert.quantizer.quantize import quantize
from edgekit.host.convert.quantizer.rules import refuse_unknown, unknown_operators

__all__ = ["calibrate", "quantize", "refuse_unknown", "unknown_operators"]
