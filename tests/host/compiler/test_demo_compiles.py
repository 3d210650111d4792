# SPDX-License-Identifier: Apache-2.0
"""The demo compiles if there is a compiler: here a stand-in, because Google's is not available."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgekit.formats.tflite import read_model
from tests.command import edgekit

pytestmark = [pytest.mark.host, pytest.mark.slow]


def test_a_compiler_on_the_path_is_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stand_in: Any,  # noqa: ANN401 - the fixture's class is in a conftest
) -> None:
    stand_in.will(stand_in.success("digits", mapped=7, total=7))
    monkeypatch.setenv("PATH", f"{stand_in.folder}:{os.environ['PATH']}")
    out = tmp_path / "out"
    done = edgekit("demo", "-o", out, "--epochs", 1, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["compiler"], result["not_compiled"]) == ("google", None)
    assert result["compiled"] == str(out / "digits_edgetpu.tflite")
    # The compiled file also gets the plain model's metadata.
    files = Path(result["compiled"]), stand_in.folder / "compiled.bin"
    written, compiled = (read_model(path.read_bytes()) for path in files)
    assert written.subgraphs == compiled.subgraphs
    steps = {step["name"]: step for step in result["build"]["steps"]}
    assert steps["compile"]["status"] == "done"
    assert "does not belong" in steps["bundle"]["says"]  # the stand-in's is of another network
    assert json.loads((out / "results.json").read_text()) == result
