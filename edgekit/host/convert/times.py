# SPDX-License-Identifier: Apache-2.0
"""The estimated latency of an int8 model on a USB Accelerator, by what of it maps."""

from __future__ import annotations

from collections.abc import Collection

from edgekit.edgetpu.calibration import read_calibration
from edgekit.edgetpu.demand import demand_of_plain
from edgekit.edgetpu.latency import latency_parts
from edgekit.edgetpu.limits import TPU
from edgekit.edgetpu.support import judge_operators
from edgekit.formats.tflite import Model

_DEVICE = "usb3"
_SLOWER, _LEAST_MS = 1.02, 0.05  # smaller differences are rounding of the estimate


def estimated_ms(model: Model, mapped: Collection[int]) -> float:
    """Return the estimated latency, on a USB Accelerator, if the operators ``mapped`` map."""
    demand, _ = demand_of_plain(model, frozenset(mapped))
    return sum(latency_parts(demand, read_calibration(_DEVICE)).values())


def certain_ms(model: Model) -> float:
    """Return the estimated latency if only those operators map of which that is known."""
    return estimated_ms(
        model, [each.index for each in judge_operators(model) if each.verdict == TPU]
    )


def is_slower(before_ms: float, after_ms: float) -> bool:
    """Whether an estimate rose by more than its own rounding."""
    return after_ms > max(_SLOWER * before_ms, before_ms + _LEAST_MS)
