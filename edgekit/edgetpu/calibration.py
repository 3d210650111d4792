# SPDX-License-Identifier: Apache-2.0
"""The fitted numbers of the latency model, and how wrong they were on rows left out of the fit.

calibration.json is written by scripts/calibrate_estimate.py; docs/estimate-accuracy.md shows it.
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
DEVICES = ("usb3", "usb2", "pcie", "dev-board")


@dataclass(frozen=True)
class Accuracy:
    """How estimates of one kind compare with latencies of networks left out of the fit."""

    device: str  # whose rows these are
    rows: int
    median_error: float  # of |estimate / published - 1|
    coverage: float  # share of left-out rows inside the interval made from the others
    strict_coverage: float  # the same, without any row of the network in the making
    log_error: float  # half the width of the interval, in natural logarithms


@dataclass(frozen=True)
class Calibration:
    """The latency model of one device and its host."""

    device: str
    host: str
    overhead_ms: float  # of one run, however small
    ms_per_mcycle: float  # a million cycles of the busiest tile
    ms_per_mb: float  # a million bytes over the bus
    ms_per_output_mb: float  # what the host does with a million bytes of outputs
    cpu_ns_per_element: float
    cpu_ns_per_mac: float
    mapped: Accuracy  # nothing is left to the CPU
    with_cpu: Accuracy
    max_cpu_share: float  # the largest share outside the chip and its bus among these rows
    max_mcycles: float  # the most that a network among these rows computes
    max_bus_mb: float  # the most that one moves
    custom_opcodes: Sequence[str]  # whose time on the CPU is among these rows
    note: str = ""


@functools.lru_cache(maxsize=None)
def _document() -> Mapping[str, Mapping[str, object]]:
    document: Mapping[str, Mapping[str, object]] = json.loads(CALIBRATION_FILE.read_text("utf-8"))
    return document


def read_calibration(device: str) -> Calibration:
    """The calibration of a device, one of `DEVICES`.

    Raises:
        UsageError: There is none of that name.
    """
    if device not in DEVICES:
        raise UsageError(
            f"there is no latency model for the device {device!r}",
            why=f"calibrated devices are {', '.join(DEVICES)}",
            fix=f"choose one of them: --device {DEVICES[0]}",
        )
    fields = dict(_document()[device])
    accuracies = {name: Accuracy(**fields.pop(name)) for name in ("mapped", "with_cpu")}  # type: ignore[arg-type]  # JSON that the script wrote
    return Calibration(**fields, **accuracies)  # type: ignore[arg-type]  # as above


def error_quantile(log_errors: Sequence[float], coverage: float) -> float:
    """The error that ``coverage`` of new cases stay below, for few cases: the next larger one.

    That is split conformal prediction's quantile: the ``ceil((n + 1) * coverage)``-th of n, or the
    largest.
    """
    ordered = sorted(abs(each) for each in log_errors)
    rank = min(len(ordered), math.ceil((len(ordered) + 1) * coverage))
    return ordered[rank - 1]
