# SPDX-License-Identifier: Apache-2.0
"""Turn reports into evidence: what a chip ran as the emulator does counts as seen.

What can be computed here is not taken from a report: its programs are compiled again, and their
outputs are computed by the emulator. That a chip ran them cannot be computed; the report names the
library and the hardware, and its seal only finds damage.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, ClassVar, Iterator, Mapping, NamedTuple, Sequence

from edgekit import files
from edgekit.bundle.signing import public_key_of
from edgekit.chip.vocabulary import (
    EvidenceReport,
    UserEvidence,
    Vocabulary,
    evidence_file,
    read_evidence,
    rules_in,
)
from edgekit.chip.vocabulary.rules import rules_id
from edgekit.confirm.ladder import Rung, ladder_size, make_rung
from edgekit.confirm.report import (
    EDGE_TPU,
    FAILED,
    MATCH,
    ConfirmReport,
    RungRun,
    report_from,
)
from edgekit.confirm.seal import check_seal
from edgekit.errors import InputError, OutputError
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.formats.json_text import parse_json
from edgekit.result import Result
from edgekit.runtime.probe import DOING
from edgekit.runtime.probe_child import PREPARED, RAN

IMPORTED, KNOWN = "imported", "known"
# How libedgetpu's build begins its version text; one without a compiler was not built by it.
_BUILD = re.compile(r"BuildLabel\(COMPILER=.+\), RuntimeVersion\(\d+\)")
_LOCK_S = 30.0  # how long another import may hold the file


@dataclass(frozen=True)
class ImportedReport(Result):
    """What one report contributed."""

    path: str  # the report
    sha256: str  # its seal, which names it in the evidence
    status: str  # imported | known: it was imported before
    date: str  # of the run, ISO 8601
    device: str  # "usb 18d1:9302 at 2-1"
    library: str  # the build label of libedgetpu
    signed_by: str  # fingerprint of the key; empty if it is not signed
    matched: tuple[int, ...]  # numbers of rungs that the chip computed as the emulator does
    failed: tuple[int, ...]  # that it computed differently or did not finish
    skipped: tuple[str, ...]  # rungs that are not evidence, with the reason


@dataclass(frozen=True)
class ImportResult(Result):
    """The evidence after an import."""

    schema: ClassVar[str] = "edgekit.confirm-import/1"
    evidence: str  # the file
    reports: tuple[ImportedReport, ...]  # as they were given
    newly_confirmed: tuple[str, ...]  # unseen forms, level patterns and orders that now are trusted
    contradicted: tuple[str, ...]  # texts that a report confirms and another one suspects
    num_trusted: int  # forms, level patterns and orders outside Google's programs that are trusted
    num_suspects: int  # those of programs that failed
    kept: str = ""  # where evidence of another vocabulary was put; empty if there was none


@dataclass(frozen=True)
class _Read:
    """A report that may be evidence."""

    path: str
    report: ConfirmReport
    signed_by: str


class _Judged(NamedTuple):
    """The rungs that matched, those that failed, and why others are neither."""

    matched: tuple[int, ...]
    failed: tuple[int, ...]
    skipped: tuple[str, ...]


OnRung = Callable[[int, int], None]  # rungs made again, and their number


def _ignore(_done: int, _number: int) -> None:
    """Progress is not shown."""


def import_reports(
    paths: Sequence[files.PathLike],
    *,
    evidence: files.PathLike | None = None,
    verify_key: files.PathLike | None = None,
    on_rung: OnRung = _ignore,
) -> ImportResult:
    """Check reports of `confirm` and add them to the evidence that the compiler reads.

    A report that was imported before changes nothing. If one of ``paths`` is refused, the evidence
    is unchanged.

    Args:
        paths: The reports.
        evidence: The file to write; None writes this user's, see `evidence_file`.
        verify_key: A file with an Ed25519 public key: each report has to be signed by its owner.
        on_rung: Called after each rung that was made again.

    Raises:
        InputError: A report is damaged, was edited, is not from an Edge TPU, has none of this
            version's programs, or is not signed by the owner of ``verify_key``.
        OutputError: The evidence cannot be written.
        MissingExtraError: A signature is to be checked, and cryptography is not installed.
    """
    target = Path(evidence) if evidence is not None else evidence_file()
    read = [_read_report(path) for path in paths]
    for each in read:
        _require_chip(each)
        _require_signer(each, verify_key)
    rungs = _made_again([rung.number for each in read for rung in each.report.rungs], on_rung)
    judged = [_judge(each, rungs) for each in read]
    seen = frozenset(Vocabulary.load().entries)
    files.make_folder(target.parent)
    with _locked(target):
        kept = _set_aside(target)
        before = after = read_evidence(target)
        reports = []
        for each, found in zip(read, judged):
            reports.append(_describe(each, found, after))
            right, wrong = (_texts(rungs, numbers) for numbers in (found.matched, found.failed))
            programs = tuple(rungs[number].entry.program_sha256 for number in found.matched)
            # What works in another program of the same chip is not what went wrong.
            after = after.with_report(_source(each, programs), right, wrong - right - seen)
        if after != before:
            files.write_text(target, after.to_json())
    new = (after.trusted - before.trusted) - seen
    return ImportResult(
        evidence=str(target),
        reports=tuple(reports),
        newly_confirmed=tuple(sorted(new)),
        contradicted=tuple(sorted(set(after.confirmed) & set(after.suspects))),
        num_trusted=len(after.trusted - seen),
        num_suspects=len(after.suspects),
        kept=kept,
    )


def _read_report(path: files.PathLike) -> _Read:
    content = files.read_bytes(path, "report", files.MOST_TEXT_BYTES)
    try:
        document = parse_json(content)
        report = report_from(document)
        signed_by = check_seal(document, str(path))
    except (*JSON_DAMAGE, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            "the file is not a report of edgekit confirm",
            where=str(path),
            why=reason_of(error),
            fix="name the file that edgekit confirm wrote (edgekit-confirm.json)",
            code="confirm.report",
        ) from error
    return _Read(str(path), report, signed_by)


def _require_chip(read: _Read) -> None:
    device = read.report.device
    why = ""
    if device.kind != EDGE_TPU or not read.report.is_evidence:
        why = "software ran the programs (--device emulator), not a chip"
    elif not _BUILD.fullmatch(device.library):
        why = f"its library is not a build of libedgetpu: {device.library or 'without a version'}"
    elif not device.hardware:
        why = "the machine did not list an Edge TPU on USB or PCIe"
    elif not read.report.rungs:
        why = "no rung was run"
    if why:
        raise InputError(
            "the report is not evidence",
            where=read.path,
            why=why,
            fix="run edgekit confirm on a machine with an Edge TPU",
            code="confirm.no_chip",
        )


def _require_signer(read: _Read, key: files.PathLike | None) -> None:
    if key is None or read.signed_by == files.sha256_hex(public_key_of(key)):
        return
    signed = f"it is signed by {read.signed_by}" if read.signed_by else "it is not signed"
    raise InputError(
        "the report is not signed by the owner of this key",
        where=f"{read.path}, {key}",
        why=signed,
        fix="edgekit confirm --sign KEY signs a report; import without --verify-key accepts any",
        code="confirm.signature",
    )


def _made_again(numbers: Sequence[int], on_rung: OnRung) -> Mapping[int, Rung]:
    wanted = sorted({number for number in numbers if 1 <= number <= ladder_size()})
    rungs = {}
    for done, number in enumerate(wanted, 1):
        rungs[number] = make_rung(number)
        on_rung(done, len(wanted))
    return rungs


def _judge(read: _Read, rungs: Mapping[int, Rung]) -> _Judged:
    matched, failed, skipped = [], [], []
    for run in read.report.rungs:
        verdict = _verdict(run, rungs.get(run.number))
        if verdict == MATCH:
            matched.append(run.number)
        elif verdict == FAILED:
            failed.append(run.number)
        else:
            skipped.append(f"rung {run.number}: {verdict}")
    if not matched and not failed:
        raise InputError(
            "the report is not evidence for this version of edgekit",
            where=read.path,
            why="; ".join(skipped[:3]),
            fix=f"import it with edgekit {read.report.edgekit}, which made it",
            code="confirm.other_version",
        )
    return _Judged(tuple(matched), tuple(failed), tuple(skipped))


def _verdict(run: RungRun, rung: Rung | None) -> str:
    """Return match or failed, from the hashes alone, or why the rung is not evidence."""
    if rung is None:
        return "this version does not have it"
    if run.program_sha256 != rung.entry.program_sha256:
        return "this version makes another program"
    expected = [(each.kind, each.sha256, each.expected_sha256) for each in rung.entry.inputs]
    if [(each.kind, each.sha256, each.expected_sha256) for each in run.inputs] != expected:
        return "its inputs or expected outputs are not those of this version"
    got = [each.got_sha256 for each in run.inputs]
    if any(hashed not in {"", each.expected_sha256} for hashed, each in zip(got, run.inputs)):
        return FAILED
    if run.verdict == MATCH and all(got):
        return MATCH
    if run.stage in {DOING[PREPARED], DOING[RAN]}:
        return FAILED  # it stalled, crashed or was lost while the program ran
    return f"the device did not run it: {run.verdict} while {run.stage or 'running'}"


def _source(read: _Read, programs: tuple[str, ...]) -> EvidenceReport:
    report = read.report
    device = ", ".join(report.device.hardware)
    return EvidenceReport(report.seal, report.date, device, read.signed_by, programs)


def _set_aside(target: Path) -> str:
    """Rename evidence whose texts were made under other rules; return its new name, or "".

    Its texts cannot be compared with today's, and its reports can be imported again.
    """
    rules = rules_in(target)
    if rules in {"", rules_id()}:
        return ""
    place = target.with_name(f"{target.stem}.{rules}{target.suffix}")
    try:
        target.replace(place)
    except OSError as error:
        raise files.output_error(place, error) from error
    return str(place)


def _texts(rungs: Mapping[int, Rung], numbers: Sequence[int]) -> frozenset[str]:
    """Return all texts of some rungs."""
    return frozenset(text for number in numbers for text in rungs[number].texts)


def _describe(read: _Read, found: _Judged, before: UserEvidence) -> ImportedReport:
    report = read.report
    known = any(each.sha256 == report.seal for each in before.reports)
    return ImportedReport(
        path=read.path,
        sha256=report.seal,
        status=KNOWN if known else IMPORTED,
        date=report.date,
        device=", ".join(report.device.hardware),
        library=report.device.library,
        signed_by=read.signed_by,
        matched=found.matched,
        failed=found.failed,
        skipped=found.skipped,
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file that is read, changed and written; another process waits.

    Raises:
        OutputError: Another process holds it for half a minute, or the folder is read-only.
    """
    place = path.with_name(f"{path.name}.lock")
    deadline = time.monotonic() + _LOCK_S
    try:
        with place.open("a", encoding="utf-8") as stream:
            while not files.try_lock(stream):
                if time.monotonic() > deadline:
                    raise OutputError(
                        f"{path.name} is in use by another import",
                        where=str(place),
                        fix="wait until it has ended, then repeat the command",
                    )
                time.sleep(0.05)
            yield
    except OSError as error:
        raise files.output_error(place, error) from error
