# SPDX-License-Identifier: Apache-2.0
"""Format numbers for the page."""

from __future__ import annotations

from edgekit.evaluate.metrics import NO_SHARES

_KIB = 1024
_THOUSAND = 1000
_LONG_COUNT = 10_000  # smaller counts are written in full
NOT_MEASURED = "not measured"
METRIC_NAMES = {
    "top1": "top-1",
    "top5": "top-5",
    "map": "mAP 50:95",
    "map50": "mAP 50",
    "map75": "mAP 75",
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "oks": "OKS",
    "mar": "mean recall",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R2",
    "f1_micro": "F1, micro",
    "f1_macro": "F1, macro",
}


def size(num_bytes: float | None) -> str:
    """Return ``2.73 MiB``; "not known" for None."""
    if num_bytes is None:
        return "not known"
    value, unit = float(num_bytes), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if abs(value) < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.2f} {unit}"


def share(value: float | None, digits: int = 1) -> str:
    """``97.5 %``."""
    return NOT_MEASURED if value is None else f"{value * 100:.{digits}f} %"


def points(value: float, digits: int = 2) -> str:
    """Return a difference of shares in points of 100: ``-0.28``."""
    return f"{value * 100:+.{digits}f}"


def ms(value: float | None) -> str:
    """Return ``0.359 ms``, with three digits."""
    return NOT_MEASURED if value is None else f"{value:#.3g}".rstrip(".") + " ms"


def between(interval: tuple[float, float] | None, *, signed: bool = False) -> str:
    """Return an interval of shares in points of 100: ``-0.54 to +0.54``; empty for None."""
    if interval is None:
        return ""
    sign = "+" if signed else ""
    low, high = (f"{value * 100:{sign}.2f}" for value in interval)
    return f"{low} to {high}"


def metric_value(name: str, value: float | None) -> str:
    """Return a metric in percent; an error in the unit of its targets."""
    if value is None or name not in NO_SHARES:
        return share(value, 2)
    return f"{value:.4g}"


def metric_difference(name: str, value: float) -> str:
    """Return a signed difference: shares in points of 100, errors in the targets' unit."""
    return f"{value:+.4g}" if name in NO_SHARES else f"{points(value)} points"


def metric_between(name: str, interval: tuple[float, float] | None, *, signed: bool = False) -> str:
    """Return an interval of a metric, or of a difference of two; empty for None."""
    if interval is None or name not in NO_SHARES:
        return between(interval, signed=signed)
    sign = "+" if signed else ""
    return f"{interval[0]:{sign}.4g} to {interval[1]:{sign}.4g}"


def file_name(path: str) -> str:
    """Return the last part of a path of any operating system."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def metric(name: str, task: str = "") -> str:
    """Return a metric's displayed name; ``map`` has another one if the task is multi-label."""
    if (name, task) == ("map", "multilabel"):
        return "mAP"
    return METRIC_NAMES.get(name, name)


def short_count(number: int) -> str:
    """Return a short count that fits into a cell: ``9999``, ``12k``, ``3.4M``."""
    if number < _LONG_COUNT:
        return str(number)
    value, unit = number / _THOUSAND, "k"
    for larger in "MG":
        if round(value) < _THOUSAND:
            break
        value, unit = value / _THOUSAND, larger
    return f"{value:#.2g}{unit}" if value < 9.95 else f"{value:.0f}{unit}"  # 9.95 is "10"


def plural(number: int, word: str) -> str:
    """Return ``1 operator``, ``2 operators``."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
