# SPDX-License-Identifier: Apache-2.0
"""Every failure of the converting process becomes an error here, and nothing is left over."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.errors import EdgeKitError, ExternalToolError, ModelFormatError, UnsupportedModelError
from edgekit.host.convert import convert

pytestmark = pytest.mark.host

# Replaces a Python whose TensorFlow fails: it sends the first messages, then exits.
_PYTHON = """#!{python}
import json, os, signal, sys, time
def say(kind, **fields):
    print(json.dumps({{"kind": kind, "fields": fields, "arrays": []}}), flush=True)
sys.stdin.readline()
say("step", name="importing TensorFlow")
say("hello", tensorflow="2.99")
say("loaded", loader="keras 9", outputs=["y"], layers=[["a", "Dense"], ["b", "LSTM"]],
    inputs=[{{"name": "x", "shape": [None, 8, 8], "dtype": "float32"}}])
say("step", name="quantizing")
{death}
"""


def _python(tmp_path: Path, death: str) -> Path:
    path = tmp_path / "python"
    path.write_text(_PYTHON.format(python=sys.executable, death=death))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _fails(keras_file: Path, tmp_path: Path, death: str, **options: Any) -> EdgeKitError:  # noqa: ANN401
    python = _python(tmp_path, death)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(EdgeKitError) as caught:
        convert(
            keras_file,
            data="random",
            output=out / "m.tflite",
            converter_python=python,
            **options,
        )
    assert list(out.iterdir()) == []
    return caught.value


def test_the_error_for_a_segmentation_fault_names_the_likely_layer_and_the_step(
    keras_file: Path, tmp_path: Path
) -> None:
    error = _fails(keras_file, tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    assert isinstance(error, ExternalToolError)
    assert "SIGSEGV while quantizing; the likely cause is the layer b (LSTM)" in error.what
    assert "--converter-python" in error.fix


def test_a_crash_while_loading_is_reported_as_a_fault_of_the_file(
    keras_file: Path, tmp_path: Path
) -> None:
    death = "say('step', name='loading the model'); os.kill(os.getpid(), signal.SIGABRT)"
    error = _fails(keras_file, tmp_path, death)
    assert isinstance(error, ModelFormatError)
    assert "SIGABRT while loading the model" in error.what


def test_the_error_for_a_killed_child_suggests_more_memory(
    keras_file: Path, tmp_path: Path
) -> None:
    error = _fails(keras_file, tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert "SIGKILL" in error.what
    assert "memory" in error.fix


def test_the_error_for_an_exception_shows_its_last_line(keras_file: Path, tmp_path: Path) -> None:
    error = _fails(keras_file, tmp_path, "raise ValueError('no such operation: Foo')")
    assert isinstance(error, UnsupportedModelError)
    assert "no such operation: Foo" in error.why
    assert "Traceback" not in str(error)


@pytest.mark.parametrize(
    ("printed", "raised", "says"),
    [
        ("loc(x): error: 'tf.Erf' op is not legal", "RuntimeError()", "'tf.Erf' op is not legal"),
        ("", r"ValueError('\nFailed to quantize: no rule for CUMSUM')", "no rule for CUMSUM"),
        ("", "RuntimeError('failed to create XNNPACK runtime')", "failed to create XNNPACK"),
    ],
)
def test_an_exception_without_a_text_gets_the_reason_that_was_printed(
    printed: str, raised: str, says: str, keras_file: Path, tmp_path: Path
) -> None:
    death = f"print({printed!r}, file=sys.stderr); raise {raised}"
    error = _fails(keras_file, tmp_path, death)
    assert says in error.why
    assert error.why != "RuntimeError"


def test_garbage_on_the_pipe_is_an_error_too(keras_file: Path, tmp_path: Path) -> None:
    error = _fails(keras_file, tmp_path, "print('{half a mess'); sys.stdout.flush(); sys.exit(9)")
    assert isinstance(error, EdgeKitError)


def test_a_deadline_ends_the_child(keras_file: Path, tmp_path: Path) -> None:
    error = _fails(keras_file, tmp_path, "time.sleep(600)", timeout_s=1.5)
    assert "took longer than" in error.what
    assert "quantizing" in error.what


def test_an_interpreter_that_does_not_exist_is_named(keras_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ExternalToolError, match="cannot run"):
        convert(keras_file, data="random", output=tmp_path / "m", converter_python="/no/python")


def test_another_environments_python_converts(
    keras_file: Path, samples: list[np.ndarray], tmp_path: Path
) -> None:
    """This environment's own Python, called through a wrapper like another environment's."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    result = convert(keras_file, data=samples, output=tmp_path / "m.tflite", converter_python=path)
    assert result.enforced


def _alive_children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def test_ctrl_c_leaves_no_process_and_no_file(keras_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.tflite"
    words = ["convert", str(keras_file), "--data", "random", "-o", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *words], stderr=subprocess.PIPE, text=True
    )
    children: list[int] = []
    deadline = time.monotonic() + 60
    while not children and time.monotonic() < deadline:
        time.sleep(0.05)
        children = _alive_children(process.pid)
    time.sleep(0.5)
    os.kill(process.pid, 2)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip().endswith("interrupted")
    assert "Traceback" not in stderr
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(tmp_path.iterdir()) == []
