# SPDX-License-Identifier: Apache-2.0
"""``edgekit confirm`` as a program: exit statuses, documents, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekit.confirm.seal import check_seal
from tests.command import edgekit
from tests.confirm.conftest import Short


def _start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgekit", "confirm", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        cwd=str(cwd),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
    )


def _confirm(*words: str, cwd: Path) -> tuple[int, str, str]:
    done = edgekit("confirm", *words, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def _report(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "edgekit-confirm.json").read_text())
    assert check_seal(document, "") == ""
    return document


def test_all_rungs_match(short: Short, library: Path, tmp_path: Path) -> None:
    assert library.is_file()
    status, out, err = _confirm("--ladder", str(short.folder), "--json", cwd=tmp_path)
    assert (status, json.loads(out)) == (0, _report(tmp_path))
    assert err.count("match") == 5


def test_a_mismatch_exits_with_4(
    short: Short, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_WRONG", "1")
    status, out, _ = _confirm("--ladder", str(short.folder), cwd=tmp_path)
    assert status == 4
    assert "stopped    at rung 12, 1x1 convolution: mismatch" in out
    assert "device now responds" in out
    assert _report(tmp_path)["ended"] == "mismatch"


def test_a_stall_exits_with_6(
    short: Short, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_HANG", "invoke")
    words = ("--ladder", str(short.folder), "--timeout-sec", "2", "--json")
    status, out, _ = _confirm(*words, cwd=tmp_path)
    assert status == 6
    assert json.loads(out)["ended"] == "stalled"


def test_without_a_device_it_exits_with_6_and_a_fix(
    short: Short, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_NO_DEVICE", "1")
    status, out, err = _confirm("--ladder", str(short.folder), "--json", cwd=tmp_path)
    assert status == 6
    document = json.loads(out)
    assert document["schema"] == "edgekit.error/1"
    assert document["fix"]
    assert "fix:" in err
    assert not (tmp_path / "edgekit-confirm.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child")
def test_ctrl_c_leaves_a_valid_report_of_what_ran(
    short: Short, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.is_file()
    monkeypatch.setenv("STANDIN_HANG", "invoke")
    monkeypatch.setenv("STANDIN_AT", short.program(2))
    log = tmp_path / "events"
    monkeypatch.setenv("STANDIN_LOG", str(log))
    child = _start("--ladder", str(short.folder), "--timeout-sec", "600", cwd=tmp_path)
    assert child.stderr is not None
    seen = [child.stderr.readline() for _ in range(2)]
    assert all("match" in line for line in seen)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err.strip()) == (130, "interrupted")
    document = _report(tmp_path)
    assert (document["ended"], len(document["rungs"])) == ("interrupted", 2)


def test_a_dry_run_says_that_it_is_no_evidence(short: Short, tmp_path: Path) -> None:
    words = ("--device", "emulator", "--ladder", str(short.folder), "--last", "1")
    status, out, err = _confirm(*words, cwd=tmp_path)
    assert (status, "not evidence" in out, "a dry run" in err) == (0, True, True)
    assert _report(tmp_path)["is_evidence"] is False


def test_a_dry_run_cannot_be_imported(short: Short, tmp_path: Path) -> None:
    words = ("--device", "emulator", "--ladder", str(short.folder), "--last", "1")
    _confirm(*words, cwd=tmp_path)
    evidence = tmp_path / "evidence.json"
    status, out, _ = _confirm(
        *("--import", "edgekit-confirm.json", "--evidence", str(evidence), "--json"), cwd=tmp_path
    )
    assert (status, json.loads(out)["code"]) == (3, "confirm.no_chip")
    assert not evidence.exists()


@pytest.mark.parametrize(
    "words",
    [("--import",), ("report.json",), ("--evidence", "x.json"), ("--device", "cpu"),
     ("--last", "99")],
)  # fmt: skip
def test_words_that_contradict_each_other_are_a_usage_error(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    status, _, err = _confirm(*words, cwd=tmp_path)
    assert status == 2
    assert "error" in err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--import", "a.json", "--sign", "key.pem", "--last", "2"), "--last, --sign do not apply"),
        (("--import", "a.json", "--device", "auto"), "--device does not apply"),
        (("--import", "a.json", "--write", "rungs"), "--write does not apply"),
        (("--write", "rungs", "--ladder", "rungs"), "--ladder does not apply"),
        (("--write", "rungs", "-o", "report.json"), "--output does not apply"),
        (("--evidence", "e.json", "--verify-key", "k.pem"), "--evidence, --verify-key belong"),
        (("--write", "rungs", "--evidence", "e.json"), "--evidence does not apply"),
    ],
)
def test_options_that_are_not_read_are_refused(
    words: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    status, out, err = _confirm(*words, cwd=tmp_path)
    assert (status, out) == (2, "")
    assert named in err
    assert list(tmp_path.iterdir()) == []
