# SPDX-License-Identifier: Apache-2.0
"""Quantize with the ranges of quantization-aware training in place of those of calibration."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.formats.tflite import write_model
from edgekit.host.convert.improve.ranges import Range, read_calibrated, with_ranges

# Their output has the scale of their input; training stores a range for one of the two only.
_COPYING = ("MAX_POOL_2D", "RESHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE", "GATHER")


def with_trained_ranges(calibrated: bytes, ranges: Mapping[str, Range]) -> bytes:
    """Return a calibrated float model with other ranges for some tensors.

    Args:
        calibrated: The model with the range of each tensor.
        ranges: Tensor name -> lowest and highest value, as training stored them.
    """
    if not ranges:
        return calibrated
    model = read_calibrated(calibrated)
    tensors = model.main.tensors
    found = {i: ranges[each.name] for i, each in enumerate(tensors) if each.name in ranges}
    copying = [op for op in model.main.operators if op.opcode in _COPYING]
    for op in copying:
        if op.inputs[0] in found:
            found.setdefault(op.outputs[0], found[op.inputs[0]])
    for op in reversed(copying):
        if op.outputs[0] in found:
            found.setdefault(op.inputs[0], found[op.outputs[0]])
    return write_model(with_ranges(model, found))
