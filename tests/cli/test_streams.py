# SPDX-License-Identifier: Apache-2.0
"""Terminals that cannot encode, readers that exit, streams that are closed, -q and -v."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model
from tests.command import edgekit

_POSIX = pytest.mark.skipif(
    os.name != "posix", reason="the redirections are those of a POSIX shell"
)


def _shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = f"{shlex.quote(sys.executable)} -m edgekit"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.replace("edgekit", command, 1)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write zeros in the input shape of `int8_model`."""
    path = tmp_path / "image.npy"
    np.save(path, np.zeros((1, 8, 8, 1), np.uint8))
    return path


@pytest.fixture
def nan_model(tmp_path: Path) -> Path:
    """Write a float model that computes the square root of its two inputs."""
    tensors = tuple(Tensor(name, (1, 2), "FLOAT32", 0, None) for name in ("x", "y"))
    graph = Subgraph(tensors, (0,), (1,), (Operator("SQRT", 1, (0,), (1,)),), "main")
    path = tmp_path / "sqrt.tflite"
    path.write_bytes(write_model(Model((graph,), (np.empty(0, np.uint8),), "made by hand")))
    return path


def test_an_answer_that_is_nan_is_null_and_listed(nan_model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[-1.0, np.inf]], np.float32))
    done = edgekit("run", nan_model, tmp_path / "x.npy", "--task", "none", "--json")
    assert done.returncode == 0
    assert "with NaN or infinity" in done.stderr
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert document["answers"][0]["outputs"][0]["max"] is None
    assert "answers[0].outputs[0].max: nan" in document["non_finite"]


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_a_label_that_the_terminal_cannot_show_is_escaped(
    int8_path: Path, image: Path, tmp_path: Path, encoding: str
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(["\u72ac", "\u732b", "\u9ce5", "\u9b5a", "\u4eba"]), "utf-8")
    line = f"edgekit run {int8_path} {image} --labels {labels}"
    done = _shell(line, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "\\u72ac" in done.stdout


def test_an_error_that_the_terminal_cannot_show_is_escaped(tmp_path: Path) -> None:
    done = _shell(f"edgekit check {tmp_path}/\u72ac.tflite", PYTHONIOENCODING="ascii")
    assert done.returncode == 3
    assert "\\u72ac.tflite" in done.stderr
    assert "Traceback" not in done.stderr


@_POSIX
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_cause_a_traceback(int8_path: Path, image: Path, closed: str) -> None:
    for words, status in ((f"run {int8_path} {image}", 0), (f"check {image}", 3), ("--help", 0)):
        done = _shell(f"edgekit {words} {closed}")
        assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr


@_POSIX
def test_an_opened_file_never_replaces_a_closed_stdout(int8_path: Path, tmp_path: Path) -> None:
    """A library that prints on descriptor 1 would write into the file that got this number."""
    out = tmp_path / "out.tflite"
    done = _shell(f"edgekit fix {int8_path} -o {out} <&- >&- 2>&-")
    assert done.returncode == 0
    assert out.read_bytes()[4:8] == b"TFL3"


@_POSIX
def test_a_reader_that_exits_does_not_change_the_exit_status(int8_path: Path) -> None:
    for words, status in ((f"check {int8_path}", 0), (f"check {int8_path} --min-mapped 101", 2)):
        done = _shell(f"edgekit {words} | (exec <&-; sleep 0.1)")
        assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr


@pytest.mark.parametrize(
    "words", [("run", "--json"), ("no-such", "--json"), ("check", "x", "--bad", "--json")]
)
def test_a_usage_error_is_one_json_document(words: tuple[str, ...]) -> None:
    done = edgekit(*words)
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert (document["schema"], document["code"]) == ("edgekit.error/1", "usage")
    assert document["what"] in done.stderr


def test_a_usage_error_prints_nothing_on_stdout_without_json() -> None:
    done = edgekit("run")
    assert (done.returncode, done.stdout) == (2, "")


def test_quiet_omits_warnings_before_and_after_the_command(int8_path: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("L", (8, 8)).save(photos / "good.png")
    (photos / "bad.png").write_bytes(b"no image")
    words = ("run", int8_path, photos)
    plain = edgekit(*words)
    assert "bad.png" in plain.stderr
    for quiet in (edgekit("-q", *words), edgekit(*words, "--quiet")):
        assert (quiet.returncode, quiet.stderr) == (plain.returncode, "")
        assert quiet.stdout.splitlines()[1:] == plain.stdout.splitlines()[1:]


def test_quiet_still_prints_errors(tmp_path: Path) -> None:
    done = edgekit("-q", "check", tmp_path / "none.tflite")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")


def test_quiet_and_verbose_contradict_each_other(int8_path: Path) -> None:
    assert edgekit("check", int8_path, "-q", "-v").returncode == 2


def test_nothing_is_printed_on_stderr_on_success(int8_path: Path, image: Path) -> None:
    data = int8_path.with_name("data.npz")
    pixels = np.random.default_rng(0).random((4, 8, 8, 1)).astype(np.float32)
    np.savez(data, x=pixels, y=np.zeros(4, np.int64))
    for words in (
        ("run", int8_path, image),
        ("evaluate", int8_path, "--data", data),
        ("benchmark", int8_path, "--num-runs", 2),
        ("fix", int8_path, "-o", int8_path.with_name("fixed.tflite")),
        ("check", int8_path),
    ):
        done = edgekit(*words)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_verbose_shows_what_the_runtime_prints(int8_path: Path, image: Path) -> None:
    done = edgekit("run", int8_path, image, "-v")
    assert done.returncode == 0
    assert "edgekit." in done.stderr


def test_verbose_names_the_files_of_every_command(int8_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tflite"
    commands = (
        ("check", int8_path),
        ("estimate", int8_path),
        ("inspect", int8_path),
        ("fix", int8_path, "-o", out),
    )
    for words in commands:
        done = edgekit(*words, "-v")
        assert f"edgekit.files: {int8_path} read" in done.stderr, words


@pytest.mark.parametrize("words", [("check", ""), ("split", "m.tflite", "-o", ""), ("report", "")])
def test_an_empty_argument_is_not_the_current_folder(words: tuple[str, ...]) -> None:
    done = edgekit(*words, "--json")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (2, "usage")


_RECENT = pytest.mark.skipif(sys.version_info < (3, 10), reason="a command of the host")


@pytest.mark.parametrize(
    "command",
    [
        "check",
        pytest.param("convert", marks=_RECENT),
        "run",
        "verify",
        "inspect",
        pytest.param("report", marks=_RECENT),
    ],
)
def test_a_name_that_is_too_long_is_an_error(command: str, tmp_path: Path) -> None:
    rest = {"convert": ("--data", "random", "-o", "o.tflite"), "run": ("x.png",)}
    done = edgekit(command, "n" * 5000, *rest.get(command, ()), cwd=tmp_path)
    assert done.returncode == 3
    assert "too long" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_output_of_a_program_that_yields_samples_is_not_in_the_document(
    int8_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "loud_samples.py").write_text(
        "import os\nimport numpy as np\nprint('loaded')\n"
        "os.write(2, b'I0000 00:00:1.2 3 port.cc:153] chatter\\nmy own words\\n')\n"
        "def pairs():\n    print('begun')\n    for i in range(4):\n"
        "        yield np.zeros((8, 8, 1), np.uint8), i\n"
    )
    words = ("evaluate", int8_path, "--data", "loud_samples:pairs", "--json")
    done = edgekit(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_samples"] == 4
    assert "loaded" in done.stderr
    assert "begun" in done.stderr
    assert "my own words" in done.stderr
    assert "chatter" not in done.stderr
