# SPDX-License-Identifier: Apache-2.0
"""``import edgekit`` costs nothing and offers one function a command."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgekit


def _python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_importing_edgekit_imports_nothing_else() -> None:
    program = (
        "import sys; before = set(sys.modules); import edgekit; "
        "new = {n.split('.')[0] for n in set(sys.modules) - before}; "
        "print(sorted(n for n in new if n in ('numpy', 'tflite', 'typer', 'tensorflow')))"
    )
    assert _python(program).strip() == "[]"


@pytest.mark.parametrize("first", ["import edgekit.evaluate", "import edgekit.cli.main", "pass"])
def test_names_mean_the_functions_whatever_was_imported_before(first: str) -> None:
    """A sub-package of the same name must not take a function's place."""
    program = (
        f"{first}\nimport edgekit\nprint(callable(edgekit.evaluate), edgekit.evaluate.__name__)"
    )
    assert _python(program).split() == ["True", "evaluate"]


def test_every_public_name_can_be_had() -> None:
    host = {"compile", "convert", "demo", "deploy", "report"}
    for name in set(edgekit.__all__) - host:
        assert getattr(edgekit, name) is not None
    assert set(dir(edgekit)) == set(edgekit.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        edgekit.nonsense  # noqa: B018 - reading it is the test
