# SPDX-License-Identifier: Apache-2.0
"""Environments for sources of other frameworks: whole or not there.

The Python that makes them is a stand-in, which answers as an interpreter and pip do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgekit import sources as edgekit_sources
from edgekit.errors import ExternalToolError, MissingExtraError, UsageError
from edgekit.host.convert.environments import (
    RECIPES,
    install_source,
    installed_python,
    list_sources,
    remove_source,
)
from tests.command import edgekit

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script"),
]

_STAND_IN = """#!/bin/sh
case "$1 $2" in
  "-c import sys"*) echo "3 12";;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python";;
  "-m pip")
    echo "Collecting $4"
    if [ -e "{flag}" ]; then echo "ERROR: no such version"; exit 1; fi;;
  *) exit 0;;
esac
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that stands in for Python 3.12; pip fails while ``fails`` exists beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    program = tmp_path / "python3.12"
    program.write_text(_STAND_IN.format(flag=tmp_path / "fails"))
    program.chmod(0o755)
    return program


def test_an_environment_is_made_found_and_removed(stand_in: Path) -> None:
    assert {each.python for each in list_sources().environments} == {None}
    lines: list[str] = []
    made = install_source("onnx", python=stand_in, on_line=lines.append).environments[0]
    assert made.python == installed_python("onnx")
    assert made.requirements == RECIPES["onnx"].requirements
    assert any(line.startswith("$ ") and "pip install onnx2tf==" in line for line in lines)
    again: list[str] = []
    install_source("onnx", python=stand_in, on_line=again.append)
    assert again == [f"{made.place} is complete already"]
    assert {each.python for each in remove_source("onnx").environments} == {None}
    assert not Path(made.place).exists()


def test_nothing_is_left_of_an_environment_that_fails(stand_in: Path, tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    with pytest.raises(ExternalToolError, match="could not be made") as failed:
        install_source("onnx", python=stand_in)
    assert failed.value.why == "ERROR: no such version"
    assert not Path(list_sources().environments[0].place).exists()
    assert installed_python("onnx") is None


def test_an_environment_of_other_versions_does_not_count(stand_in: Path) -> None:
    made = install_source("onnx", python=stand_in).environments[0]
    (Path(made.place) / "edgekit.json").write_text('{"requirements": ["onnx2tf==1.0"]}')
    assert installed_python("onnx") is None
    (Path(made.place) / "edgekit.json").write_text("[")
    assert installed_python("onnx") is None


def test_convert_names_the_command_that_installs_it(stand_in: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07" + bytes(64))
    env = {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"], "HOME": str(tmp_path)}
    words = ("convert", tmp_path / "net.onnx", "--data", "random", "-o", tmp_path / "out.tflite")
    done = edgekit(*words, env={**os.environ, **env})
    assert done.returncode == 5, done.stderr
    assert "edgekit sources install onnx" in done.stderr
    assert stand_in.exists()


def test_bad_names_and_old_interpreters_are_refused(stand_in: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no environment"):
        install_source("caffe", python=stand_in)
    with pytest.raises(UsageError, match="no environment"):
        remove_source("../..")
    for python in (tmp_path / "missing", Path("/bin/true")):
        with pytest.raises(MissingExtraError, match=r"Python 3\.12"):
            install_source("onnx", python=python)
    done = edgekit("sources", "install")
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("PYENV_ROOT", "versions/3.12.4"),
        ("UV_PYTHON_INSTALL_DIR", "cpython-3.12.4-linux-x86_64-gnu"),
        ("HOME", ".pyenv/versions/3.12.4"),
        ("HOME", ".local/share/uv/python/cpython-3.12"),
    ],
)
def test_interpreters_of_pyenv_and_uv_are_found(
    variable: str, place: str, stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    root = tmp_path / "root"
    program = root / place / "bin" / "python3.12"
    program.parent.mkdir(parents=True)
    stand_in.rename(program)
    monkeypatch.setenv(variable, str(root))
    lines: list[str] = []
    install_source("onnx", on_line=lines.append)
    assert lines[0].startswith(f"$ {program} -m venv")


def test_the_function_does_what_the_command_does(stand_in: Path) -> None:
    made = edgekit_sources("install", "torch", python=stand_in)
    assert [each.name for each in made.environments if each.python] == ["torch"]
    assert edgekit_sources() == made
    assert {each.python for each in edgekit_sources("remove", "torch").environments} == {None}
    for words in (("fetch",), ("install",)):
        with pytest.raises(UsageError):
            edgekit_sources(*words)
