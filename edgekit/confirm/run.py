# SPDX-License-Identifier: Apache-2.0
"""`edgekit.confirm`: run the ladder on an Edge TPU, from proved programs to unseen forms."""

from __future__ import annotations

import base64
import platform
import time
import zlib
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from edgekit import files
from edgekit.chip.vocabulary.rules import rules_id
from edgekit.confirm.device import (
    Outcome,
    Target,
    explain_failure,
    facts_of,
    run_program,
    target_of,
)
from edgekit.confirm.ladder import (
    Ladder,
    Rung,
    hash_of,
    ladder_size,
    make_rungs,
    read_entries,
    read_rungs,
)
from edgekit.confirm.ladder import write_ladder as write_rungs
from edgekit.confirm.report import (
    COMPLETE,
    DOES_NOT_RESPOND,
    INTERRUPTED,
    MATCH,
    MISMATCH,
    NOT_TRIED,
    RESPONDS,
    RUNNING,
    ConfirmReport,
    InputRun,
    RungRun,
)
from edgekit.confirm.seal import sealed
from edgekit.errors import UsageError
from edgekit.runtime.devices import AUTO
from edgekit.runtime.probe import DOING
from edgekit.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.doctor.machine import Machine

REPORT_NAME = "edgekit-confirm.json"
# The slowest rung has 0.8 million cycles, 2 ms at 500 MHz, and 1.1 MB of outputs.
TIMEOUT_S = 10.0
_EMULATOR_TIMEOUT_S = 600.0  # seconds of this machine's CPU say nothing about a program
# Before the device is opened again: on USB it reconnects after some seconds.
_PAUSES_S = (0.0, 2.0, 4.0)
_MOST_OUTPUT_BYTES = 1 << 18  # of a wrong output in the report, compressed


@dataclass(frozen=True)
class ConfirmOptions:
    """How the ladder is run.

    Attributes:
        device: ``auto``, ``usb``, ``usb:N``, ``pci``, ``pci:N``, ``:N``, or ``emulator`` for a dry
            run whose report is not evidence.
        runtime: ``litert``, ``tflite-runtime`` or ``tensorflow``; None uses the first that is
            installed.
        timeout_s: The limit of each inference and of the closing of the device.
        last: The number of the last rung; None runs all.
        ladder: A folder of `write_ladder`; None makes the programs here.
        sign: A file with an Ed25519 private key.
    """

    device: str = AUTO
    runtime: str | None = None
    timeout_s: float = TIMEOUT_S
    last: int | None = None
    ladder: files.PathLike | None = None
    sign: files.PathLike | None = None


OnRung = Callable[[RungRun, int], None]  # a rung that ran, and the number of all


def _ignore(_rung: RungRun, _number: int) -> None:
    """Rungs are not shown."""


def confirm(
    output: files.PathLike = REPORT_NAME,
    *,
    device: str = AUTO,
    runtime: str | None = None,
    timeout_s: float = TIMEOUT_S,
    last: int | None = None,
    ladder: files.PathLike | None = None,
    sign: files.PathLike | None = None,
    on_rung: OnRung = _ignore,
) -> ConfirmReport:
    """Run the ladder, compare outputs with the emulator's, and write a report.

    Each rung runs in a process of its own. The run ends at the first rung that does not match; the
    device is then opened once more with a proved program, to see whether it responds. The report is
    written after each rung, so that it is complete up to then if the run is interrupted.

    Args:
        output: The report's file.
        device: See `ConfirmOptions`.
        runtime: See `ConfirmOptions`.
        timeout_s: See `ConfirmOptions`.
        last: See `ConfirmOptions`.
        ladder: See `ConfirmOptions`.
        sign: See `ConfirmOptions`.
        on_rung: Called after each rung.

    Raises:
        UsageError: An option has no such value.
        InputError: The folder is not a ladder, or the key cannot be read.
        DeviceError: No Edge TPU can be opened; no report is written.
        MissingExtraError: No TensorFlow Lite runtime is installed.
        OutputError: The report cannot be written.
    """
    options = ConfirmOptions(device, runtime, timeout_s, last, ladder, sign)
    return run_ladder(Path(output), options, on_rung=on_rung)


def write_ladder(folder: files.PathLike, *, last: int | None = None) -> Ladder:
    """Write the ladder's programs and the hashes of their outputs, for a machine that is slow.

    Args:
        folder: Is created.
        last: The number of the last rung; None writes all.

    Raises:
        UsageError: There is no such rung.
        OutputError: The folder cannot be written.
    """
    return write_rungs(make_rungs(last), Path(folder))


def run_ladder(
    output: Path,
    options: ConfirmOptions,
    *,
    on_rung: OnRung = _ignore,
    machine: Machine | None = None,
) -> ConfirmReport:
    """Do what `confirm` does; ``machine`` is where the Edge TPU is looked for on the buses."""
    if options.timeout_s <= 0:
        raise UsageError(f"--timeout-sec is {options.timeout_s:g}, expected more than 0")
    target = target_of(options.device, options.runtime)
    files.check_writable(output)
    number, rungs = _rungs(options)
    first = next(rungs)
    run = _Run(target, options, output, first)
    rung, outcome = first, run.open_first(number, machine)
    try:
        while True:
            done = _judge(rung, outcome)
            run.add(done)
            on_rung(done, number)
            if done.verdict != MATCH:
                return run.end(done.verdict)
            following = next(rungs, None)
            if following is None:
                return run.end(COMPLETE)
            rung, outcome = following, run.run(following)
    except KeyboardInterrupt:
        run.end(INTERRUPTED)
        raise


class _Run:
    """The report while it grows, and the device."""

    def __init__(self, target: Target, options: ConfirmOptions, output: Path, first: Rung) -> None:
        self._target, self._options, self._output, self._first = target, options, output, first
        self._date = datetime.now(timezone.utc).replace(microsecond=0).isoformat()
        self._timeout_s = _EMULATOR_TIMEOUT_S if target.is_emulator else options.timeout_s

    def open_first(self, number: int, machine: Machine | None) -> Outcome:
        """Run the first rung; raise the reason if the device cannot be opened at all."""
        outcome = self.run(self._first)
        if not outcome.is_opened:
            explain_failure(self._target, self._first.content, outcome, self._timeout_s)
            outcome = self.run(self._first)  # it was opened at the second try
        options = self._options
        self.report = ConfirmReport(
            edgekit=__version__,
            rules=rules_id(),
            date=self._date,
            system=f"{platform.system()} {platform.machine()}",
            device=facts_of(self._target, outcome, machine),
            is_evidence=not self._target.is_emulator,
            timeout_s=options.timeout_s,
            num_rungs=number,
            rungs=(),
            ended=RUNNING,
            afterwards=NOT_TRIED,
        )
        return outcome

    def run(self, rung: Rung) -> Outcome:
        return run_program(self._target, rung.content, rung.arrays, self._timeout_s)

    def add(self, rung: RungRun) -> None:
        self._write(replace(self.report, rungs=(*self.report.rungs, rung)))

    def end(self, how: str) -> ConfirmReport:
        self._write(replace(self.report, ended=how))
        if how not in {COMPLETE, INTERRUPTED}:
            self._write(replace(self.report, afterwards=self._afterwards()))
        return self.report

    def _write(self, report: ConfirmReport) -> None:
        self.report = sealed(report, self._options.sign)
        files.write_text(self._output, self.report.to_json())

    def _afterwards(self) -> str:
        """Open the device again with the first rung; run it if it is not the one that failed."""
        failed_first = self.report.rungs[-1].number == self._first.entry.number
        inputs: Sequence[NDArray[Any]] = () if failed_first else self._first.arrays
        for pause_s in _PAUSES_S:
            time.sleep(pause_s)
            outcome = run_program(self._target, self._first.content, inputs, self._timeout_s)
            judged = _judge(self._first, outcome)
            if outcome.verdict == MATCH and (failed_first or judged.verdict == MATCH):
                return RESPONDS
        return DOES_NOT_RESPOND


def _rungs(options: ConfirmOptions) -> tuple[int, Iterator[Rung]]:
    """Return the number of rungs, and the rungs."""
    if options.ladder is None:
        return options.last or ladder_size(), make_rungs(options.last)
    folder = Path(options.ladder)
    entries = read_entries(folder, options.last)
    return len(entries), read_rungs(folder, entries)


def _judge(rung: Rung, outcome: Outcome) -> RungRun:
    entry, runs = rung.entry, []
    for index, given in enumerate(entry.inputs):
        outputs = outcome.outputs[index] if index < len(outcome.outputs) else None
        got = hash_of(outputs) if outputs is not None else ""
        differs = outputs is not None and got != given.expected_sha256
        runs.append(
            InputRun(
                kind=given.kind,
                sha256=given.sha256,
                expected_sha256=given.expected_sha256,
                got_sha256=got,
                time_ms=outcome.times_ms[index] if outputs is not None else None,
                output=_packed(outputs) if outputs is not None and differs else "",
            )
        )
    wrong = any(each.got_sha256 not in {"", each.expected_sha256} for each in runs)
    verdict = MISMATCH if wrong else outcome.verdict
    return RungRun(
        number=entry.number,
        name=entry.name,
        kind=entry.kind,
        program_sha256=entry.program_sha256,
        model_sha256=entry.model_sha256,
        new_forms=entry.new_forms,
        verdict=verdict,
        stage="" if outcome.verdict == MATCH else DOING[outcome.stage],
        note=outcome.note,
        time_s=outcome.time_s,
        inputs=tuple(runs),
    )


def _packed(outputs: Sequence[NDArray[Any]]) -> str:
    packed = zlib.compress(b"".join(each.tobytes() for each in outputs), 9)
    return base64.b64encode(packed).decode() if len(packed) <= _MOST_OUTPUT_BYTES else ""
