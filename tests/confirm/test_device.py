# SPDX-License-Identifier: Apache-2.0
"""The ladder on a stand-in for libedgetpu: honest, slow, wrong, hanging, crashing, lost."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from edgekit.confirm import ConfirmOptions, ConfirmReport, confirm
from edgekit.confirm import device as device_module
from edgekit.confirm import run as run_module
from edgekit.confirm.report import RungRun, report_from
from edgekit.confirm.run import run_ladder
from edgekit.confirm.seal import check_seal
from edgekit.doctor.machine import Machine
from edgekit.errors import DeviceError, InputError, UsageError
from tests.confirm.conftest import GOOGLES, Short

# For a stand-in that hangs: no correct run is limited by it.
_SHORT_S = 2.0


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The report's file."""
    return tmp_path / "report.json"


def _run(
    short: Short, output: Path, machine: Machine | None = None, timeout_s: float = 60.0
) -> ConfirmReport:
    options = ConfirmOptions(ladder=short.folder, timeout_s=timeout_s)
    report = run_ladder(output, options, machine=machine)
    document = json.loads(output.read_text())
    assert check_seal(document, "") == ""
    assert report_from(document) == report
    return report


def _verdicts(report: ConfirmReport) -> list[str]:
    return [each.verdict for each in report.rungs]


def test_an_honest_device_matches_on_all_rungs(
    short: Short, library: Path, output: Path, machine: Machine
) -> None:
    assert library.is_file()
    report = _run(short, output, machine)
    assert _verdicts(report) == ["match"] * 5
    assert (report.ended, report.afterwards, report.exit_status) == ("complete", "not tried", 0)
    assert report.is_evidence
    assert report.num_new_forms > 2
    device = report.device
    assert (device.kind, device.word, device.library) == ("edgetpu", "auto", GOOGLES)
    assert device.hardware == ("usb 18d1:9302 at 2-1",)
    assert len(device.library_sha256) == 64
    assert all(one.time_ms is not None for each in report.rungs for one in each.inputs)


def test_the_report_does_not_name_the_user_or_the_machine(
    short: Short, library: Path, output: Path, machine: Machine
) -> None:
    report = _run(short, output, machine)
    assert str(library.parent) not in report.to_json()
    assert str(output.parent) not in report.to_json()


def test_a_slow_device_matches_within_the_limit(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_SLOW_MS", "200")
    report = _run(short, output)
    assert report.ended == "complete"
    times = [one.time_ms for each in report.rungs for one in each.inputs]
    assert all(time_ms is not None and time_ms >= 200 for time_ms in times)


def test_a_device_that_is_too_slow_is_stopped_at_its_rung(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_SLOW_MS", "600000")
    monkeypatch.setenv("STANDIN_AT", short.program(1))
    report = _run(short, output, timeout_s=_SHORT_S)
    assert _verdicts(report) == ["match", "stalled"]
    assert report.rungs[1].stage == "running the model"
    assert (report.afterwards, report.exit_status) == ("responds", 6)


def test_a_wrong_device_is_stopped_at_the_first_mismatch(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_WRONG", "1")
    monkeypatch.setenv("STANDIN_AT", short.program(2))
    report = _run(short, output)
    assert _verdicts(report) == ["match", "match", "mismatch"]
    assert (report.ended, report.afterwards, report.exit_status) == ("mismatch", "responds", 4)
    made = report.rungs[2].inputs[0]
    raw = zlib.decompress(base64.b64decode(made.output))
    names = sorted(short.answers.glob(f"{short.program(2)}-*"))
    wrong = [bytes([each.read_bytes()[0] ^ 1]) + each.read_bytes()[1:] for each in names]
    assert raw in wrong


def test_a_hanging_program_is_killed_and_the_device_opened_again(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_HANG", "invoke")
    monkeypatch.setenv("STANDIN_AT", short.program(3))
    report = _run(short, output, timeout_s=_SHORT_S)
    assert _verdicts(report) == ["match", "match", "match", "stalled"]
    assert (report.ended, report.afterwards, report.exit_status) == ("stalled", "responds", 6)
    assert all(one.got_sha256 == "" and one.time_ms is None for one in report.rungs[3].inputs)


def test_a_program_that_hangs_is_not_run_again(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    log = output.with_name("events")
    monkeypatch.setenv("STANDIN_LOG", str(log))
    monkeypatch.setenv("STANDIN_HANG", "invoke")
    report = _run(short, output, timeout_s=_SHORT_S)
    assert (_verdicts(report), report.afterwards) == (["stalled"], "responds")
    events = [line.split()[1] for line in log.read_text().splitlines()]
    assert (events.count("prepare"), events.count("invoke")) == (2, 1)


def test_a_device_that_cannot_be_opened_again_does_not_respond(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_PAUSES_S", (0.0,))
    monkeypatch.setenv("STANDIN_CRASH", "invoke")
    monkeypatch.setenv("STANDIN_AT", short.program(1))
    options = ConfirmOptions(ladder=short.folder)

    def remove_the_library(rung: RungRun, number: int) -> None:
        assert number == 5
        if rung.verdict != "match":
            library.unlink()

    report = run_ladder(output, options, on_rung=remove_the_library)
    assert (report.ended, report.afterwards) == ("crashed", "does not respond")
    assert "SIGSEGV" in report.rungs[1].note


def test_a_lost_device_ends_the_run(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_LOST_AFTER", "1")
    monkeypatch.setenv("STANDIN_AT", short.program(1))
    report = _run(short, output)
    assert _verdicts(report) == ["match", "failed"]
    assert "Edge TPU is not ready" in report.rungs[1].note
    assert [bool(one.got_sha256) for one in report.rungs[1].inputs] == [True, False, False, False]
    assert report.exit_status == 6


def test_without_a_device_the_reason_is_given_and_nothing_written(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_NO_DEVICE", "1")
    with pytest.raises(DeviceError) as refused:
        _run(short, output)
    assert refused.value.fix
    assert not output.exists()


def test_without_a_library_the_reason_is_given(short: Short, library: Path, output: Path) -> None:
    library.unlink()
    with pytest.raises(DeviceError) as refused:
        _run(short, output)
    assert refused.value.fix


def test_a_device_that_hangs_when_opened_is_an_error(
    short: Short, library: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setattr(device_module, "OPEN_TIMEOUT_S", 3.0)
    monkeypatch.setenv("STANDIN_HANG", "create")
    with pytest.raises(DeviceError, match="did not respond"):
        _run(short, output, timeout_s=_SHORT_S)
    assert not output.exists()


def test_the_emulator_is_a_dry_run(short: Short, output: Path) -> None:
    options = ConfirmOptions(device="emulator", ladder=short.folder, last=2)
    report = run_ladder(output, options)
    assert _verdicts(report) == ["match", "match"]
    assert (report.device.kind, report.is_evidence) == ("emulator", False)


def test_a_changed_program_of_a_ladder_is_refused(
    short: Short, output: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for each in short.folder.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    model = folder / "12_edgetpu.tflite"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(bytes(content))
    with pytest.raises(InputError, match="ladder is damaged"):
        run_ladder(output, ConfirmOptions(device="emulator", ladder=folder))


def test_the_cpu_is_refused(output: Path) -> None:
    with pytest.raises(UsageError, match="cpu"):
        confirm(output, device="cpu")


def test_there_is_no_rung_after_the_last(output: Path) -> None:
    with pytest.raises(UsageError, match="rung 63"):
        confirm(output, device="emulator", last=63)


def test_inputs_use_the_whole_range(short: Short) -> None:
    lowest, highest, random, again = short.rungs[0].arrays
    assert (int(lowest.max()), int(highest.min())) == (-128, 127)
    assert np.array_equal(lowest, again)
    assert len(np.unique(random)) == 256
