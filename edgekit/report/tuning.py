# SPDX-License-Identifier: Apache-2.0
"""Make the section about `tune`: every trial, and which ones no other beats in all respects."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.evaluate.metrics import ERRORS
from edgekit.report.charts import Point, pareto_points
from edgekit.report.evidence import Evidence
from edgekit.report.node import Node
from edgekit.report.words import metric, metric_value, ms

_SNR_DB = "snr_db"
_MAX_ROWS = 200
_OUTCOMES = {
    "met": "within the budget",
    "not_met": "outside the budget, but better than convert's defaults",
    "nothing_better": "outside the budget, and nothing better than convert's defaults was found",
}


@dataclass(frozen=True)
class Tuning:
    """One search."""

    heading: str
    outcome: str
    details: tuple[str, ...]
    chart: str  # empty if fewer than two trials have a score
    reported: tuple[tuple[str, ...], ...]  # model, score, drop, signal to noise
    rows: tuple[tuple[str, ...], ...]  # trial, what, score, drop, signal to noise, maps, latency


def tunings(evidence: Evidence) -> list[Tuning]:
    """Return every search."""
    return [_tuning(each.node, number) for number, each in enumerate(evidence.of("tune"))]


def _tuning(node: Node, number: int) -> Tuning:
    trials = node.entries("trials")[:_MAX_ROWS]
    best = node.count("best")
    points = [point for each in trials if (point := _point(each, best)) is not None]
    measure = next((each.text("score", "measure") for each in trials if each.at("score")), "")
    chart = ""
    if len(points) > 1:
        chart = pareto_points(f"pareto-{number}", _label(measure), points)
    return Tuning(
        heading=node.text("source"),
        outcome=_OUTCOMES.get(node.text("outcome"), node.text("outcome")),
        details=tuple(_details(node)),
        chart=chart,
        reported=tuple(
            (each.text("name"), *_score(each.at("score"))) for each in node.entries("reported")
        ),
        rows=tuple(_row(each, best) for each in trials),
    )


def _details(node: Node) -> list[str]:
    budget = node.number("max_drop")
    return [
        f"budget: a drop of {budget:g}" if budget is not None else "",
        f"{node.count('num_search') or 0:,} samples chose, "
        f"{node.count('num_report') or 0:,} others show what the best one reaches",
        f"recipe {node.text('recipe_file')}",
    ]


def _row(trial: Node, best: int | None) -> tuple[str, ...]:
    number = trial.count("number")
    name = f"{number}{' (best)' if number == best else ''}"
    if not trial.at("score"):
        return (name, trial.text("step"), f"no model: {trial.text('problem')}", "", "", "", "")
    mapped = trial.at("mapped")
    share = f"{mapped.count('num_mapped')} of {mapped.count('num_operators')}"
    score = _score(trial.at("score"))
    return (name, trial.text("step"), *score, share, ms(mapped.number("estimated_ms")))


def _score(score: Node) -> tuple[str, str, str]:
    name, value, drop = score.text("measure"), score.number("value"), score.number("drop")
    ratio = score.number("snr_db")
    text = f"{value:.1f} dB" if name == _SNR_DB and value is not None else ""
    return (
        text or f"{metric(name)} {metric_value(name, value)}",
        "" if drop is None else f"{drop:.2f}",
        "" if ratio is None else f"{ratio:.1f} dB",
    )


def _point(trial: Node, best: int | None) -> Point | None:
    score, mapped = trial.at("score"), trial.at("mapped")
    value, latency = score.number("value"), mapped.number("estimated_ms")
    done, total = mapped.number("num_mapped"), mapped.number("num_operators")
    if value is None or latency is None or done is None or not total:
        return None
    name = score.text("measure")
    is_share = name not in ERRORS and name != _SNR_DB
    return Point(
        text=f"trial {trial.count('number')}: {trial.text('step')}",
        latency_ms=latency,
        value=value * 100 if is_share else value,
        mapped=done / total,
        is_best=trial.count("number") == best,
        is_error=name in ERRORS,
    )


def _label(measure: str) -> str:
    if measure == _SNR_DB:
        return "signal to noise, dB"
    return metric(measure) if measure in ERRORS else f"{metric(measure)}, %"
