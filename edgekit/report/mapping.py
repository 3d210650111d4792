# SPDX-License-Identifier: Apache-2.0
"""The sections about the chip: operators in order, memory, error per operator, issues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.edgetpu.chip import PARAMETER_CACHE_BYTES
from edgekit.report.charts import Store, error_lines, memory_bars
from edgekit.report.evidence import Evidence
from edgekit.report.node import Node
from edgekit.report.subject import Subject
from edgekit.report.verdict import ESTIMATED, PREDICTED, RECORDED, compiled_model, first
from edgekit.report.words import NOT_MEASURED

PLACES = {"tpu": "Edge TPU", "cpu": "CPU", "unknown": "unknown"}
MAX_OPERATORS = 1500
NO_ERROR = "none"
_SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class OperatorRow:
    """One operator of the ribbon and of the table."""

    index: int
    opcode: str
    layer: str
    place: str  # tpu | cpu | unknown
    reason: str
    fix: str
    source: str
    is_blocker: bool

    @property
    def place_name(self) -> str:
        """The name of the place where it runs."""
        return PLACES[self.place]


@dataclass(frozen=True)
class Operators:
    """The operators in the order of execution."""

    rows: tuple[OperatorRow, ...]
    num_left_out: int
    blocker: Node
    evidence: str
    note: str

    def count(self, place: str) -> int:
        """Return how many operators run there."""
        return sum(row.place == place for row in self.rows)


@dataclass(frozen=True)
class Memory:
    """The chip's memory, as a chart and as text."""

    chart: str
    stores: tuple[Store, ...]
    evidence: str
    note: str


@dataclass(frozen=True)
class LayerCause:
    """One cause that `debug` found."""

    place: str
    kind: str
    text: str
    advice: str
    command: str


@dataclass(frozen=True)
class LayerErrors:
    """The findings of `debug`."""

    chart: str
    rows: tuple[tuple[str, ...], ...]  # operator, isolated, accumulated, kinds
    causes: tuple[LayerCause, ...]


def operators(evidence: Evidence, subject: Subject) -> Operators | None:
    """Return the operators from `check`, else from a compiled file; None without either."""
    check = first(evidence, "check", subject)
    blocker = check.at("blocker")
    blocking = check.count("first_blocker")
    entries, how = check.entries("operators"), PREDICTED
    note = "as edgekit check predicts it from the file; the compiler decides"
    if not entries:
        inspected = first(evidence, "inspect", subject)
        entries = inspected.entries("source_operators") or inspected.entries("operators")
        how, note = RECORDED, "as the compiled file shows it"
    if not entries:
        return None
    rows = tuple(
        _row(number, entry, blocking) for number, entry in enumerate(entries[:MAX_OPERATORS])
    )
    return Operators(rows, len(entries) - len(rows), blocker, how, note)


def _row(number: int, entry: Node, blocking: int | None) -> OperatorRow:
    place = entry.text("verdict") or entry.text("place")
    index = entry.count("index")
    index = number if index is None else index
    return OperatorRow(
        index=index,
        opcode=entry.text("custom_code") or entry.text("opcode") or "?",
        layer=entry.text("layer"),
        place=place if place in PLACES else "unknown",
        reason=entry.text("reason"),
        fix=entry.text("fix"),
        source=entry.text("source"),
        is_blocker=index == blocking,
    )


def memory(evidence: Evidence, subject: Subject) -> Memory | None:
    """Return parameters from the compiler if it ran, else from `check`; and activations."""
    check, compiled = first(evidence, "check", subject), compiled_model(evidence, subject)
    cached, streamed = compiled.count("on_chip_bytes"), compiled.count("streamed_bytes")
    how, note = RECORDED, "parameters as the compiler reports them"
    room = check.count("cache_bytes") or PARAMETER_CACHE_BYTES
    if cached is None:
        cached, streamed = check.count("on_chip_bytes"), check.count("streamed_bytes")
        exact = check.flag("parameters_exact")
        how = PREDICTED if exact else ESTIMATED
        note = f"computed from the file, {'to the byte' if exact else 'about'}; not measured"
    inspected = first(evidence, "inspect", subject)
    if cached is None and inspected.entries("packages"):
        cached, streamed = inspected.count("cached_bytes"), inspected.count("streamed_bytes")
        how, note = RECORDED, "parameters as stored in the compiled file"
    stores = []
    if cached is not None:
        stores.append(
            Store("parameters", cached, streamed or 0, room, "streamed for every inference")
        )
    peak, space = check.count("activations", "peak_bytes"), check.count("activation_bytes")
    if peak is not None and space:
        over = max(0, peak - space)
        stores.append(Store("activations", min(peak, space), over, space, "beyond the chip"))
    return Memory(memory_bars(stores), tuple(stores), how, note) if stores else None


def layer_errors(evidence: Evidence, subject: Subject) -> LayerErrors | None:
    """Return each operator's signal to noise and the ranked causes; None without `debug`."""
    document = first(evidence, "debug", subject)
    entries = document.entries("operators")[:MAX_OPERATORS]
    isolated = [entry.number("isolated_snr_db") for entry in entries]
    accumulated = [entry.number("accumulated_snr_db") for entry in entries]
    if all(value is None for value in (*isolated, *accumulated)):
        return None
    names = [_named(entry) for entry in entries]
    chart = error_lines(names, isolated, accumulated)
    rows = tuple(
        (
            name,
            NO_ERROR if _copies(entry) else _db(alone),
            _db(along),
            ", ".join(kind.text() for kind in entry.entries("kinds")),
        )
        for name, alone, along, entry in zip(names, isolated, accumulated, entries, strict=True)
    )
    return LayerErrors(chart, rows, tuple(_cause(each) for each in document.entries("causes")))


def _cause(entry: Node) -> LayerCause:
    index, share = entry.count("index"), entry.number("share")
    place = f"operator {_named(entry)}"
    if index is None or index < 0:
        place = "the whole network" if index is None else f"the input {entry.text('name')}"
    if share is not None:
        place += f", {share:.0%} of the error"
    texts = (entry.text(name) for name in ("kind", "text", "advice", "command"))
    return LayerCause(place, *texts)


def issues(evidence: Evidence, subject: Subject) -> Sequence[Node] | None:
    """Return the problems, worst first, with fixes; None if they were not checked."""
    check = first(evidence, "check", subject)
    if not check:
        return None
    found = check.entries("issues")
    order = {name: place for place, name in enumerate(_SEVERITIES)}
    return sorted(found, key=lambda each: order.get(each.text("severity"), len(order)))


def _copies(entry: Node) -> bool:
    """Whether an operator only copies or moves codes."""
    return entry.number("isolated_rmse_over_scale") == 0


def _db(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.1f} dB"


def _named(entry: Node) -> str:
    return f"{entry.count('index')} {entry.text('opcode')} {entry.text('name')}".strip()
