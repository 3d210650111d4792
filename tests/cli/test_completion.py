# SPDX-License-Identifier: Apache-2.0
"""Completion in bash: commands, options, choices and files of the right kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, List

import pytest

_BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(_BASH is None, reason="bash is not installed")
# What bash does at the Tab key; -o default uses its own file names if the list is empty.
_TAB = """
COMP_WORDS=(edgekit "$@"); COMP_CWORD=$#
_edgekit_completion edgekit
printf '%s\\n' "${COMPREPLY[@]}"
"""

Complete = Callable[..., List[str]]


def _bash(home: Path, program: str, *words: str) -> str:
    env = {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        [str(_BASH), "--norc", "-c", program, "bash", *words],
        cwd=str(home),
        env=env,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a home with the ``edgekit`` of pip, and install completion from bash."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "bin").mkdir()
    program = folder / "bin" / "edgekit"
    program.write_text(f"#!{sys.executable}\nfrom edgekit.cli.main import main\nmain()\n")
    program.chmod(0o755)
    said = _bash(folder, "edgekit --install-completion; exit $?")
    assert "bash completion installed in" in said
    for name in ("net.tflite", "net.edgekit", "photo.png", "net.keras", "result.json"):
        (folder / name).write_bytes(b"")
    (folder / "models").mkdir()
    (folder / "models" / "deep.tflite").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def complete(home: Path) -> Complete:
    """Return what bash gets behind these words; the last word is not complete."""

    def offered(*words: str) -> list[str]:
        return _bash(home, f"source .bashrc\n{_TAB}", *words).split()

    return offered


def test_commands_are_completed(complete: Complete) -> None:
    assert complete("conv") == ["convert"]
    assert {"run", "evaluate", "doctor"} <= set(complete(""))


def test_options_are_completed_without_their_earlier_spellings(complete: Complete) -> None:
    assert complete("run", "--dev") == ["--device"]
    assert complete("check", "--ta") == []


def test_choices_are_completed(complete: Complete) -> None:
    assert complete("run", "--kernels", "") == ["fast", "reference"]
    assert complete("run", "--runtime", "t") == ["tflite-runtime", "tensorflow"]
    assert complete("run", "--device", "e") == ["emulator"]


def test_models_and_folders_are_completed(complete: Complete) -> None:
    assert complete("run", "") == ["net.edgekit", "net.tflite", "bin/", "models/"]
    assert complete("run", "models/") == ["models/deep.tflite"]
    assert complete("convert", "n") == ["net.keras", "net.tflite"]
    assert complete("compare", "") == ["result.json", "bin/", "models/"]


def test_arguments_without_a_kind_are_completed_by_the_shell(
    complete: Complete, home: Path
) -> None:
    assert complete("run", "net.tflite", "ph") == []
    (home / "two words.tflite").write_bytes(b"")
    assert complete("run", "two") == []
