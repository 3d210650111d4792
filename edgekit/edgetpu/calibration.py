# SPDX-License-Identifier: Apache-2.0
"""The fitted numbers of the latency model, and their errors on rows left out of the fit.

scripts/calibrate_estimate.py writes calibration.json; docs/estimate-accuracy.md shows the numbers.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

from edgekit.errors import UsageError

CALIBRATION_FILE = Path(__file__).with_name("calibration.json")
FITTED = ("usb3", "usb2", "pcie", "dev-board")  # by latencies that Google and others published
FEW_ROWS = ("dev-board-mini",)  # by a few of its owners
NOT_PUBLISHED = ("dev-board-micro",)  # only a bound is known
DEVICES = (*FITTED, *FEW_ROWS, *NOT_PUBLISHED)


@dataclass(frozen=True)
class Accuracy:
    """How estimates of one kind compare with latencies of networks left out of the fit."""

    device: str  # the device of these rows
    rows: int
    median_error: float  # of |estimate / published - 1|
    coverage: float  # share of left-out rows inside the interval computed from the others
    strict_coverage: float  # the same, if the interval excludes all rows of that network
    log_error: float  # half the width of the interval, in natural logarithms


@dataclass(frozen=True)
class Calibration:
    """The latency model of one device and its host."""

    device: str
    host: str
    overhead_ms: float  # fixed cost of one run
    ms_per_mcycle: float  # a million cycles of the busiest tile
    ms_per_mb: float  # a million bytes over the bus
    ms_per_output_mb: float  # the host's time for a million bytes of outputs
    cpu_ns_per_element: float
    cpu_ns_per_mac: float
    mapped: Accuracy  # networks without CPU operators
    with_cpu: Accuracy
    max_cpu_share: float  # the largest share outside the chip and its bus among these rows
    max_mcycles: float  # the largest computation of a network among these rows
    max_bus_mb: float  # the largest transfer of one
    custom_opcodes: Sequence[str]  # custom operators whose CPU time is among these rows
    note: str = ""

    @property
    def is_bound(self) -> bool:
        """Whether the numbers are the least possible ones, not those of measurements."""
        return self.device in NOT_PUBLISHED


# Coral Dev Board Micro: one latency is published, not enough for a model. These are limits:
# 500 MHz (coralmicro's PerformanceMode::kMax), the 480 Mbit/s of USB 2.0, nothing for the host.
_NONE = Accuracy("dev-board-micro", 0, 0.0, 0.0, 0.0, 0.0)
_MICRO = Calibration(
    device="dev-board-micro",
    host="Coral Dev Board Micro",
    overhead_ms=0.0,
    ms_per_mcycle=2.0,
    ms_per_mb=16.667,
    ms_per_output_mb=0.0,
    cpu_ns_per_element=0.0,
    cpu_ns_per_mac=0.0,
    mapped=_NONE,
    with_cpu=_NONE,
    max_cpu_share=0.0,
    max_mcycles=math.inf,
    max_bus_mb=math.inf,
    custom_opcodes=(),
    note="the least time that USB 2.0 (480 Mbit/s) and the chip at 500 MHz allow; the host's part "
    "is not in it, and coralmicro's default clock is 250 MHz",
)


@functools.lru_cache(maxsize=None)
def _document() -> Mapping[str, Mapping[str, object]]:
    document: Mapping[str, Mapping[str, object]] = json.loads(CALIBRATION_FILE.read_text("utf-8"))
    return document


def read_calibration(device: str) -> Calibration:
    """Return the calibration of a device, one of `DEVICES`.

    Raises:
        UsageError: There is no calibration for that device.
    """
    if device not in DEVICES:
        raise UsageError(
            f"there is no latency model for the device {device!r}",
            why=f"calibrated devices are {', '.join(DEVICES)}",
            fix=f"choose one of them: --device {DEVICES[0]}",
        )
    if device in NOT_PUBLISHED:
        return _MICRO
    fields = dict(_document()[device])
    accuracies = {name: Accuracy(**fields.pop(name)) for name in ("mapped", "with_cpu")}  # type: ignore[arg-type]  # JSON that the script wrote
    return Calibration(**fields, **accuracies)  # type: ignore[arg-type]  # as above


def error_quantile(log_errors: Sequence[float], coverage: float) -> float:
    """Return the error that a share ``coverage`` of new cases does not exceed.

    This is the quantile of split conformal prediction: the ``ceil((n + 1) * coverage)``-th of n
    errors, or the largest.
    """
    ordered = sorted(abs(each) for each in log_errors)
    rank = min(len(ordered), math.ceil((len(ordered) + 1) * coverage))
    return ordered[rank - 1]
