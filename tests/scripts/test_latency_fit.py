# SPDX-License-Identifier: Apache-2.0
"""The fit of the latency model, on latencies that are computed from known numbers."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

if sys.version_info < (3, 10):
    pytest.skip("the project's scripts need Python 3.10", allow_module_level=True)

from edgekit.edgetpu.demand import CpuWork, Demand
from scripts.latency_fit import FITTED, PRIORS, Fit, Row, accuracy, fit, leave_networks_out

_RATES = {"desktop": 0.1, "a53": 0.3}
_TRUE = Fit({name: 1.3 * prior.value for name, prior in PRIORS.items()}, _RATES)
# Million cycles, MB over the bus, MB of outputs, million elements on the CPU.
_NETWORKS = (
    (0.1, 0.1, 0.01, 0.0),
    (0.5, 0.3, 0.01, 0.0),
    (2.0, 0.5, 0.3, 0.0),
    (0.3, 20.0, 0.01, 0.0),
    (5.0, 5.0, 0.01, 0.0),
    (8.0, 0.2, 0.02, 0.0),
    (1.0, 1.0, 0.5, 1.0),
    (1.0, 0.3, 0.1, 8.0),
    (2.0, 0.6, 2.0, 3.0),
)


def _rows() -> list[Row]:
    rows = []
    for number, (cycles, bus, outputs, elements) in enumerate(_NETWORKS):
        cpu = CpuWork(0, int(1e6 * elements), ("ARG_MAX",) if elements else ())
        sizes = int(1e6 * bus - 1e6 * outputs), int(1e6 * outputs)
        demand = Demand(int(1e6 * cycles), None, 1, *sizes, 0, 0, 0, 0, 0, cpu, "")
        rows += [
            Row(f"n{number}", device, _TRUE.predict(device, demand), "", demand)
            for device in FITTED
        ]
    return rows


def test_numbers_are_found_again() -> None:
    found = fit(_rows(), _RATES)
    for row in _rows():
        assert found.predict(row.device, row.demand) == pytest.approx(row.latency_ms, rel=0.05)


def test_an_outlier_has_little_influence() -> None:
    rows = _rows()
    wrong = replace(rows[3], latency_ms=4 * rows[3].latency_ms)
    found = fit([*rows[:3], wrong, *rows[4:]], _RATES)
    for row in rows:
        assert found.predict(row.device, row.demand) == pytest.approx(row.latency_ms, rel=0.1)


def test_a_compiled_file_of_the_same_network_is_fitted_too() -> None:
    """The plain model's program is far from what was measured, the compiled file's is right."""
    rows = [
        replace(row, demand=replace(row.demand, cycles=3 * row.demand.cycles), compiled=row.demand)
        if row.network == "n5"
        else row
        for row in _rows()
    ]
    found = fit(rows, _RATES)
    for row in rows:
        demand = row.compiled or row.demand
        assert found.predict(row.device, demand) == pytest.approx(row.latency_ms, rel=0.1)


def test_a_network_is_estimated_without_its_own_rows() -> None:
    rows = _rows()
    changed = [
        replace(row, latency_ms=2 * row.latency_ms) if row.network == "n2" else row for row in rows
    ]
    before = {
        (each.row.network, each.row.device): each for each in leave_networks_out(rows, _RATES)
    }
    for each in leave_networks_out(changed, _RATES):
        if each.row.network == "n2":
            same = before[each.row.network, each.row.device]
            assert each.estimate_ms == pytest.approx(same.estimate_ms)


def test_most_rows_are_inside_the_interval_and_few_rows_use_all_devices() -> None:
    left_out = leave_networks_out(_rows(), _RATES)
    for has_tail, device in ((False, "usb3"), (True, "all")):
        found = accuracy(left_out, "usb3", has_tail=has_tail)
        assert found["device"] == device
        assert isinstance(found["coverage"], float)
        assert found["coverage"] >= 0.8
