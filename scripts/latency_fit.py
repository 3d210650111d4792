# SPDX-License-Identifier: Apache-2.0
"""The latency model and its fit: errors are relative, few outliers have little influence.

Each number is a positive number near a prior one that was measured otherwise; where there are
enough published latencies they decide, where there are few, the prior does.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares  # type: ignore[import-untyped]  # scipy has no types

from edgekit.edgetpu.calibration import error_quantile
from edgekit.edgetpu.demand import Demand

FITTED = ("usb3", "usb2", "dev-board")
# The CPUs of the published rows: Coral's desktop, and Cortex-A53 in Dev Board and Raspberry Pi 3.
HOSTS = {"usb3": "desktop", "usb2": "a53", "dev-board": "a53"}
COVERAGE = 0.9  # of the rows from which an interval is computed
_ERROR_SCALE = 0.1  # relative errors above this lose influence (the scale of a Cauchy loss)
_ENOUGH_NETWORKS = 4


@dataclass(frozen=True)
class Prior:
    """What is known of a number of the model without the published latencies."""

    value: float
    spread: float  # standard deviation of its natural logarithm
    source: str


_CONVOLUTIONS = "measured by others on five equal convolutions, compiler 16, PCIe"
_DENSE = "380 MB/s, measured by others on dense layers that are streamed, compiler 16, PCIe"
_GUESS = "an order of magnitude"
PRIORS = {
    "cycles": Prior(2.88, 0.2, _CONVOLUTIONS),
    **{f"overhead {device}": Prior(0.3, 0.5, "0.1 to 0.5, as above") for device in FITTED},
    "bus usb3": Prior(2.63, 0.5, _DENSE),
    "bus dev-board": Prior(2.63, 0.5, _DENSE),
    "bus usb2": Prior(28.0, 0.15, "Inception v4 takes 1,055 ms on a Raspberry Pi 3, 38 MB of bus"),
    "outputs desktop": Prior(10.2, 0.5, _CONVOLUTIONS),
    "outputs a53": Prior(35.0, 1.0, "the desktop's, times the ratio of both CPUs' ns a MAC"),
    "elements desktop": Prior(1.0, 2.0, _GUESS),
    "elements a53": Prior(3.5, 2.0, _GUESS),
}
_NAMES = tuple(PRIORS)


@dataclass(frozen=True)
class Row:
    """One published latency and the demand of its network."""

    network: str
    device: str
    latency_ms: float
    source: str
    demand: Demand  # of the plain model
    compiled: Demand | None = None  # of the compiled file, if there is one

    @property
    def has_tail(self) -> bool:
        """Whether a part runs on the CPU."""
        return bool(self.demand.cpu.opcodes)


@dataclass(frozen=True)
class Fit:
    """The numbers of the latency model: one chip, one bus per device, one CPU per host."""

    numbers: dict[str, float]  # by the names of `PRIORS`
    cpu_ns_per_mac: dict[str, float]  # by host

    def chip_and_bus_ms(self, device: str, demand: Demand) -> float:
        """Return the milliseconds of the Edge TPU's part, without the host's work on outputs."""
        features, _ = _features(device, demand, self.cpu_ns_per_mac)
        taken = [not name.startswith(("outputs", "elements")) for name in _NAMES]
        return float((features * self._values())[np.array(taken)].sum())

    def predict(self, device: str, demand: Demand) -> float:
        """Return the milliseconds of one inference."""
        features, fixed_ms = _features(device, demand, self.cpu_ns_per_mac)
        return float(features @ self._values()) + fixed_ms

    def _values(self) -> NDArray[np.float64]:
        return np.array([self.numbers[name] for name in _NAMES])


def _features(
    device: str, demand: Demand, cpu_ns_per_mac: dict[str, float]
) -> tuple[NDArray[np.float64], float]:
    """Return what multiplies each number, and the milliseconds that are not fitted."""
    host = HOSTS[device]
    found = {
        "cycles": demand.cycles / 1e6,
        f"overhead {device}": 1.0,
        f"bus {device}": demand.bus_bytes / 1e6,
        f"outputs {host}": demand.output_bytes / 1e6,
        f"elements {host}": demand.cpu.elements / 1e6,
    }
    fixed_ms = cpu_ns_per_mac[host] * demand.cpu.macs / 1e6
    return np.array([found.get(name, 0.0) for name in _NAMES]), fixed_ms


def fit(rows: list[Row], cpu_ns_per_mac: dict[str, float]) -> Fit:
    """Fit all numbers together to the programs of plain models and to those of compiled files."""
    cases = [(row, demand) for row in rows for demand in (row.demand, row.compiled) if demand]
    # Each network on each device counts once.
    times = Counter((row.network, row.device) for row, _ in cases)
    weights = np.array([1 / math.sqrt(times[row.network, row.device]) for row, _ in cases])
    wanted = np.log([row.latency_ms for row, _ in cases])
    found = [_features(row.device, demand, cpu_ns_per_mac) for row, demand in cases]
    matrix = np.array([features for features, _ in found])
    fixed_ms = np.array([fixed for _, fixed in found])
    prior = np.log([each.value for each in PRIORS.values()])
    spread = np.array([each.spread for each in PRIORS.values()])

    def residuals(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        errors = (np.log(matrix @ np.exp(logs) + fixed_ms) - wanted) / _ERROR_SCALE
        limited = np.sqrt(np.log1p(errors**2)) * weights
        return np.concatenate([limited, (logs - prior) / spread])

    solution = np.exp(least_squares(residuals, prior).x)
    return Fit(dict(zip(_NAMES, solution.tolist(), strict=True)), cpu_ns_per_mac)


@dataclass(frozen=True)
class LeftOut:
    """A row, estimated by a fit without its network."""

    row: Row
    estimate_ms: float  # of the plain model
    compiled_ms: float | None  # of the compiled file

    @property
    def log_error(self) -> float:
        """Natural logarithm of estimate over published."""
        return math.log(self.estimate_ms / self.row.latency_ms)


def leave_networks_out(rows: list[Row], cpu_ns_per_mac: dict[str, float]) -> list[LeftOut]:
    """Estimate each network's rows from the rows of all other networks."""
    found = []
    for network in sorted({row.network for row in rows}):
        rest = fit([row for row in rows if row.network != network], cpu_ns_per_mac)
        found += [
            LeftOut(
                row,
                rest.predict(row.device, row.demand),
                rest.predict(row.device, row.compiled) if row.compiled else None,
            )
            for row in rows
            if row.network == network
        ]
    return found


def accuracy(left_out: list[LeftOut], device: str, *, has_tail: bool) -> dict[str, object]:
    """Return the errors of one kind of estimate; with few rows, also those of other devices."""
    kind = [each for each in left_out if each.row.has_tail == has_tail]
    own = [each for each in kind if each.row.device == device]
    enough = len({each.row.network for each in own}) >= _ENOUGH_NETWORKS
    basis = own if enough else kind
    errors = [each.log_error for each in basis]
    inside = sum(
        abs(each) <= error_quantile(errors[:i] + errors[i + 1 :], COVERAGE)
        for i, each in enumerate(errors)
    )
    strict = sum(
        abs(each.log_error) <= error_quantile(_others(basis, each.row.network), COVERAGE)
        for each in basis
    )
    return {
        "device": device if enough else "all",
        "rows": len(basis),
        "median_error": round(float(np.median([abs(math.expm1(each)) for each in errors])), 3),
        "coverage": round(inside / len(basis), 3),
        "strict_coverage": round(strict / len(basis), 3),
        "log_error": round(error_quantile(errors, COVERAGE), 3),
    }


def _others(basis: list[LeftOut], network: str) -> list[float]:
    return [each.log_error for each in basis if each.row.network != network]
