# SPDX-License-Identifier: Apache-2.0
"""The machine that runs the tests: real child processes, the real file system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.doctor import UDEV_RULES, doctor
from edgekit.doctor.machine import Machine
from edgekit.explain.codes import CODES
from tests.command import edgekit

_GCC = shutil.which("gcc")
_REPOSITORY = Path(__file__).resolve().parents[2]


def _run(*args: str) -> subprocess.CompletedProcess[str]:
    return edgekit("doctor", *args)


def test_this_python_responds_and_its_cpu_runs_a_model() -> None:
    result = doctor(cpu=True)
    assert result.python == ".".join(map(str, sys.version_info[:3]))
    assert result.cpu_usable
    assert "edgekit" not in result.next_step


def test_the_exit_status_is_the_result() -> None:
    plain, cpu = _run("--json"), _run("--json", "--cpu")
    document = json.loads(plain.stdout)
    assert document["schema"] == "edgekit.doctor/1"
    assert plain.returncode == (0 if document["edge_tpu_usable"] else 6)
    assert cpu.returncode == 0


def test_every_code_has_a_page() -> None:
    document = json.loads(_run("--json").stdout)
    assert {check["code"] for check in document["checks"]} <= set(CODES)


def test_the_rules_in_the_repository_are_those_that_are_printed() -> None:
    assert (_REPOSITORY / "udev" / "99-edgetpu.rules").read_text() == UDEV_RULES
    assert _run("--print-udev").stdout == UDEV_RULES


def test_the_doctor_does_not_need_numpy() -> None:
    """The doctor reports that numpy is missing or broken, so it must not need numpy."""
    program = (
        "import sys; sys.modules['numpy'] = None\n"
        "import edgekit.doctor, edgekit.cli.doctor; print('fine')"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library has this name")
def test_a_real_library_that_is_not_a_delegate_is_detected_in_a_child() -> None:
    answer = Machine().query("library", "libc.so.6")
    assert answer.document["loaded"]
    assert "tflite_plugin_create_delegate" in answer.document["missing"]


def test_a_missing_library_is_a_result_not_an_error(tmp_path: Path) -> None:
    answer = Machine().query("library", str(tmp_path / "libedgetpu.so.1"))
    assert not answer.document["loaded"]
    assert "cannot open shared object file" in answer.document["error"]


_DELEGATE = """
const char* edgetpu_version(void) { return "BuildLabel(test), RuntimeVersion(14)"; }
void* tflite_plugin_create_delegate(char** k, char** v, size_t n, void (*e)(const char*)) {
  return NULL;
}
void tflite_plugin_destroy_delegate(void* d) {}
"""


@pytest.mark.skipif(_GCC is None, reason="gcc builds the library and is not here")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the library is named as on Linux")
@pytest.mark.parametrize(
    ("body", "code", "seen"),
    [
        ("__attribute__((constructor)) void f(void) { raise(11); }", "library.version", "SIGSEGV"),
        ("int f(void) { return 0; }", "library.version", "not have tflite_plugin_create_delegate"),
        (_DELEGATE, "library.version", "runtime version 14"),
        (_DELEGATE, "inference.edgetpu", "Failed to load delegate"),
        (_DELEGATE.replace("return NULL;", "raise(11);"), "inference.edgetpu", "SIGSEGV"),
        (_DELEGATE.replace("return NULL;", "abort();"), "inference.edgetpu", "SIGABRT"),
    ],
)
def test_a_real_library_is_tried_in_a_child(
    tmp_path: Path, body: str, code: str, seen: str
) -> None:
    """Real libraries: mismatched ones crash, and one does not find a device."""
    source = tmp_path / "library.c"
    source.write_text("#include <stdlib.h>\n#include <signal.h>\n" + body)
    library = tmp_path / "libedgetpu.so.1"
    subprocess.run([str(_GCC), "-shared", "-fPIC", "-o", library, source], check=True)
    result = doctor(env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    check = next(each for each in result.checks if each.code == code)
    assert seen in check.seen
    assert not result.edge_tpu_usable
    assert result.cpu_usable


def test_another_python_can_be_examined(tmp_path: Path) -> None:
    result = doctor(python=str(tmp_path / "no-python"))
    assert result.checks[0].status == "failed"
    assert not result.cpu_usable
