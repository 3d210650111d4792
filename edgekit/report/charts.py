# SPDX-License-Identifier: Apache-2.0
"""Draw the report's charts: latency, error per layer, confusion, classes, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.report.svg import CARD, DIM, FG, LINE, S0, S1, S2, SERIES, Canvas
from edgekit.report.words import short_count

MAX_SERIES = len(SERIES)
MAX_MATRIX = 20
MAX_BARS = 30
GUIDE_DB = 10.0
_NUM_BINS = 24
_FEW = 60
_NUM_TICKS = 5  # more overlap on small axes
_MIB = 1 << 20


@dataclass(frozen=True)
class Timing:
    """The times of a benchmark's inferences, in order."""

    name: str
    times_ms: Sequence[float]


@dataclass(frozen=True)
class Store:
    """One kind of memory: its content, what does not fit, and its size."""

    name: str
    used_bytes: int
    over_bytes: int
    room_bytes: int
    over_name: str


@dataclass(frozen=True)
class Point:
    """A trial of `tune`: how good, how fast, and how much of it maps."""

    text: str
    latency_ms: float
    value: float  # of the metric
    mapped: float  # share of the operators
    is_best: bool
    is_error: bool = False  # a lower value is better

    def beats(self, other: Point) -> bool:
        """Whether this one is at least as good in all respects, and better in one."""
        sign = -1 if self.is_error else 1
        pairs = (
            (sign * self.value, sign * other.value),
            (self.mapped, other.mapped),
            (-self.latency_ms, -other.latency_ms),
        )
        return all(mine >= its for mine, its in pairs) and any(mine > its for mine, its in pairs)


def latency_histogram(timings: Sequence[Timing]) -> str:
    """Draw the histogram of latencies, with one colour per series."""
    canvas = Canvas("histogram")
    everything = np.concatenate([np.asarray(each.times_ms) for each in timings])
    low, high = np.percentile(everything, (0, 99.5))
    edges = np.linspace(low, max(high, low * 1.001 + 1e-9), _NUM_BINS + 1)
    for number, each in enumerate(timings[:MAX_SERIES]):
        # Values beyond the axis are counted in its last bin.
        counts, _ = np.histogram(np.minimum(each.times_ms, edges[-1]), edges)
        bars = canvas.axes.bar(
            edges[:-1], counts, np.diff(edges), align="edge", color=SERIES[number], alpha=0.65
        )
        for bar, count, start, stop in zip(bars, counts, edges, edges[1:], strict=False):
            more = " or more" if stop == edges[-1] else ""
            title = f"{each.name}: {count} of {len(each.times_ms)}, {start:.4g} to {stop:.4g} ms"
            canvas.mark(bar, title + more, f"series s{number}")
    canvas.axes.set_xlabel("ms of one inference")
    canvas.axes.locator_params(axis="x", nbins=_NUM_TICKS)
    canvas.axes.set_ylabel("inferences")
    canvas.axes.grid(axis="y")
    return canvas.svg("Histogram of latencies: " + _as_text(timings))


def latency_ecdf(timings: Sequence[Timing]) -> str:
    """Draw the share of inferences that finished within a time."""
    canvas = Canvas("ecdf")
    for number, each in enumerate(timings[:MAX_SERIES]):
        times = np.sort(np.asarray(each.times_ms))
        share = np.arange(1, len(times) + 1) / len(times)
        line = canvas.axes.step(times, share * 100, where="post", color=SERIES[number], lw=1.6)[0]
        canvas.mark(line, f"{each.name}", f"series s{number}")
        for percent in (50, 90, 99):
            at = float(np.percentile(times, percent))
            dot = canvas.axes.plot([at], [percent], "o", color=SERIES[number], ms=5)[0]
            canvas.mark(dot, f"{each.name}: p{percent} {at:.4g} ms", f"series s{number}")
    canvas.axes.set_xlabel("ms of one inference")
    canvas.axes.locator_params(axis="x", nbins=_NUM_TICKS)
    canvas.axes.set_ylabel("% done")
    canvas.axes.set_ylim(0, 102)
    canvas.axes.grid()
    return canvas.svg("Share of inferences done, by time: " + _as_text(timings))


def latency_series(timings: Sequence[Timing]) -> str:
    """Draw the latencies in the order of measurement."""
    canvas = Canvas("series")
    for number, each in enumerate(timings[:MAX_SERIES]):
        order = np.arange(1, len(each.times_ms) + 1)
        style = {"lw": 0.9, "alpha": 0.8, "marker": "." if len(order) <= _FEW else ""}
        line = canvas.axes.plot(order, each.times_ms, "-", color=SERIES[number], **style)
        slowest = int(np.argmax(each.times_ms))
        title = f"{each.name}: slowest {each.times_ms[slowest]:.4g} ms, at {slowest + 1}"
        canvas.mark(line[0], title, f"series s{number}")
    canvas.axes.set_xlabel("inference, in order")
    canvas.axes.set_ylabel("ms")
    canvas.axes.set_ylim(bottom=0)
    canvas.axes.grid(axis="y")
    return canvas.svg("Latencies in the order of measurement: " + _as_text(timings))


def memory_bars(stores: Sequence[Store]) -> str:
    """Draw the used memory of the chip and its size."""
    canvas = Canvas("memory", height_in=0.75 + 0.55 * len(stores))
    for row, store in enumerate(stores):
        room = store.room_bytes / _MIB
        frame = canvas.axes.barh(row, room, 0.62, color=CARD, edgecolor=LINE, lw=0.8)[0]
        canvas.mark(frame, f"room for {store.name}: {store.room_bytes:,} bytes")
        used = canvas.axes.barh(row, store.used_bytes / _MIB, 0.62, color=S0)[0]
        canvas.mark(used, f"{store.name}: {store.used_bytes:,} bytes")
        if store.over_bytes:
            start = max(room, store.used_bytes / _MIB)
            over = canvas.axes.barh(row, store.over_bytes / _MIB, 0.62, left=start, color=S1)[0]
            over.set_hatch("////")
            over.set_edgecolor(CARD)
            canvas.mark(over, f"{store.over_name}: {store.over_bytes:,} bytes")
    canvas.axes.set_yticks(range(len(stores)), [each.name for each in stores])
    canvas.axes.tick_params(axis="y", length=0)
    canvas.axes.invert_yaxis()
    canvas.axes.set_xlabel("MiB")
    texts = (f"{each.name} {each.used_bytes:,} of {each.room_bytes:,} bytes" for each in stores)
    return canvas.svg("Memory of the chip: " + "; ".join(texts))


def error_lines(
    names: Sequence[str], isolated: Sequence[float | None], accumulated: Sequence[float | None]
) -> str:
    """Draw signal to noise of each operator, isolated and accumulated, with a line at 10 dB."""
    canvas = Canvas("error")
    lines = (("isolated", isolated, S0, "o"), ("accumulated", accumulated, S1, "s"))
    for number, (kind, values, colour, shape) in enumerate(lines):
        known = [(row, value) for row, value in enumerate(values) if value is not None]
        if not known:
            continue
        rows, heights = zip(*known, strict=True)
        line = canvas.axes.plot(rows, heights, "-", color=colour, lw=1.2)[0]
        canvas.mark(line, kind, f"series s{number}")
        for row, value in known:
            dot = canvas.axes.plot([row], [value], shape, color=colour, ms=3.5)[0]
            canvas.mark(dot, f"{names[row]}: {kind} {value:.1f} dB", f"series s{number}")
    guide = canvas.axes.axhline(GUIDE_DB, color=DIM, lw=1, ls="--")
    canvas.mark(guide, f"{GUIDE_DB:.0f} dB")
    canvas.axes.set_xlabel("operator, in order")
    canvas.axes.set_ylabel("signal to noise, dB")
    canvas.axes.grid(axis="y")
    return canvas.svg(f"Signal to noise of {len(names)} operators, isolated and accumulated")


def confusion_matrix(counts: Mapping[tuple[int, int], int], names: Sequence[str]) -> str:
    """Draw true classes as rows, answers as columns; shade by share of the true class."""
    size = len(names)
    shown = [_cut(name) for name in names]
    canvas = Canvas("confusion", height_in=5.0)
    axes = canvas.axes
    totals = [sum(n for (true, _), n in counts.items() if true == row) for row in range(size)]
    for (true, answer), number in counts.items():
        share = number / totals[true]
        colour = S0 if true == answer else S1
        cell = axes.bar(answer, 1, 1, true - 0.5, color=colour, alpha=0.12 + 0.43 * share)[0]
        title = f"{names[true]} answered as {names[answer]}: {number:,} of {totals[true]:,}"
        canvas.mark(cell, title)
        text = axes.text(
            answer, true, short_count(number), color=FG, ha="center", va="center", size=8
        )
        canvas.mark(text, title)
    axes.set_xticks(range(size), shown, rotation=0 if _short(names) else 90)
    axes.set_yticks(range(size), shown)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xlabel="answer", ylabel="truth")
    axes.tick_params(length=0)
    right = sum(n for (true, answer), n in counts.items() if true == answer)
    return canvas.svg(f"Confusion matrix: {right:,} of {sum(totals):,} on the diagonal")


def class_bars(name: str, values: Sequence[tuple[str, float]]) -> str:
    """Draw one metric of each class, the worst first."""
    shown = sorted(values, key=lambda each: each[1])[:MAX_BARS]
    canvas = Canvas("classes", height_in=0.7 + 0.19 * len(shown))
    for row, (label, value) in enumerate(shown):
        bar = canvas.axes.barh(row, value * 100, 0.7, color=S2)[0]
        canvas.mark(bar, f"{label}: {name} {value:.1%}")
    canvas.axes.set_yticks(range(len(shown)), [_cut(label) for label, _ in shown])
    canvas.axes.tick_params(axis="y", length=0)
    canvas.axes.invert_yaxis()
    canvas.axes.set_xlim(0, 100)
    canvas.axes.set_xlabel(f"{name}, %")
    canvas.axes.grid(axis="x")
    return canvas.svg(f"{name} of {len(shown)} classes, the worst first")


def interval_bars(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Draw estimates (name, low, mid, high in ms), each as a span with its middle."""
    canvas = Canvas("estimate", height_in=0.7 + 0.4 * len(rows))
    for number, (name, low, mid, high) in enumerate(rows):
        title = f"{name}: {mid:.3g} ms, {low:.3g} to {high:.3g}"
        span = canvas.axes.barh(number, high - low, 0.5, left=low, color=S2, alpha=0.45)[0]
        canvas.mark(span, title)
        dot = canvas.axes.plot([mid], [number], "D", color=FG, ms=5)[0]
        canvas.mark(dot, title)
    canvas.axes.set_yticks(range(len(rows)), [_cut(name, 32) for name, *_ in rows])
    canvas.axes.tick_params(axis="y", length=0)
    canvas.axes.set(xlim=(0, None), ylim=(len(rows) - 0.5, -0.5), xlabel="ms, estimated")
    canvas.axes.grid(axis="x")
    texts = (f"{name} {mid:.3g} ms ({low:.3g} to {high:.3g})" for name, low, mid, high in rows)
    return canvas.svg("Estimated latency: " + "; ".join(texts))


def pareto_points(name: str, label: str, points: Sequence[Point]) -> str:
    """Draw trials by estimated latency and metric; those that no other beats are filled.

    Circles map completely, squares in part; the best one has a ring.
    """
    canvas = Canvas(name)
    undefeated = [each for each in points if not any(other.beats(each) for other in points)]
    for each in points:
        colour, shape = (S0, "o") if each.mapped == 1 else (S1, "s")
        fill = colour if each in undefeated else "none"
        dot = canvas.axes.plot(
            [each.latency_ms], [each.value], shape, color=colour, mfc=fill, ms=6, alpha=0.8
        )[0]
        title = f"{each.text}: {each.value:.4g}, {each.latency_ms:.3g} ms, {each.mapped:.0%} mapped"
        canvas.mark(dot, title)
        if each.is_best:
            ring = canvas.axes.plot(
                [each.latency_ms], [each.value], "o", color=FG, mfc="none", ms=12
            )[0]
            canvas.mark(ring, f"the best: {title}")
    canvas.axes.set_xlabel("ms of one inference, estimated")
    canvas.axes.locator_params(axis="x", nbins=_NUM_TICKS)
    canvas.axes.set_ylabel(label)
    canvas.axes.grid()
    return canvas.svg(
        f"{len(points)} trials by estimated latency and {label}; no other beats "
        f"{len(undefeated)} of them"
    )


def _as_text(timings: Sequence[Timing]) -> str:
    return "; ".join(
        f"{each.name} median {float(np.median(each.times_ms)):.4g} ms" for each in timings
    )


def _short(names: Sequence[str]) -> bool:
    return max(map(len, names), default=0) <= 2


def _cut(text: str, length: int = 18) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
