# SPDX-License-Identifier: Apache-2.0
"""Make the sections about results: accuracy, classes, latency, conversions, comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.evaluate.metrics import ERRORS, NO_SHARES
from edgekit.report.answers import VERDICTS, main_metric
from edgekit.report.charts import (
    MAX_MATRIX,
    MAX_SERIES,
    Timing,
    class_bars,
    confusion_matrix,
    interval_bars,
    latency_ecdf,
    latency_histogram,
    latency_series,
)
from edgekit.report.evidence import Document, Evidence
from edgekit.report.node import Node
from edgekit.report.subject import Subject
from edgekit.report.words import (
    file_name,
    metric,
    metric_between,
    metric_difference,
    metric_value,
    ms,
    share,
    size,
)

if TYPE_CHECKING:
    Row = tuple[str, ...]

_MAX_ROWS = 200
_MAX_MISTAKES = 12
_PERCENTILES = ("min", "p50", "p90", "p95", "p99")
_HEAD = ("model", *_PERCENTILES, "load", "first", "runs", "runtime")


@dataclass(frozen=True)
class Accuracy:
    """One evaluation."""

    heading: str
    details: tuple[str, ...]
    rows: tuple[Row, ...]  # metric, value, interval, other, difference, interval
    has_other: bool
    matrix: str
    mistakes: tuple[Row, ...]  # truth, answer, times
    classes: str
    class_rows: tuple[Row, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """All benchmarks and estimates."""

    head: Row
    rows: tuple[Row, ...]
    names: tuple[str, ...]  # of the series in the charts
    charts: tuple[str, ...]
    on_device: bool
    estimate_chart: str
    estimates: tuple[Node, ...]
    estimate_labels: tuple[str, ...]


def accuracies(evidence: Evidence, subject: Subject) -> list[Accuracy]:
    """Return every evaluation, the subject's first; only the first has charts."""
    documents = evidence.of("evaluate", subject.sha256)
    return [_accuracy(each.node, chart=number == 0) for number, each in enumerate(documents)]


def _accuracy(node: Node, *, chart: bool) -> Accuracy:
    counts = _confusion(node)
    num_classes = node.count("num_classes") or 0
    named = _class_names(node)
    has_matrix = chart and counts and 1 < num_classes <= MAX_MATRIX
    name, classes = _class_values(node, counts, named)
    mistakes = Counter({pair: n for pair, n in counts.items() if pair[0] != pair[1]})
    return Accuracy(
        heading=file_name(node.text("model")),
        details=tuple(_details(node)),
        rows=tuple(_metric_rows(node)),
        has_other=bool(node.at("against")),
        matrix=confusion_matrix(counts, [named(i) for i in range(num_classes)])
        if has_matrix
        else "",
        mistakes=tuple(
            (named(true), named(answer), f"{number:,}")
            for (true, answer), number in mistakes.most_common(_MAX_MISTAKES)
        ),
        classes=class_bars(metric(name, node.text("task")), classes)
        if chart and classes and not has_matrix and name not in NO_SHARES
        else "",
        class_rows=tuple(_class_rows(name, classes)),
        warnings=tuple(each.text() for each in node.entries("warnings")),
    )


def _details(node: Node) -> list[str]:
    found = [
        f"{node.text('task')} on {node.count('num_samples') or 0:,} samples",
        f"data {node.text('data', 'source')}" if node.text("data", "source") else "",
        f"preprocessing {node.text('data', 'preprocess')}"
        if node.text("data", "preprocess")
        else "",
        f"run on {node.text('device')}, {node.text('runtime')}",
    ]
    failed = node.count("num_failed")
    if failed:
        found.append(f"{failed:,} samples could not be read")
    quality = node.at("against", "quality")
    if quality.text("verdict") in VERDICTS:
        for output in quality.entries("outputs"):
            ratio = output.number("record", "centred_snr_db")
            found.append(
                f"output {output.text('record', 'name')}: {output.text('verdict')}"
                + ("" if ratio is None else f", {ratio:.1f} dB about its mean over the error")
            )
    not_numbers = node.count("num_nan")
    if not_numbers:
        found.append(f"{not_numbers:,} samples answered with NaN or infinity, counted as wrong")
    agreement = node.number("against", "agreement")
    if agreement is not None:
        found.append(f"same answer as the other model on {share(agreement, 2)}")
    return [each for each in found if each]


def _metric_rows(node: Node) -> list[Row]:
    rows = []
    for name, value in node.fields("metrics"):
        row = [
            metric(name, node.text("task")),
            metric_value(name, value.number()),
            metric_between(name, node.interval("metrics_ci95", name)),
        ]
        if node.at("against"):
            difference = node.number("against", "difference", name)
            row += [
                metric_value(name, node.number("against", "metrics", name)),
                metric_difference(name, difference) if difference is not None else "",
                metric_between(
                    name, node.interval("against", "difference_ci95", name), signed=True
                ),
            ]
        rows.append(tuple(row))
    return rows


def _confusion(node: Node) -> dict[tuple[int, int], int]:
    """Return (truth, answer) -> how often; entries of another form are left out."""
    counts = {}
    classes = node.count("num_classes") or 0
    for entry in node.entries("confusion"):
        numbers = [entry.count(place) for place in range(3)]
        true, answer, number = numbers
        if true is None or answer is None or not number or number < 0:
            continue
        if 0 <= true < classes and 0 <= answer < classes:
            counts[true, answer] = number
    return counts


def _class_names(node: Node) -> Callable[[int], str]:
    """Return a function from a class index to its name in the evaluation, else the index."""
    given = [each.text() for each in node.entries("class_names")]
    names = given if len(given) == node.count("num_classes") else []
    return lambda index: (names[index] if names else "") or str(index)


def _class_values(
    node: Node, counts: dict[tuple[int, int], int], named: Callable[[int], str]
) -> tuple[str, list[tuple[str, float]]]:
    """Return the metric of each class: the evaluation's, else the recall of its confusion."""
    per_class = list(node.fields("per_class"))
    if per_class:
        wanted = "ap" if node.text("task") == "multilabel" else main_metric(node)
        own = [name for name, value in per_class[0][1].fields() if value.number() is not None]
        name = wanted if wanted in own else own[0] if own else ""
        found = ((label, values.number(name)) for label, values in per_class)
        return name, [(label, value) for label, value in found if value is not None]
    totals: Counter[int] = Counter()
    for (true, _), number in counts.items():
        totals[true] += number
    recalls = [(named(i), counts.get((i, i), 0) / totals[i]) for i in sorted(totals)]
    return "recall", recalls


def _class_rows(name: str, classes: Sequence[tuple[str, float]]) -> list[Row]:
    ordered = sorted(classes, key=lambda each: each[1], reverse=name in ERRORS)[:_MAX_ROWS]
    return [(label, f"{metric(name)} {_class_value(name, value)}") for label, value in ordered]


def _class_value(name: str, value: float) -> str:
    return metric_value(name, value) if name in NO_SHARES else share(value)


def latency(evidence: Evidence, subject: Subject) -> Latency:
    """Return benchmarks as table and charts, and estimates separately."""
    documents = evidence.of("benchmark", subject.sha256)
    labels = _labels(documents)
    timings = [
        Timing(label, document.node.numbers("times_ms"))
        for label, document in zip(labels, documents, strict=True)
    ]
    timings = [each for each in timings if len(each.times_ms) > 1][:MAX_SERIES]
    drawn = (latency_histogram, latency_ecdf, latency_series) if timings else ()
    guesses = tuple(
        each.node
        for each in evidence.of("estimate", subject.sha256)
        if each.node.number("latency_ms", "mid") is not None
    )
    rows = [_timing_row(label, d.node) for label, d in zip(labels, documents, strict=True)]
    filled = [place for place in range(len(_HEAD)) if any(row[place] for row in rows)]
    return Latency(
        head=tuple(_HEAD[place] for place in filled),
        rows=tuple(tuple(row[place] for place in filled) for row in rows),
        names=tuple(each.name for each in timings),
        charts=tuple(draw(timings) for draw in drawn),
        on_device=any(each.node.text("device") not in {"", "cpu"} for each in documents),
        estimate_chart=_estimate_chart(guesses),
        estimates=guesses,
        estimate_labels=tuple(_guess_label(guess, guesses) for guess in guesses),
    )


def _labels(documents: Sequence[Document]) -> list[str]:
    """Return model and device, with a number after labels that would occur twice."""
    labels: list[str] = []
    for document in documents:
        node = document.node
        label = f"{file_name(node.text('model')) or document.path} on {node.text('device') or '?'}"
        same = sum(each == label or each.startswith(label + " (") for each in labels)
        labels.append(f"{label} ({same + 1})" if same else label)
    return labels


def _timing_row(label: str, node: Node) -> Row:
    numbers = [node.number("latency_ms", name) for name in _PERCENTILES]
    cells = ["" if number is None else ms(number) for number in numbers]
    how = ", ".join(part for part in (node.text("runtime"), node.text("kernels")) if part)
    ends = [ms(node.number(name)) for name in ("load_ms", "first_ms")]
    return (label, *cells, *ends, f"{node.count('runs') or 0:,}", how)


def _guess_label(guess: Node, guesses: Sequence[Node]) -> str:
    """Return the device of an estimate, with the model if there are several estimates."""
    model = file_name(guess.text("model"))
    return f"{model} on {guess.text('device')}" if len(guesses) > 1 else guess.text("device")


def _estimate_chart(guesses: Sequence[Node]) -> str:
    rows = []
    for guess in guesses:
        low, mid, high = (guess.number("latency_ms", name) for name in ("low", "mid", "high"))
        if low is not None and mid is not None and high is not None:
            name = _guess_label(guess, guesses)
            rows.append((name, low, mid, high))
    return interval_bars(rows) if rows else ""


def conversions(evidence: Evidence) -> list[Row]:
    """Return the conversions: model, mode, bytes, of the float model, agreement, Edge TPU."""
    takes = {
        entry.text("path"): "yes" if entry.flag("edge_tpu") else f"no: {entry.text('reason')}"
        for document in evidence.of("demo")
        for entry in document.node.entries("models")
    }
    rows: list[Row] = []
    for document in evidence.of("convert"):
        node = document.node
        ratio = node.number("ratio")
        same = node.numbers("agreement", "argmax")
        snr = node.numbers("agreement", "snr_db")
        rows.append(
            (
                file_name(node.text("output")),
                node.text("mode"),
                size(node.number("bytes")),
                f"{ratio:.2f}x smaller" if ratio is not None else "",
                share(min(same), 1) if same else "",
                f"{min(snr):.1f} dB" if snr else "",
                takes.get(node.text("output"), "yes" if node.flag("enforced") else ""),
            )
        )
    return rows


def comparisons(evidence: Evidence) -> list[Node]:
    """Return the results of `compare`."""
    return [document.node for document in evidence.of("compare")]
