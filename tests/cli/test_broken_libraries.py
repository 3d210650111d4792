# SPDX-License-Identifier: Apache-2.0
"""Libraries that are installed and cannot be loaded lead to the doctor, not to a traceback."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]
_ABI = "raise ImportError('numpy.core.multiarray failed to import')\n"
_NOISE = "import sys; sys.stderr.write('Traceback (most recent call last): numpy 1\\n')\n"


def _benchmark(model: Path, packages: Path, runtime: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(packages), str(_REPOSITORY)))
    words = ["benchmark", str(model), "--runtime", runtime, "--json"]
    return subprocess.run(
        [sys.executable, "-m", "edgekit", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.parametrize("code", [_NOISE + _ABI, "raise AttributeError('_ARRAY_API not found')\n"])
def test_the_error_for_a_runtime_of_another_numpy_names_the_doctor(
    int8_path: Path, tmp_path: Path, code: str
) -> None:
    package = tmp_path / "packages" / "tflite_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(code)
    done = _benchmark(int8_path, package.parent, "tflite-runtime")
    document = json.loads(done.stdout)
    assert (done.returncode, document["code"]) == (5, "tool.broken")
    assert "edgekit doctor" in document["fix"]
    assert "Traceback" not in done.stderr


def test_the_error_for_a_runtime_that_fails_when_it_is_used_names_the_doctor(
    int8_path: Path, tmp_path: Path
) -> None:
    """Fail like tflite-runtime 2.14 with numpy 2: it prints, and raises SystemError."""
    package = tmp_path / "packages" / "tflite_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(
        "import enum\n"
        "class OpResolverType(enum.Enum):\n    AUTO = 0\n"
        "    BUILTIN_REF = 1\n    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 2\n"
        "class Interpreter:\n    def __init__(self, **options):\n"
        f"        {_NOISE.strip()}\n"
        "        raise SystemError('returned a result with an error set')\n"
    )
    done = _benchmark(int8_path, package.parent, "tflite-runtime")
    assert done.returncode == 5, done.stderr
    assert json.loads(done.stdout)["code"] == "tool.broken"
    assert "Traceback" not in done.stderr


def test_the_error_for_a_broken_numpy_names_the_doctor(int8_path: Path, tmp_path: Path) -> None:
    package = tmp_path / "packages" / "numpy"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "raise ImportError('libopenblas.so.0: cannot open shared object file', name='numpy')\n"
    )
    done = _benchmark(int8_path, package.parent, "tflite-runtime")
    assert done.returncode == 5, done.stderr
    assert json.loads(done.stdout)["code"] == "tool.broken"
    assert "Traceback" not in done.stderr


def test_help_imports_neither_numpy_nor_what_computes() -> None:
    code = (
        "import sys, edgekit.cli.main; print(sorted({'numpy', 'PIL', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=str(_REPOSITORY),
    )
    assert "numpy" not in done.stdout


def test_commands_that_run_models_import_no_part_missing_in_the_boards_wheel() -> None:
    code = "import sys, edgekit; edgekit.run, edgekit.evaluate; print([*sys.modules])"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=str(_REPOSITORY))
    loaded = ast.literal_eval(done.stdout)
    assert "edgekit.evaluate" in loaded
    absent = ("edgekit.rewrite", "edgekit.edgetpu.lints", "edgekit.edgetpu.check", "edgekit.host")
    assert [name for name in loaded if name.startswith(absent)] == []
