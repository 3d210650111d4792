# SPDX-License-Identifier: Apache-2.0
"""Temperatures while a model is loaded, and whether the clock was lowered because of them.

The apex driver has a sensor for each card; an Edge TPU on USB has none. The root of sysfs is a
parameter, so that another folder can replace it.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Sequence

from edgekit.files import integer_in
from edgekit.result import Result
from edgekit.runtime.devices import CPU
from edgekit.runtime.latency import median

SYSFS = Path("/sys")
_PERIOD_S = 0.5
# Sensors of processors among /sys/class/thermal, by their type.
_CPU_ZONES = ("cpu", "x86_pkg_temp", "soc", "acpitz")
# A chip that no longer answers reads about -89 degrees Celsius (google-coral/edgetpu issue 395).
_DEAD_BELOW_CELSIUS = -40.0
# The time of the last quarter of equal inferences divided by that of the first: at half the clock
# the chip takes twice the time; half of that increase is more than noise.
_DRIFT = 1.5
_FEWEST_TIMES = 20


@dataclass(frozen=True)
class Thermal(Result):
    """Temperatures of what runs a model; None where there is no sensor."""

    start_celsius: float | None  # when the model was loaded
    end_celsius: float | None  # when this was read
    max_celsius: float | None  # of those two and of a reading each half second between
    throttled: bool | None  # whether the clock was likely lowered; None if unknown
    note: str = ""  # where the numbers come from, or why there are none


class _Sensor(NamedTuple):  # made in a tenth of the time of a dataclass, at each import
    reading: Path
    limit: Path | None  # at this temperature the driver lowers the clock


class ThermalMonitor:
    """Reads the sensors of a device until it is closed, in its own thread if there are sensors."""

    def __init__(self, device: str, sysfs: Path = SYSFS) -> None:
        self._sensors, self._note = _sensors(device, sysfs)
        self._max: float | None = None
        self._start = self._read()
        self._limit = min(
            (value for value in (_celsius(each.limit) for each in self._sensors) if value),
            default=None,
        )
        self._stop = threading.Event()
        if self._sensors:
            threading.Thread(target=self._watch, daemon=True).start()

    def reading(self) -> Thermal:
        """Return the temperatures up to now."""
        end = self._read()
        hottest = self._max
        throttled = None
        if self._limit is not None and hottest is not None:
            throttled = hottest >= self._limit
        return Thermal(self._start, end, hottest, throttled, self._note)

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            self._read()

    def _read(self) -> float | None:
        """The hottest sensor now."""
        values = [_celsius(each.reading) for each in self._sensors]
        now = max((each for each in values if each is not None), default=None)
        if now is not None:
            self._max = now if self._max is None else max(self._max, now)
        return now


def judge_drift(thermal: Thermal | None, times_s: Sequence[float]) -> Thermal | None:
    """Return ``thermal``, judged by the times of equal inferences if no sensor gave a verdict."""
    if thermal is None or thermal.throttled is not None or len(times_s) < _FEWEST_TIMES:
        return thermal
    quarter = len(times_s) // 4
    first, last = median(times_s[:quarter]), median(times_s[-quarter:])
    note = f"throttled is judged by the times: the last quarter took {last / first:.2f} times the"
    note = "; ".join(part for part in (thermal.note, f"{note} first") if part)
    return replace(thermal, throttled=last > _DRIFT * first, note=note)


def _sensors(device: str, sysfs: Path) -> tuple[list[_Sensor], str]:
    if device == CPU:
        zones = _cpu_zones(sysfs)
        return zones, "" if zones else "temperature not measured: this system has no sensor"
    bus, _, number = device.partition(":")
    if bus == "usb":
        return [], "temperature not measured: an Edge TPU on USB has no sensor"
    wanted = f"apex_{number or 0}" if bus == "pci" else "apex_*"
    cards = [
        _Sensor(card / "temp", card / "trip_point0_temp")
        for card in _children(sysfs / "class" / "apex", wanted)
        if _celsius(card / "temp") is not None
    ]
    if not cards:
        return [], "temperature not measured: only the apex driver (PCIe) has a sensor"
    return cards, "" if len(cards) == 1 else f"the hottest of {len(cards)} cards"


@functools.lru_cache(maxsize=2)  # they do not change while a system runs
def _cpu_zones(sysfs: Path) -> list[_Sensor]:
    return [
        _Sensor(zone / "temp", None)
        for zone in _children(sysfs / "class" / "thermal", "thermal_zone*")
        if _text(zone / "type").startswith(_CPU_ZONES)
    ]


def _children(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:  # some attributes of sysfs return an error
        return ""


def _celsius(path: Path | None) -> float | None:
    millicelsius = None if path is None else integer_in(path)
    if millicelsius is None or millicelsius / 1000 <= _DEAD_BELOW_CELSIUS:
        return None
    return millicelsius / 1000
