# SPDX-License-Identifier: Apache-2.0
"""TensorFlow is imported without what Keras only imports because it is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgekit.process import python_environment

_PACKAGE = "try:\n    import sklearn\nexcept ImportError:\n    sklearn = None\n"
_CODE = """
from edgekit.host.worker.library import import_tensorflow
print(import_tensorflow().sklearn)
import sklearn
print(sklearn.here, import_tensorflow().sklearn)
"""


def _output(folder: Path, code: str) -> str:
    env = python_environment()
    env["PYTHONPATH"] = f"{folder}:{env.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def test_what_keras_imports_if_it_is_there_is_hidden_only_from_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(_PACKAGE)
    (tmp_path / "sklearn.py").write_text("here = True\n")
    assert _output(tmp_path, _CODE) == "None\nTrue None\n"
