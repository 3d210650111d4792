# SPDX-License-Identifier: Apache-2.0
"""``edgekit report`` as a user runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgekit as edgekit_package
from tests import command

recent = pytest.mark.skipif(sys.version_info < (3, 10), reason="the report needs Python 3.10")


def edgekit(*words: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``edgekit`` with ``words``; with ``path``, that folder is the first on PYTHONPATH."""
    if path is None:
        return command.edgekit(*words)
    paths = os.pathsep.join([path, os.environ.get("PYTHONPATH", "")])
    return command.edgekit(*words, env={"PYTHONPATH": paths})


@recent
def test_json_contains_the_first_screen_and_the_path_of_the_page(int8_path: Path) -> None:
    done = edgekit("report", int8_path.parent, "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "edgekit.report/1"
    assert Path(document["output"]).stat().st_size == document["bytes"]
    assert [len(document["verdict"]["numbers"]), document["verdict"]["level"]] == [3, "good"]


@recent
def test_without_json_the_verdict_and_the_path_are_printed(int8_path: Path, tmp_path: Path) -> None:
    done = edgekit("report", int8_path.parent, "-o", tmp_path / "here.html")
    assert done.returncode == 0
    assert "should map to the Edge TPU" in done.stdout
    assert f"{tmp_path / 'here.html'} (" in done.stdout
    assert not (tmp_path / "report.html").exists()


@recent
def test_a_path_that_is_not_a_run_folder_is_status_3(int8_path: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, says in (
        (tmp_path / "none", "does not exist"),
        (int8_path, "not a folder"),
        (empty, "nothing to report on"),
    ):
        done = edgekit("report", folder)
        assert done.returncode == 3
        assert says in done.stderr
        assert "Traceback" not in done.stderr


@recent
def test_an_output_that_cannot_be_written_leaves_no_file(int8_path: Path) -> None:
    done = edgekit("report", int8_path.parent, "-o", int8_path.parent / "no" / "r.html")
    assert done.returncode == 3
    assert "cannot write r.html" in done.stderr
    assert [each.name for each in int8_path.parent.iterdir()] == [int8_path.name]


@recent
def test_a_missing_chart_library_is_named_with_its_extra(int8_path: Path, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "matplotlib.py").write_text("raise ModuleNotFoundError('gone', name='matplotlib')\n")
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(str(int8_path), str(run))
    done = edgekit("report", run, path=str(shadow))
    assert done.returncode == 5
    root = Path(edgekit_package.__file__).absolute().parents[1]
    name = str(root) if (root / "pyproject.toml").is_file() else "edgekit-coral"
    fix = re.search(r"fix: (\S+) -m pip install (--editable )?'(.*)\[report\]'", done.stderr)
    assert fix is not None
    assert fix[1] == sys.executable
    assert fix[3] == name or fix[3].endswith(".whl")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.version_info >= (3, 10), reason="this Python is recent enough")
def test_an_old_python_is_refused_with_the_reason(int8_path: Path) -> None:
    done = edgekit("report", int8_path.parent)
    assert done.returncode == 5
    assert "expected 3.10 or later" in done.stderr
