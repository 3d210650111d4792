# SPDX-License-Identifier: Apache-2.0
"""Temperatures from a folder in the place of sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.runtime.thermal import Thermal, ThermalMonitor, judge_drift


def _card(sysfs: Path, number: int, millicelsius: str, limit: str = "85000") -> Path:
    folder = sysfs / "class" / "apex" / f"apex_{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "temp").write_text(f"{millicelsius}\n")
    (folder / "trip_point0_temp").write_text(f"{limit}\n")
    return folder / "temp"


def test_start_end_and_maximum_are_read(tmp_path: Path) -> None:
    sensor = _card(tmp_path, 0, "41250")
    monitor = ThermalMonitor("pci", tmp_path)
    sensor.write_text("60000\n")
    monitor.reading()
    sensor.write_text("50000\n")
    assert monitor.reading() == Thermal(41.25, 50.0, 60.0, throttled=False)
    monitor.close()


def test_the_clock_is_lowered_at_the_drivers_limit(tmp_path: Path) -> None:
    _card(tmp_path, 0, "85000")
    monitor = ThermalMonitor("pci:0", tmp_path)
    assert monitor.reading().throttled
    monitor.close()


def test_the_number_names_the_card_and_auto_the_hottest(tmp_path: Path) -> None:
    _card(tmp_path, 0, "40000")
    _card(tmp_path, 1, "50000")
    assert ThermalMonitor("pci:0", tmp_path).reading().end_celsius == 40
    assert ThermalMonitor("pci:1", tmp_path).reading().end_celsius == 50
    hottest = ThermalMonitor("edgetpu", tmp_path).reading()
    assert (hottest.end_celsius, hottest.note) == (50, "the hottest of 2 cards")


def test_usb_has_no_sensor(tmp_path: Path) -> None:
    _card(tmp_path, 0, "40000")
    thermal = ThermalMonitor("usb:0", tmp_path).reading()
    assert (thermal.start_celsius, thermal.max_celsius, thermal.throttled) == (None, None, None)
    assert "not measured" in thermal.note


@pytest.mark.parametrize("text", ["", "no number", "-89700"])
def test_an_invalid_reading_is_not_measured(tmp_path: Path, text: str) -> None:
    _card(tmp_path, 0, text)
    assert ThermalMonitor("pci", tmp_path).reading().max_celsius is None


def test_the_cpus_temperature_is_that_of_its_zones(tmp_path: Path) -> None:
    for index, (kind, value) in enumerate((("cpu-thermal", 48000), ("wifi", 70000))):
        zone = tmp_path / "class" / "thermal" / f"thermal_zone{index}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(f"{value}\n")
    assert ThermalMonitor("cpu", tmp_path).reading().end_celsius == 48


@pytest.mark.parametrize(("last", "throttled"), [(1.0, False), (1.4, False), (2.0, True)])
def test_without_a_sensor_slower_inferences_show_a_lowered_clock(
    last: float, throttled: bool
) -> None:
    unknown = Thermal(None, None, None, None, "no sensor")
    judged = judge_drift(unknown, [1e-3] * 30 + [last * 1e-3] * 10)
    assert judged is not None
    assert judged.throttled is throttled
    assert "the times" in judged.note


def test_a_sensor_has_priority_and_few_times_show_nothing() -> None:
    known = Thermal(40.0, 40.0, 40.0, throttled=False)
    assert judge_drift(known, [1e-3] * 30 + [1e-2] * 30) == known
    unknown = Thermal(None, None, None, None)
    assert judge_drift(unknown, [1e-3, 1e-2]) == unknown
    assert judge_drift(None, [1e-3] * 40) is None
