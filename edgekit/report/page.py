# SPDX-License-Identifier: Apache-2.0
"""``edgekit report``: make one self-contained HTML file from a run folder."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from edgekit import files
from edgekit.errors import OutputError
from edgekit.extras import require
from edgekit.report import mapping, pictures, provenance, quality, tuning, words
from edgekit.report.evidence import Document, Evidence, FoundFile, gather
from edgekit.report.node import printable
from edgekit.report.subject import COMPUTED, Subject, complete, find_subject
from edgekit.report.verdict import Verdict, judge
from edgekit.result import Result

MAX_BYTES = 6_000_000
_DATA_BUDGET_BYTES = 1_500_000
_LOG_BUDGET_CHARS = 300_000
_MAX_REMARKS = 50
# Sections that the command line mentions if they are empty.
_REPORTED = (
    "operators",
    "memory",
    "layer_errors",
    "latency",
    "accuracy",
    "pictures",
    "compiler_log",
)
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class UsedDocument(Result):
    """A JSON document that the report uses."""

    path: str  # in the folder, or "computed for this report"
    schema_name: str
    model: str
    in_page: bool  # whether all of it is in the page's data


@dataclass(frozen=True)
class ReportResult(Result):
    """The written file, and its first screen; ``edgekit.report/1``."""

    schema: ClassVar[str] = "edgekit.report/1"
    folder: str
    output: str
    bytes: int
    model: str
    sha256: str
    verdict: Verdict
    missing: tuple[str, ...]  # sections without data
    documents: tuple[UsedDocument, ...]
    remarks: tuple[str, ...]  # what could not be used, and why


def report(
    folder: files.PathLike,
    output: files.PathLike | None = None,
    *,
    model: str | None = None,
) -> ReportResult:
    """Write one offline HTML file about everything in a run folder.

    Documents are recognized by their ``schema``, anywhere in the folder. If results of `check` and
    `estimate` are missing, they are computed here. The page names files that cannot be read.

    Args:
        folder: Results of edgekit as JSON, models, pictures, the compiler's log.
        output: The HTML file; ``report.html`` in the folder by default.
        model: The model in the folder to report on; None chooses the one of the results.

    Raises:
        InputError: It is not a folder, does not contain anything to report on, or lacks ``model``.
        OutputError: The file cannot be written.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    target = Path(folder, "report.html") if output is None else Path(output)
    for module in ("jinja2", "matplotlib"):
        require(module, extra="report", purpose="make the report")
    evidence = gather(folder, skip=target)
    read = [path for path in Path(folder).rglob("*") if path.suffix != target.suffix]
    files.refuse_overwriting(target, folder, *(read if target.exists() else ()))
    files.check_writable(target)
    subject = find_subject(evidence, model)
    complete(evidence, subject)
    verdict = judge(evidence, subject)
    sections = _sections(evidence, subject)
    documents, kept = _documents(evidence.documents)
    result = ReportResult(
        folder=printable(str(folder)),
        output=str(target),
        bytes=0,
        model=subject.name,
        sha256=subject.sha256,
        verdict=verdict,
        missing=tuple(name for name in _REPORTED if sections[name] in (None, [])),
        documents=documents,
        remarks=tuple(evidence.remarks[:_MAX_REMARKS]),
    )
    page = _render(result, sections, evidence, _data(result, kept)).encode()
    if len(page) > MAX_BYTES:
        raise OutputError(
            f"the report would have {len(page):,} bytes, at most {MAX_BYTES:,} are allowed",
            where=str(target),
            fix="report on a folder with fewer results",
        )
    files.write_bytes(target, page)
    return replace(result, bytes=len(page))


def _sections(evidence: Evidence, subject: Subject) -> dict[str, Any]:
    """Return the content of each section; empty or None if there are no data."""
    shown, num_left_out = pictures.pictures(evidence)
    latency = quality.latency(evidence, subject)
    return {
        "operators": mapping.operators(evidence, subject),
        "memory": mapping.memory(evidence, subject),
        "layer_errors": mapping.layer_errors(evidence, subject),
        "latency": latency if latency.rows or latency.estimates else None,
        "accuracy": quality.accuracies(evidence, subject),
        "pictures": (shown, num_left_out) if shown else None,
        "answers": pictures.answers(evidence),
        "conversions": quality.conversions(evidence),
        "tunings": tuning.tunings(evidence),
        "comparisons": quality.comparisons(evidence),
        "compiler_log": _logs(evidence),
        "issues": mapping.issues(evidence, subject),
        "commands": provenance.commands(evidence),
        "versions": provenance.versions(evidence),
    }


def _logs(evidence: Evidence) -> list[tuple[str, str, bool]]:
    """Return (source, text, cut) of the compiler's output, each text once, within a budget."""
    found: list[tuple[str, str, bool]] = []
    compiled = [(each.path, each.node.text("log")) for each in evidence.of("compile")]
    left = _LOG_BUDGET_CHARS
    for where, text in [*compiled, *evidence.logs]:
        if text.strip() and all(text.strip() != other.strip() for _, other, _ in found):
            found.append((where, text[:left], len(text) > left))
            left -= len(found[-1][1])
    return found


def _documents(documents: list[Document]) -> tuple[tuple[UsedDocument, ...], dict[str, Any]]:
    """Return the list of documents, and those that fit into the page's data, small ones first."""
    sized = [(len(json.dumps(each.body)), each) for each in documents]
    kept, left = set(), _DATA_BUDGET_BYTES
    for num_bytes, document in sorted(sized, key=lambda each: each[0]):
        if num_bytes <= left:
            kept.add(id(document))
            left -= num_bytes
    bodies: dict[str, Any] = {}
    for document in documents:
        if id(document) in kept and not document.nested:
            name = f"{document.kind}, {COMPUTED}" if document.path == COMPUTED else document.path
            bodies[name] = document.body
    used = tuple(
        UsedDocument(
            each.path,
            f"{each.body['schema']}" + (" inside another document" if each.nested else ""),
            words.file_name(each.node.text("model") or each.node.text("output")),
            id(each) in kept,
        )
        for each in documents
    )
    return used, bodies


def _data(result: ReportResult, bodies: dict[str, Any]) -> str:
    """Return the page's data as JSON that cannot end its ``<script>`` element."""
    report_fields = {
        key: value for key, value in result.to_dict().items() if key not in {"output", "bytes"}
    }
    data = {"schema": "edgekit.report-data/1", "report": report_fields, "documents": bodies}
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _render(result: ReportResult, sections: dict[str, Any], evidence: Evidence, data: str) -> str:
    jinja2 = require("jinja2", extra="report", purpose="write the report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("size", "share", "ms", "file_name", "plural"):
        environment.filters[name] = getattr(words, name)
    found: list[FoundFile] = evidence.files
    safe = jinja2.filters.do_mark_safe
    text: str = environment.get_template("report.html.j2").render(
        result=result,
        title=words.file_name(result.model) or printable(evidence.folder.resolve().name),
        verdict=result.verdict,
        found=found,
        data=safe(data),
        style=safe((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        svg=safe,
        report_command=shlex.join(["edgekit", "report", result.folder]),
        **sections,
    )
    return text
