# SPDX-License-Identifier: Apache-2.0
"""Reports become evidence if a chip made them, and evidence changes what the compiler writes."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from edgekit.chip.vocabulary import EVIDENCE_VARIABLE, UserEvidence, read_evidence
from edgekit.confirm import ConfirmOptions, ConfirmReport, ImportResult, import_reports
from edgekit.confirm.recipes import RECIPES
from edgekit.confirm.report import MATCH, MISMATCH, InputRun, report_from
from edgekit.confirm.run import run_ladder
from edgekit.confirm.seal import sealed
from edgekit.doctor.machine import Machine
from edgekit.errors import InputError
from edgekit.opencompiler import NotCompiledError, compile_program
from tests.confirm.conftest import NUMBERS, Short

_NEW = 29  # the first rung with an unseen form


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The evidence that the compiler reads; does not exist yet."""
    path = tmp_path / "data" / "evidence.json"
    monkeypatch.setenv(EVIDENCE_VARIABLE, str(path))
    return path


@pytest.fixture
def report(honest: str, tmp_path: Path) -> Path:
    """A report of a chip that matched on all rungs."""
    path = tmp_path / "honest.json"
    path.write_text(honest)
    return path


def _changed(source: Path, change: Callable[[ConfirmReport], ConfirmReport]) -> Path:
    """A report with a right seal that says something else."""
    made = report_from(json.loads(source.read_text()))
    path = source.with_name(f"changed-{len(list(source.parent.iterdir()))}.json")
    path.write_text(sealed(change(made)).to_json())
    return path


def _failed(source: Path, number: int) -> Path:
    """The report of a chip that computed rung ``number`` differently, and stopped there."""

    def change(made: ConfirmReport) -> ConfirmReport:
        index = NUMBERS.index(number)
        run = made.rungs[index]
        wrong: InputRun = replace(run.inputs[0], got_sha256="0" * 64)
        failed = replace(run, verdict=MISMATCH, inputs=(wrong, *run.inputs[1:]))
        return replace(made, rungs=(*made.rungs[:index], failed), ended=MISMATCH)

    return _changed(source, change)


def _compiles() -> bool:
    """Whether the default policy writes the program with the unseen form."""
    try:
        compile_program(RECIPES[_NEW - 1].model(), allow_unseen=False, verified=False)
    except NotCompiledError as refused:
        return refused.code != "compiler.unseen"
    return True


def test_a_confirmed_form_is_compiled_by_default(report: Path, evidence: Path) -> None:
    assert not _compiles()
    result = import_reports([report])
    assert result.evidence == str(evidence)
    (imported,) = result.reports
    assert (imported.status, imported.matched, imported.failed) == ("imported", NUMBERS, ())
    assert imported.device == "usb 18d1:9302 at 2-1"
    assert len(result.newly_confirmed) == result.num_trusted > 2
    assert _compiles()


def test_the_same_report_counts_once(report: Path, evidence: Path) -> None:
    first = import_reports([report, report])
    assert [each.status for each in first.reports] == ["imported", "known"]
    content = evidence.read_bytes()
    again = import_reports([report])
    assert (again.reports[0].status, again.newly_confirmed) == ("known", ())
    assert evidence.read_bytes() == content


def test_a_mismatch_of_someone_keeps_the_form_unseen(report: Path, evidence: Path) -> None:
    assert evidence.parent.exists() is False
    import_reports([report])
    result = import_reports([_failed(report, _NEW)])
    assert result.reports[0].failed == (_NEW,)
    assert result.contradicted
    assert not _compiles()
    assert len(read_evidence(evidence).reports) == 2


def test_a_mismatch_is_kept_when_another_chip_matches(report: Path, evidence: Path) -> None:
    assert str(evidence)
    import_reports([_failed(report, _NEW)])
    result = import_reports([report])
    assert result.contradicted
    assert not _compiles()


def test_what_works_in_other_programs_of_the_chip_is_not_suspected(
    report: Path, evidence: Path
) -> None:
    result = import_reports([_failed(report, 30)])
    assert result.reports[0].matched == (12, 13, 29)
    assert _compiles()
    assert read_evidence(evidence).suspects


@pytest.mark.parametrize(
    "change",
    [
        lambda made: replace(made, is_evidence=False),
        lambda made: replace(made, device=replace(made.device, kind="emulator")),
        lambda made: replace(made, device=replace(made.device, hardware=())),
        lambda made: replace(
            made, device=replace(made.device, library="BuildLabel(stand-in), RuntimeVersion(14)")
        ),
        lambda made: replace(made, device=replace(made.device, library="")),
        lambda made: replace(made, rungs=()),
    ],
    ids=["dry run", "emulator", "no hardware", "stand-in", "no version", "no rung"],
)
def test_a_report_without_a_chip_is_refused(
    report: Path, evidence: Path, change: Callable[[ConfirmReport], ConfirmReport]
) -> None:
    with pytest.raises(InputError) as refused:
        import_reports([report, _changed(report, change)])
    assert refused.value.code == "confirm.no_chip"
    assert not evidence.exists()


def test_a_dry_run_is_refused(short: Short, tmp_path: Path, evidence: Path) -> None:
    path = tmp_path / "dry.json"
    run_ladder(path, ConfirmOptions(device="emulator", ladder=short.folder, last=1))
    with pytest.raises(InputError) as refused:
        import_reports([path])
    assert refused.value.code == "confirm.no_chip"
    assert not evidence.exists()


def _edit(document: dict[str, Any]) -> None:
    document["rungs"][2]["inputs"][0]["got_sha256"] = "1" * 64


def _add(document: dict[str, Any]) -> None:
    document["rungs"][2]["more"] = 1


@pytest.mark.parametrize("edit", [_edit, _add])
def test_an_edited_report_is_refused(
    report: Path, evidence: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    document = json.loads(report.read_text())
    edit(document)
    report.write_text(json.dumps(document))
    with pytest.raises(InputError) as refused:
        import_reports([report])
    assert refused.value.code == "confirm.seal"
    assert not evidence.exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema": "edgekit.confirm/2"}', '{"schema": "edgekit.confirm/1"}', "NaN"],
)
def test_another_file_is_refused(tmp_path: Path, evidence: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError) as refused:
        import_reports([path])
    assert refused.value.code == "confirm.report"
    assert not evidence.exists()


def test_other_programs_are_not_evidence(report: Path, evidence: Path) -> None:
    def change(made: ConfirmReport) -> ConfirmReport:
        return replace(
            made, rungs=tuple(replace(each, program_sha256="2" * 64) for each in made.rungs)
        )

    with pytest.raises(InputError) as refused:
        import_reports([_changed(report, change)])
    assert refused.value.code == "confirm.other_version"
    assert not evidence.exists()


def test_only_rungs_of_this_version_are_evidence(report: Path, evidence: Path) -> None:
    assert str(evidence)

    def change(made: ConfirmReport) -> ConfirmReport:
        other = replace(made.rungs[0], program_sha256="2" * 64)
        missing = replace(made.rungs[1], number=99)
        expected = replace(made.rungs[3].inputs[0], expected_sha256="3" * 64, got_sha256="3" * 64)
        own = replace(made.rungs[3], inputs=(expected, *made.rungs[3].inputs[1:]))
        return replace(made, rungs=(other, missing, made.rungs[2], own, made.rungs[4]))

    (imported,) = import_reports([_changed(report, change)]).reports
    assert imported.matched == (29, 31)
    assert [each.split(":")[0] for each in imported.skipped] == ["rung 12", "rung 99", "rung 30"]


def test_hashes_count_and_not_the_verdict(report: Path, evidence: Path) -> None:
    assert str(evidence)

    def change(made: ConfirmReport) -> ConfirmReport:
        wrong = replace(made.rungs[2].inputs[1], got_sha256="4" * 64)
        inputs = (made.rungs[2].inputs[0], wrong, *made.rungs[2].inputs[2:])
        lied = replace(made.rungs[2], verdict=MATCH, inputs=inputs)
        none = tuple(replace(each, got_sha256="") for each in made.rungs[3].inputs)
        empty = replace(made.rungs[3], verdict=MATCH, inputs=none)
        return replace(made, rungs=(*made.rungs[:2], lied, empty))

    (imported,) = import_reports([_changed(report, change)]).reports
    assert (imported.matched, imported.failed) == ((12, 13), (29,))


@pytest.mark.parametrize("kind", ["STANDIN_HANG", "STANDIN_CRASH"])
def test_a_program_that_does_not_end_is_suspected(
    short: Short,
    library: Path,
    machine: Machine,
    tmp_path: Path,
    evidence: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    assert library.is_file()
    monkeypatch.setenv(kind, "invoke")
    monkeypatch.setenv("STANDIN_AT", short.program(2))
    path = tmp_path / "failed.json"
    run_ladder(path, ConfirmOptions(ladder=short.folder, timeout_s=2.0), machine=machine)
    result = import_reports([path])
    assert result.reports[0].failed == (_NEW,)
    assert result.num_suspects > 0
    assert read_evidence(evidence).suspects


def test_two_imports_at_once_keep_both(report: Path, evidence: Path) -> None:
    def on_day(day: int) -> Path:
        return _changed(report, lambda made: replace(made, date=f"2026-12-{day:02d}"))

    paths = [on_day(day) for day in (1, 2, 3)]

    def run(path: Path) -> ImportResult:
        return import_reports([path])

    with ThreadPoolExecutor(len(paths)) as pool:
        results = list(pool.map(run, paths))
    assert all(each.reports[0].status == "imported" for each in results)
    assert len(read_evidence(evidence).reports) == len(paths)


def test_evidence_can_be_in_another_file(report: Path, evidence: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    import_reports([report], evidence=other)
    assert not evidence.exists()
    assert read_evidence(other).trusted


def test_evidence_of_another_vocabulary_is_kept(report: Path, evidence: Path) -> None:
    evidence.parent.mkdir()
    old = UserEvidence("of-old", confirmed={"fence": ("x",)}).to_json()
    evidence.write_text(old)
    result = import_reports([report])
    assert result.kept == str(evidence.with_name("evidence.of-old.json"))
    assert Path(result.kept).read_text() == old
    assert read_evidence(evidence).trusted


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public key."""
    pytest.importorskip("cryptography")
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    for command in (
        ["genpkey", "-algorithm", "ed25519", "-out", str(private)],
        ["pkey", "-in", str(private), "-pubout", "-out", str(public)],
    ):
        subprocess.run(["openssl", *command], check=True)
    return private, public


def test_a_signature_names_who_vouches(
    report: Path, evidence: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    made = report_from(json.loads(report.read_text()))
    report.write_text(sealed(made, private).to_json())
    (imported,) = import_reports([report], verify_key=public).reports
    assert len(imported.signed_by) == 64
    assert read_evidence(evidence).reports[0].signed_by == imported.signed_by


def test_a_report_without_the_wanted_signature_is_refused(
    report: Path, evidence: Path, keys: tuple[Path, Path]
) -> None:
    with pytest.raises(InputError) as refused:
        import_reports([report], verify_key=keys[1])
    assert refused.value.code == "confirm.signature"
    assert not evidence.exists()


def test_a_signature_of_other_content_is_refused(
    report: Path, evidence: Path, keys: tuple[Path, Path]
) -> None:
    made = report_from(json.loads(report.read_text()))
    signed = sealed(made, keys[0])
    edited = sealed(replace(signed, date="2026-01-01"), keys[0])
    report.write_text(replace(edited, signature=signed.signature).to_json())
    with pytest.raises(InputError) as refused:
        import_reports([report])
    assert refused.value.code == "confirm.seal"
    assert not evidence.exists()
