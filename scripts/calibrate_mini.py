# SPDX-License-Identifier: Apache-2.0
"""Fit the bus and the overhead of the Dev Board Mini to its published latencies.

    python -m scripts.calibrate_mini CORPUS

The chip, the CPU and the outputs are those of the entry usb2 in calibration.json, whose Raspberry
Pi 3 is the nearest computer; run scripts.calibrate_estimate first. Writes the entry dev-board-mini.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares  # type: ignore[import-untyped]  # scipy has no types

from edgekit.edgetpu.calibration import CALIBRATION_FILE, error_quantile, read_calibration
from edgekit.edgetpu.latency import latency_parts
from edgekit.edgetpu.published import PUBLISHED
from edgekit.files import write_text
from scripts.calibrate_estimate import Demands

_DEVICE = "dev-board-mini"
_NETWORKS = {
    "MobileNet V1 1.0 224": "mobilenet_v1_1.0_224",
    "MobileNet V2 1.0 224 (iNat birds)": "mobilenet_v2_1.0_224",
    "Inception V1 224": "inception_v1",
}
# Inception V4 has no file here: 38 MB over the bus (scripts/latency_fit.py), and its 12.3 thousand
# million multiply-accumulates at the 2,500 in a cycle of other large networks.
_INCEPTION_V4 = ("Inception V4 299", 38.0, 14.0)
_BUS_SPREAD = 0.15  # of the logarithm, around the bus of usb2
_OVERHEAD_MS, _OVERHEAD_SPREAD = 5.0, 1.0
_ERROR_SCALE = 0.1  # as in scripts/latency_fit.py
_COVERAGE = 0.9
_NOTE = (
    "the bus and the overhead are fitted to five latencies of four networks that owners published "
    "(google-coral/edgetpu issues 497, 593, 793); Google published none. No network with a CPU "
    "part is among them: the CPU's part is that of a Cortex-A53, the board has a slower Cortex-A35"
)


@dataclass(frozen=True)
class _Row:
    network: str
    latency_ms: float  # the median, if there are several
    bus_mb: float
    fixed_ms: float  # of the chip and the outputs

    def error(self, overhead_ms: float, ms_per_mb: float) -> float:
        return math.log((overhead_ms + ms_per_mb * self.bus_mb + self.fixed_ms) / self.latency_ms)


def _rows(corpus: Path) -> list[_Row]:
    demands, near, rows = Demands(corpus), read_calibration("usb2"), []
    latencies: dict[str, list[float]] = {}
    for each in PUBLISHED[_DEVICE]:
        latencies.setdefault(each.network, []).append(each.latency_ms)
    for network, name in _NETWORKS.items():
        demand = demands.of(name)
        parts = latency_parts(demand, near)
        fixed = parts["compute"] + parts["outputs"]
        latency = statistics.median(latencies[network])
        rows.append(_Row(network, latency, demand.bus_bytes / 1e6, fixed))
    network, bus_mb, fixed = _INCEPTION_V4
    return [*rows, _Row(network, latencies[network][0], bus_mb, fixed)]


def _fit(rows: list[_Row], bus: float) -> tuple[float, float]:
    """Return the milliseconds of a run and of a million bytes."""
    prior = np.log([_OVERHEAD_MS, bus])
    spread = np.array([_OVERHEAD_SPREAD, _BUS_SPREAD]) / _ERROR_SCALE

    def residuals(logs: np.ndarray) -> list[float]:
        errors = [each.error(*np.exp(logs)) / _ERROR_SCALE for each in rows]
        robust = [math.copysign(math.sqrt(math.log1p(each**2)), each) for each in errors]
        return [*robust, *((logs - prior) / spread / _ERROR_SCALE)]

    overhead, ms_per_mb = np.exp(least_squares(residuals, prior).x)
    return float(overhead), float(ms_per_mb)


def main(corpus: Path) -> None:
    """Fit, leave each network out, write the entry."""
    document = json.loads(CALIBRATION_FILE.read_text("utf-8"))
    near = dict(document["usb2"])
    rows = _rows(corpus)
    overhead, ms_per_mb = _fit(rows, near["ms_per_mb"])
    errors = []
    for row in rows:
        others = [each for each in rows if each is not row]
        errors.append(row.error(*_fit(others, near["ms_per_mb"])))
        print(f"{row.network}: {row.latency_ms} ms, left out {math.expm1(errors[-1]):+.0%}")
    half = error_quantile(errors, _COVERAGE)
    document[_DEVICE] = {
        **near,
        "device": _DEVICE,
        "host": "Coral Dev Board Mini",
        "overhead_ms": round(overhead, 3),
        "ms_per_mb": round(ms_per_mb, 3),
        "mapped": {
            "device": _DEVICE,
            "rows": len(rows),
            "median_error": round(statistics.median(abs(math.expm1(each)) for each in errors), 3),
            "coverage": round(sum(abs(each) <= half for each in errors) / len(errors), 3),
            "strict_coverage": round(sum(abs(each) < half for each in errors) / len(errors), 3),
            "log_error": round(half, 3),
        },
        "max_cpu_share": 0.0,
        "max_bus_mb": max(row.bus_mb for row in rows),
        "max_mcycles": 4.9,
        "note": _NOTE,
    }
    write_text(CALIBRATION_FILE, json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
