# SPDX-License-Identifier: Apache-2.0
"""The package of generated classes: few modules for a Runner, all names for other code."""

from __future__ import annotations

import subprocess
import sys

import pytest


def _say(program: str) -> str:
    command = [sys.executable, "-c", "import sys\nfrom edgekit import Runner\n" + program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_runner_imports_few_of_the_schemas_modules() -> None:
    count = int(_say("print(sum(name.startswith('tflite.') for name in sys.modules))"))
    assert count < 30


def test_importing_the_runner_imports_no_module_that_it_may_not_need() -> None:
    unwanted = (
        "edgekit.formats.bundle edgekit.runtime.edgetpu edgekit.edgetpu.check edgekit.explain"
    )
    assert _say(f"print([m for m in '{unwanted}'.split() if m in sys.modules])") == "[]"


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ("import tflite, tflite.Model; print(tflite.Model.__name__)", "Model"),
        ("import tflite.Model as m, tflite; print(callable(tflite.Model))", "True"),
        ("from tflite import Conv2DOptionsAddPadding as f; print(f.__name__)", None),
        ("import tflite; print(len(tflite.__version__) > 2)", "True"),
        ("import tflite; print(tflite.utils is not None)", "True"),
        ("from tflite import *; print(BuiltinOperator.CONV_2D)", "3"),
        ("import tflite; print(hasattr(tflite, 'Nothing'), hasattr(tflite, 'nothing'))", None),
    ],
)
def test_other_code_can_import_every_name_of_the_package(program: str, answer: str | None) -> None:
    """Without a given answer, the same program without edgekit is the oracle."""
    alone = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
    said = _say(program)
    assert said == alone
    assert answer is None or said == answer
