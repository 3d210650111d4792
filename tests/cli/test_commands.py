# SPDX-License-Identifier: Apache-2.0
"""The command line as a user runs it: its own process, its streams, its exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Sequence

import numpy as np
import pytest

from edgekit.cli.main import build
from tests.command import edgekit

COMMANDS = sorted(each.callback.__name__ for each in build().registered_commands if each.callback)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(11)
    path = tmp_path / "data.npz"
    np.savez(str(path), x=random.integers(0, 256, (40, 8, 8), np.uint8), y=np.arange(40) % 5)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command: str) -> None:
    done = edgekit(command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_help_imports_neither_numpy_nor_tensorflow() -> None:
    program = (
        "import sys\n"
        "from edgekit.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'tensorflow', 'tflite', 'PIL', 'rich'} & set(sys.modules)\n"
        "sys.stderr.write(','.join(sorted(heavy)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


@pytest.mark.skipif(sys.version_info >= (3, 10), reason="this Python has the host's commands")
@pytest.mark.parametrize(
    "words",
    [
        ("convert", "a", "--data", "b", "-o", "c"),
        ("compile", "a", "--compiler", "google"),
        ("demo",),
        ("deploy", "a", "b"),
    ],
)
def test_a_command_of_the_host_is_refused_on_a_device_with_the_reason(
    words: Sequence[str], tmp_path: Path
) -> None:
    done = edgekit(*words, cwd=tmp_path)
    assert done.returncode == 5
    assert "needs Python 3.10 or newer" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_printed() -> None:
    assert edgekit("--version").stdout.startswith("edgekit 0.")


def _words(command: str, model: Path, data: Path, tmp_path: Path) -> Sequence[object]:
    np.save(str(tmp_path / "x.npy"), np.zeros((8, 8), np.uint8))
    return {
        "run": ("run", model, tmp_path / "x.npy"),
        "evaluate": ("evaluate", model, "--data", data),
        "benchmark": ("benchmark", model, "--num-runs", 3),
    }[command]


@pytest.mark.parametrize("command", ["run", "evaluate", "benchmark"])
def test_json_is_one_document_and_nothing_else(
    command: str, int8_path: Path, data: Path, tmp_path: Path
) -> None:
    words = _words(command, int8_path, data, tmp_path)
    document = json.loads(edgekit(*words, "--json").stdout)
    assert document["schema"] == f"edgekit.{command}/2"
    assert {"device", "runtime", "kernels"} <= set(document)
    text = edgekit(*words)
    assert text.returncode == 0
    assert "cpu" in text.stdout


def test_evaluate_prints_the_documented_fields(
    int8_path: Path, float_path: Path, data: Path
) -> None:
    done = edgekit("evaluate", int8_path, "--data", data, "--against", float_path, "--json")
    document = json.loads(done.stdout)
    assert document["num_samples"] == 40
    assert set(document["latency_ms"]) >= {"mean", "p50", "p90", "p99"}
    assert set(document["metrics"]) == {"top1"}
    assert document["against"]["agreement"] <= 1
    assert sum(count for _, _, count in document["confusion"]) == 40


def test_evaluate_has_gates(int8_path: Path, float_path: Path, data: Path) -> None:
    """The result is always printed; without another model the gate cannot be checked."""
    words = ("evaluate", int8_path, "--data", data)
    both = (*words, "--against", float_path)
    ratio = json.loads(edgekit(*both, "--json").stdout)["against"]["quality"]["outputs"][0]
    measured = ratio["record"]["centred_snr_db"]
    for limit, status in ((measured - 1, 0), (measured + 1, 4)):
        done = edgekit(*both, "--min-snr-db", f"{limit:.2f}", "--json")
        assert done.returncode == status, done.stderr
        assert json.loads(done.stdout)["schema"] == "edgekit.evaluate/2"
        assert ("not met: " in done.stderr) == (status == 4)
    alone = edgekit(*words, "--min-snr-db", 12)
    assert (alone.returncode, "--against FLOAT.tflite" in alone.stderr) == (2, True)


@pytest.mark.parametrize("command", ["run", "evaluate", "benchmark"])
@pytest.mark.parametrize(
    ("content", "says"), [(b"", "the file is empty"), (b"\x89HDF\r\n\x1a\n1234", "HDF5")]
)
def test_bad_models_are_exit_status_3_without_a_traceback(
    command: str, content: bytes, says: str, data: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(content)
    done = edgekit(*_words(command, bad, data, tmp_path))
    assert done.returncode == 3
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_a_document_too(tmp_path: Path) -> None:
    done = edgekit("benchmark", tmp_path / "none.tflite", "--json")
    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert document["schema"] == "edgekit.error/1"
    assert document["code"] == "input"
    assert document["what"]
    assert document["fix"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("nonsense",), 2),
        (("benchmark",), 2),
        (("benchmark", "MODEL", "--num-runs", "0"), 2),
        (("benchmark", "MODEL", "--kernels", "slow"), 2),
        (("benchmark", "MODEL", "--device", "gpu"), 2),
        (("evaluate", "MODEL", "--data", "nowhere"), 3),
        (("run", "MODEL", "nowhere.png"), 3),
    ],
)
def test_exit_statuses_follow_the_design(
    int8_path: Path, words: Sequence[str], status: int
) -> None:
    done = edgekit(*(int8_path if word == "MODEL" else word for word in words))
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk always full")
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_a_full_disk_for_stdout_is_one_clear_error(int8_path: Path, as_json: Sequence[str]) -> None:
    words = [sys.executable, "-m", "edgekit", "benchmark", str(int8_path), *as_json]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert "error: cannot write the result: No space left on device\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk always full")
@pytest.mark.parametrize("words", [("--version",), ("--help",), ("check", "--help")])
def test_help_onto_a_full_disk_is_one_clear_error(words: Sequence[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.startswith("error: cannot write: No space left on device\n")
    assert "Traceback" not in done.stderr


def test_an_empty_folder_is_not_a_data_set(int8_path: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = edgekit("evaluate", int8_path, "--data", tmp_path / "empty")
    assert done.returncode == 3
    assert "contains no image" in done.stderr


def test_ctrl_c_during_the_imports_is_status_130_too(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "edgekit", "--help"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, b"interrupted\n")


@pytest.mark.parametrize(
    ("journal", "said"),
    [
        ((), "interrupted"),
        (
            ("--journal", "j"),
            "interrupted: add --resume to continue after the last batch in the journal",
        ),
    ],
)
def test_ctrl_c_is_status_130_and_says_how_to_go_on(
    int8_path: Path, tmp_path: Path, journal: tuple[str, ...], said: str
) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, signal, time\n"
        "def samples():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
        "    yield [0.0] * 64, 1\n"
    )
    done = edgekit("evaluate", int8_path, "--data", "slow:samples", *journal, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.strip().splitlines()[-1] == said
    assert "Traceback" not in done.stderr


def test_data_without_an_end_are_reported_while_they_are_read(
    int8_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "endless.py").write_text(
        "import os, signal\n"
        "def samples():\n"
        "    number = 0\n"
        "    while True:\n"
        "        if number == 12_000:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "        number += 1\n"
        "        yield [[[0.0]] * 8] * 8, 1\n"
    )
    done = edgekit("evaluate", int8_path, "--data", "endless:samples", cwd=tmp_path)
    assert done.returncode == 130
    assert "the data have not ended" in done.stderr
    assert "--num-samples COUNT" in done.stderr
    words = ("--data", "endless:samples", "--num-samples", 12, "--json")
    first = edgekit("evaluate", int8_path, *words, cwd=tmp_path)
    assert json.loads(first.stdout)["num_samples"] == 12
    assert "no end" not in first.stderr
