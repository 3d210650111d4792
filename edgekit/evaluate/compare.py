# SPDX-License-Identifier: Apache-2.0
"""Compare two results: whether they can be compared, how they differ, and a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Iterator, Mapping, Sequence

from edgekit.data.preprocess import is_models_own
from edgekit.errors import InputError
from edgekit.evaluate.gates import refuse_share
from edgekit.evaluate.metrics import (
    ERRORS,
    difference_ci95,
    drop_points,
    drop_text,
    is_above,
    jackknife_half,
    metric_text,
)
from edgekit.files import MOST_TEXT_BYTES, read_bytes
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.formats.json_text import parse_json
from edgekit.result import Result, is_readable

if TYPE_CHECKING:
    from edgekit.files import PathLike

_EVALUATE, _BENCHMARK = "edgekit.evaluate", "edgekit.benchmark"
_SHOWN = 80  # characters of a value; hashes and preprocessings fit
_DAMAGES_SHOWN = 3
_LARGEST = 1e300  # differences of larger numbers overflow
_SHARES = frozenset(("top1", "top5"))
# What may differ, and is reported: (label, path in the document).
_NOTED = (
    ("model", ("sha256",)),
    ("device", ("device",)),
    ("runtime", ("runtime",)),
    ("kernels", ("kernels",)),
    ("threads", ("num_threads",)),
)
# What must be equal for metrics to be comparable.
_ACCURACY = (
    ("task", ("task",)),
    ("data", ("data", "fingerprint")),
    ("number of samples", ("num_samples",)),
    ("unreadable samples", ("num_failed",)),
)
# Also an obstacle, unless each model got the preprocessing that its own file states.
_PIXELS = (("preprocessing", ("data", "preprocess")),)


@dataclass(frozen=True)
class Difference(Result):
    """One metric in both results; ``difference`` is the second minus the first."""

    name: str
    first: float
    second: float
    difference: float
    ci95: tuple[float, float] | None  # None if unknown
    paired: bool  # whether the interval is for the same samples in both results


@dataclass(frozen=True)
class CompareResult(Result):
    """Whether two results can be compared, their differences, and whether the gates are met."""

    schema: ClassVar[str] = "edgekit.compare/1"
    first: str
    second: str
    comparable: bool
    obstacles: tuple[str, ...]  # what makes metrics incomparable
    notes: tuple[str, ...]  # other differences, which do not matter for metrics
    metrics: tuple[Difference, ...]
    latency_ms: tuple[Difference, ...]
    passed: bool | None  # None without a gate
    failures: tuple[str, ...]  # gates not met
    remarks: tuple[str, ...]  # gates that the interval cannot decide


def compare(
    first: PathLike | Mapping[str, Any],
    second: PathLike | Mapping[str, Any],
    *,
    max_drop: float | None = None,
    max_p95_ms: float | None = None,
) -> CompareResult:
    """Compare two results of `evaluate`, or two of `benchmark`; the second is the one judged.

    Args:
        first: The reference: a JSON file, or its document.
        second: The result to be judged.
        max_drop: How much lower than in the first any metric may be, in percentage points. Errors
            (mae, rmse) may rise by that many percent. Results that cannot be compared, or with
            samples answered with NaN or infinity, do not pass.
        max_p95_ms: The largest allowed 95th percentile of the second's latency, in milliseconds.

    Raises:
        InputError: A file cannot be read, or is not such a result.
        UsageError: ``max_drop`` is negative, or a share.
    """
    refuse_share(max_drop)
    names = [_name(each) for each in (first, second)]
    a, b = _load(first, names[0]), _load(second, names[1])
    is_own = all(is_models_own(str(each.get("preprocess_reason", ""))) for each in (a, b))
    noted, equal = ((*_NOTED, *_PIXELS), _ACCURACY) if is_own else (_NOTED, (*_ACCURACY, *_PIXELS))
    obstacles = tuple(_differing(a, b, equal)) if _kind(a) == _EVALUATE else ()
    if _kind(a) != _kind(b):
        raise InputError(
            f"cannot compare {_kind(a)} with {_kind(b)}",
            where=f"{names[0]}, {names[1]}",
            fix="give two results of evaluate, or two of benchmark",
        )
    metrics = () if obstacles else tuple(_metrics(a, b))
    if not obstacles and _kind(a) == _EVALUATE and not metrics:
        obstacles = ("they have no metric in common",)
    latencies = tuple(_latencies(a, b))
    lost = [name for name in a.get("metrics", ()) if name not in b.get("metrics", ())]
    failures = [
        *_drops(metrics, obstacles, max_drop, lost),
        *_no_answers(b, max_drop),
        *_slow(b, max_p95_ms),
    ]
    has_gate = max_drop is not None or max_p95_ms is not None
    return CompareResult(
        first=names[0],
        second=names[1],
        comparable=not obstacles,
        obstacles=obstacles,
        notes=tuple(_differing(a, b, noted)),
        metrics=metrics,
        latency_ms=latencies,
        passed=not failures if has_gate else None,
        failures=tuple(failures),
        remarks=tuple(_close_calls(metrics, max_drop)),
    )


def _name(source: PathLike | Mapping[str, Any]) -> str:
    return str(source.get("model", "")) if isinstance(source, Mapping) else str(source)


def _kind(document: Mapping[str, Any]) -> str:
    """``edgekit.evaluate`` of ``edgekit.evaluate/2``."""
    return str(document["schema"]).partition("/")[0]


def _load(source: PathLike | Mapping[str, Any], name: str) -> Mapping[str, Any]:
    document: Any = source
    if not isinstance(source, Mapping):
        try:
            document = parse_json(read_bytes(Path(source), "result", MOST_TEXT_BYTES))
        except JSON_DAMAGE as error:
            raise InputError(f"cannot read the result: {reason_of(error)}", where=name) from error
    schema = document.get("schema") if isinstance(document, Mapping) else None
    kind = str(schema).partition("/")[0]
    required = ("latency_ms", "metrics", "data") if kind == _EVALUATE else ("latency_ms",)
    is_known = kind in (_EVALUATE, _BENCHMARK) and is_readable(schema)
    missing = [key for key in required if is_known and not isinstance(document.get(key), Mapping)]
    if missing or not is_known:
        why = f"its schema is {schema!r}" if schema else "it has no schema"
        raise InputError(
            "this is not a result of evaluate or benchmark",
            where=name,
            why=f"it has no {' and no '.join(missing)}" if missing else why,
            fix="write one with: edgekit evaluate MODEL --data DATA --json > RESULT.json",
        )
    damages = list(_damages(document))
    if damages:
        raise InputError(
            "the result is damaged",
            where=name,
            why="; ".join(damages[:_DAMAGES_SHOWN]),
            fix="write it again with edgekit evaluate or benchmark, and --json",
        )
    result: Mapping[str, Any] = document
    return result


def _damages(document: Mapping[str, Any]) -> Iterator[str]:
    """Describe values that are not numbers but must be: NaN would pass every gate."""
    is_right: dict[str, Callable[[Any], bool]] = {"latency_ms": _is_number}
    if _kind(document) == _EVALUATE:
        is_right.update(metrics=_is_number, left_out=_are_numbers, metrics_ci95=_is_interval)
    for part, is_value in is_right.items():
        values = document.get(part) or {}
        if not isinstance(values, Mapping):
            yield f"{part} is not an object"
            continue
        for name, value in values.items():
            if not is_value(value):
                yield f"{part}.{name} is {repr(value)[:_SHOWN]}"
    count = document.get("num_samples")
    if _kind(document) == _EVALUATE and (not isinstance(count, int) or count < 1):
        yield f"num_samples is {str(count)[:_SHOWN]}"


def _is_number(value: Any) -> bool:  # noqa: ANN401 - a JSON value
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and -_LARGEST < value < _LARGEST


def _are_numbers(value: Any) -> bool:  # noqa: ANN401 - a JSON value; None where there are none
    return value is None or (isinstance(value, (list, tuple)) and all(map(_is_number, value)))


def _is_interval(value: Any) -> bool:  # noqa: ANN401 - a JSON value; None where there is none
    return value is None or (_are_numbers(value) and len(value) == 2)


def _differing(
    a: Mapping[str, Any], b: Mapping[str, Any], fields: Sequence[tuple[str, tuple[str, ...]]]
) -> Iterator[str]:
    for label, path in fields:
        values = [_get(each, path) for each in (a, b)]
        if values[0] is None and values[1] is None:
            continue
        if values[0] != values[1]:
            shown = [str(each)[:_SHOWN] for each in values]
            yield f"different {label}: {shown[0]} and {shown[1]}"


def _get(document: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - a JSON value
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _metrics(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    before, after = a.get("metrics", {}), b.get("metrics", {})
    for name in before:
        if name not in after:
            continue
        left = [_get(each, ("left_out", name)) or [] for each in (a, b)]
        is_paired = len(left[0]) == len(left[1]) > 1
        difference = after[name] - before[name]
        if is_paired:
            half = jackknife_half([y - x for x, y in zip(*left)])
            if name in _SHARES:
                # Two models that do not differ on these samples may differ on others.
                low, high = difference_ci95(0, 0, max(1, int(b["num_samples"])))
                half = max(half, (high - low) / 2)
        else:
            half = _unpaired_half(a, b, name)
        interval = None if not math.isfinite(half) else (difference - half, difference + half)
        yield Difference(name, before[name], after[name], difference, interval, is_paired)


def _unpaired_half(a: Mapping[str, Any], b: Mapping[str, Any], name: str) -> float:
    """Return the half width for different samples, from both intervals."""
    widths = []
    for each in (a, b):
        interval = _get(each, ("metrics_ci95", name))
        if not interval:
            return math.inf
        widths.append((interval[1] - interval[0]) / 2)
    return math.hypot(*widths)


def _latencies(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for name, value in a["latency_ms"].items():
        other = b["latency_ms"].get(name)
        if other is not None:
            yield Difference(name, value, other, other - value, None, paired=False)


def _drops(
    metrics: Sequence[Difference],
    obstacles: Sequence[str],
    max_drop: float | None,
    lost: Sequence[str],
) -> Iterator[str]:
    if max_drop is None:
        return
    if obstacles or not metrics:
        why = "; ".join(obstacles) or "they have no metric"
        yield f"--max-drop {max_drop:g}: the results cannot be compared ({why})"
        return
    for name in lost:
        yield f"--max-drop {max_drop:g}: the second result has no {name}"
    for each in metrics:
        drop = drop_points(each.name, each.difference, each.first)
        if is_above(drop, max_drop):
            both = [metric_text(each.name, value) for value in (each.first, each.second)]
            yield (
                f"--max-drop {max_drop:g}: {each.name} {drop_text(each.name, drop)}, "
                f"from {both[0]} to {both[1]}"
            )


def _no_answers(b: Mapping[str, Any], max_drop: float | None) -> Iterator[str]:
    number = b.get("num_nan", 0)
    if max_drop is not None and number:
        yield (
            f"--max-drop {max_drop:g}: the model answers {number} of {b.get('num_samples')} "
            "samples with NaN or infinity"
        )


def _close_calls(metrics: Sequence[Difference], max_drop: float | None) -> Iterator[str]:
    for each in metrics:
        if max_drop is None or each.ci95 is None:
            continue
        drops = [drop_points(each.name, bound, each.first) for bound in each.ci95]
        if min(drops) < max_drop < max(drops):
            change, unit = ("rise", "%") if each.name in ERRORS else ("drop", "points")
            yield (
                f"{each.name}: the samples do not decide it, the 95 % interval of the {change} is "
                f"{min(drops):.2f} to {max(drops):.2f} {unit}"
            )


def _slow(b: Mapping[str, Any], max_p95_ms: float | None) -> Iterator[str]:
    if max_p95_ms is None:
        return
    p95 = b["latency_ms"].get("p95")
    if p95 is None:
        yield f"--max-p95-ms {max_p95_ms:g}: the result has no p95"
    elif p95 > max_p95_ms:
        yield f"--max-p95-ms {max_p95_ms:g}: p95 is {p95:.3f} ms"
