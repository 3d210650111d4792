# SPDX-License-Identifier: Apache-2.0
"""``import edgekit`` gives one function a command, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import edgekit

_ON_THE_DEVICE = ("benchmark", "bundle", "doctor", "evaluate", "read_model", "run", "verify")


@pytest.mark.parametrize("name", _ON_THE_DEVICE)
def test_a_public_name_is_a_function_each_time(name: str) -> None:
    for _ in range(2):
        found = getattr(edgekit, name)
        assert callable(found)
        assert not isinstance(found, ModuleType)


def test_a_package_imported_first_does_not_hide_the_function_of_its_name() -> None:
    program = (
        "import edgekit.doctor, edgekit.bundle, edgekit.evaluate, edgekit\n"
        "print(edgekit.doctor.__name__, edgekit.bundle.__name__, edgekit.evaluate.__name__)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "doctor bundle evaluate\n", done.stderr
