# SPDX-License-Identifier: Apache-2.0
"""``edgekit run`` on live sources: lines, interruptions, exit statuses."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest
from PIL import Image

from edgekit.cli import run
from edgekit.evaluate.live import options

_COMMAND = (sys.executable, "-m", "edgekit", "run")


def _jpegs(count: int) -> bytes:
    stream = io.BytesIO()
    for index in range(count):
        Image.new("L", (8, 8), index * 20).save(stream, "JPEG")
    return stream.getvalue()


def _run(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*_COMMAND, *words], input=given, capture_output=True, check=False)


def _start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*_COMMAND, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def test_each_frame_is_a_line_of_json(int8_path: Path) -> None:
    done = _run(str(int8_path), "-", "--json", given=_jpegs(3))
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["frame_index"] for row in rows] == [0, 1, 2]
    assert {row["schema"] for row in rows} == {"edgekit.frame/1"}
    assert rows[0]["timestamp"].endswith("Z")
    assert rows[0]["timestamp"] <= rows[2]["timestamp"]
    assert all(0 < row["latency_ms"] < row["age_ms"] for row in rows)
    assert (done.returncode, b"3 frames, 3 answered" in done.stderr) == (0, True)


def test_a_line_comes_before_the_next_frame(int8_path: Path) -> None:
    """Lines are not kept in a buffer, and Ctrl-C ends the command with its summary."""
    process = _start(str(int8_path), "-", "--json")
    given, answers = _pipe(process.stdin), _pipe(process.stdout)
    for index in range(3):
        given.write(_jpegs(1))
        given.flush()
        assert json.loads(answers.readline())["frame_index"] == index
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate()
    assert (process.returncode, rest) == (130, b"")
    assert b"-: 3 frames, 3 answered" in said
    assert b"Traceback" not in said


def test_sigterm_ends_it_with_status_0(int8_path: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(str(tmp_path / "a.png"))
    process = _start(str(int8_path), str(tmp_path), "--watch")
    assert b"a.png #0" in _pipe(process.stdout).readline()
    process.terminate()
    _, said = process.communicate()
    assert process.returncode == 0
    assert b"1 frames, 1 answered" in said


def test_a_reader_that_exits_ends_it(int8_path: Path) -> None:
    process = _start(str(int8_path), "-")
    given, answers = _pipe(process.stdin), _pipe(process.stdout)
    given.write(_jpegs(1))
    given.flush()
    answers.readline()
    answers.close()
    given.write(_jpegs(1))
    given.flush()
    process.wait(60)
    with process:
        said = _pipe(process.stderr).read()
    assert (process.returncode, b"Traceback" in said) == (0, False)


@pytest.mark.parametrize(
    ("given", "what"),
    [(b"", "no frame came"), (b"garbage", "none of 1 frames"), (_jpegs(1)[:-40], "none of 1")],
)
def test_input_without_an_image_is_status_3(int8_path: Path, given: bytes, what: str) -> None:
    done = _run(str(int8_path), "-", "--json", given=given)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["schema"] == "edgekit.error/1"
    assert what in json.loads(line)["what"]
    assert done.returncode == 3


def test_options_of_live_sources_need_one(int8_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(str(path))
    for words in (["--max-frames", "1"], ["--every-frame"], ["--draw", "latest", "-o", "x"]):
        done = _run(str(int8_path), str(path), *words)
        assert (done.returncode, b"live sources" in done.stderr) == (2, True)


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal")
def test_a_terminal_as_input_is_refused(int8_path: Path) -> None:
    leader, follower = os.openpty()
    try:
        done = subprocess.run(
            [*_COMMAND, str(int8_path), "-"], stdin=follower, capture_output=True, check=False
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert (done.returncode, b"is a terminal" in done.stderr) == (2, True)


def test_copied_values_are_those_of_the_library() -> None:
    assert options.DRAWN == run.DRAWN
    assert options.LiveOptions().stall_s == run.STALL_S
