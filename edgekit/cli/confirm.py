# SPDX-License-Identifier: Apache-2.0
"""``edgekit confirm``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Optional

import typer
from typing_extensions import Annotated

from edgekit.cli.options import RuntimeOption
from edgekit.cli.output import JsonOption, emit, note, progress, table
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.confirm import ConfirmReport, ImportResult, Ladder
    from edgekit.confirm.report import RungRun

_MATCH = "match"
_IMPORT, _WRITE = "import_", "write"
# The options that each way to use the command reads.
_OF_IMPORT = frozenset((_IMPORT, "evidence", "verify_key"))
_OF_WRITE = frozenset((_WRITE, "last"))
_OPTIONS = {
    _IMPORT: "--import",
    _WRITE: "--write",
    "ladder": "--ladder",
    "device": "--device",
    "output": "--output",
    "last": "--last",
    "timeout_sec": "--timeout-sec",
    "sign": "--sign",
    "evidence": "--evidence",
    "verify_key": "--verify-key",
    "runtime": "--runtime",
}


def confirm(
    context: typer.Context,
    reports: Annotated[
        Optional[List[Path]],
        typer.Argument(metavar="[FILE...]", help="With --import: the reports to import."),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            help="auto, usb, usb:N, pci, pci:N or :N; emulator is a dry run without a chip.",
        ),
    ] = "auto",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The report to send in.")
    ] = Path("edgekit-confirm.json"),
    last: Annotated[
        Optional[int], typer.Option(metavar="N", min=1, help="Stop after rung N; by default all.")
    ] = None,
    timeout_sec: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.001, help="Kill a program that takes longer for one inference."
        ),
    ] = 10.0,
    sign: Annotated[
        Optional[Path],
        typer.Option(metavar="KEY", help="Sign the report: an Ed25519 private key (PEM)."),
    ] = None,
    write: Annotated[
        Optional[Path],
        typer.Option(metavar="FOLDER", help="Only write the programs and their hashes there."),
    ] = None,
    ladder: Annotated[
        Optional[Path],
        typer.Option(metavar="FOLDER", help="Run programs of --write instead of making them here."),
    ] = None,
    import_: Annotated[
        bool, typer.Option("--import", help="Check the reports FILE... and add them as evidence.")
    ] = False,
    evidence: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="With --import: the evidence, if not the user's."),
    ] = None,
    verify_key: Annotated[
        Optional[Path],
        typer.Option(metavar="KEY", help="With --import: an Ed25519 public key that signed them."),
    ] = None,
    runtime: RuntimeOption = None,
    json: JsonOption = False,
) -> None:
    """Run edgekit's own programs on an Edge TPU, smallest first, against the emulator's outputs."""
    from edgekit.confirm import confirm as run_confirm
    from edgekit.confirm import import_reports, write_ladder

    _check(context, reports)
    if import_:
        with progress("Making the programs again") as on_progress:
            imported = import_reports(
                reports or [], evidence=evidence, verify_key=verify_key, on_rung=on_progress
            )
        emit(imported, lambda: "\n".join(render_import(imported)), as_json=json)
        return
    if write is not None:
        made = write_ladder(write, last=last)
        emit(made, lambda: "\n".join(render_ladder(made, write)), as_json=json)
        return
    if device == "emulator":
        note("a dry run: the emulator runs the programs, and the report is not evidence")
    report = run_confirm(
        output,
        device=device,
        runtime=runtime,
        timeout_s=timeout_sec,
        last=last,
        ladder=ladder,
        sign=sign,
        on_rung=_show,
    )
    emit(report, lambda: "\n".join(render(report, output)), as_json=json)
    if report.exit_status:
        raise typer.Exit(report.exit_status)


def _check(context: typer.Context, reports: Optional[List[Path]]) -> None:
    """Refuse options that the requested way does not read."""
    given = {
        name: option
        for name, option in _OPTIONS.items()
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    if _IMPORT in given and not reports:
        raise UsageError("--import without a report", fix="edgekit confirm --import FILE...")
    if reports and _IMPORT not in given:
        raise UsageError(
            "a report is given without --import", fix="edgekit confirm --import FILE..."
        )
    way = next((each for each in (_IMPORT, _WRITE) if each in given), "")
    read = {_IMPORT: _OF_IMPORT, _WRITE: _OF_WRITE}.get(way, frozenset(_OPTIONS) - _OF_IMPORT)
    unread = [option for name, option in given.items() if name not in read]
    if unread and way:
        does = "checks reports" if way == _IMPORT else "only writes the programs"
        raise UsageError(
            f"{', '.join(unread)} {'does' if len(unread) == 1 else 'do'} not apply together with "
            f"{_OPTIONS[way]}",
            why=f"{_OPTIONS[way]} {does}; nothing runs on a device",
            fix="leave one of them out",
        )
    if unread:
        raise UsageError(
            f"{', '.join(unread)} {'belongs' if len(unread) == 1 else 'belong'} to --import",
            fix="edgekit confirm --import FILE...",
        )


def _show(rung: RungRun, number: int) -> None:
    times = [each.time_ms for each in rung.inputs if each.time_ms is not None]
    took = f", {max(times):.1f} ms" if times else ""
    note(f"{rung.number:2d}/{number} {rung.verdict}: {rung.name} ({rung.kind}{took})")


def render(report: ConfirmReport, output: Path) -> Iterator[str]:
    """Yield the outcome for people, line by line."""
    device = report.device
    where = ", ".join(device.hardware) or device.word
    yield f"device     {device.kind}: {where}" + (f", {device.library}" if device.library else "")
    yield f"matched    {report.num_matched} of {report.num_rungs} rungs"
    if report.is_evidence:
        yield f"confirmed  {report.num_new_forms} forms that no program of Google's has"
    failed = [each for each in report.rungs if each.verdict != _MATCH]
    for each in failed:
        yield f"stopped    at rung {each.number}, {each.name}: {each.verdict}"
        if each.note:
            yield f"           while {each.stage}: {each.note}"
        differing = [one.kind for one in each.inputs if one.output]
        if differing:
            yield f"           outputs differ for the inputs: {', '.join(differing)}"
    if failed:
        yield f"device now {report.afterwards}"
        if report.afterwards != "responds":
            yield "fix        unplug it and plug it in again (PCIe: restart), then edgekit doctor"
    yield f"report     {output}: {'send it in' if report.is_evidence else 'not evidence'}"


def render_ladder(ladder: Ladder, folder: Path) -> Iterator[str]:
    """Yield the rungs, line by line."""
    rows = [
        (each.number, each.kind, len(each.new_forms), each.cycles, each.name)
        for each in ladder.rungs
    ]
    yield table(("rung", "kind", "new forms", "cycles", "network"), rows)
    yield f"written    {len(rows)} programs and ladder.json into {folder}"


def render_import(result: ImportResult) -> Iterator[str]:
    """Yield what the reports contributed, line by line."""
    for each in result.reports:
        signed = f"signed by {each.signed_by[:16]}" if each.signed_by else "not signed"
        yield f"report     {each.path}: {each.status}, {each.device}, {each.date}, {signed}"
        yield f"           {len(each.matched)} rungs match, {len(each.failed)} do not"
        for text in each.skipped:
            yield f"           {text}"
    yield f"confirmed  {len(result.newly_confirmed)} forms more, {result.num_trusted} in all"
    if result.num_suspects:
        yield f"suspected  {result.num_suspects} forms of programs that failed stay unseen"
    if result.contradicted:
        yield f"           {len(result.contradicted)} of them were confirmed by another report"
    if result.kept:
        yield f"kept       evidence of an older vocabulary: {result.kept}"
    yield f"written    {result.evidence}"
