# SPDX-License-Identifier: Apache-2.0
"""``import edgekit`` is fast and offers one function per command."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

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
def test_names_are_bound_to_functions_after_any_import(first: str) -> None:
    """A sub-package must not replace a function of the same name."""
    program = (
        f"{first}\nimport edgekit\nprint(callable(edgekit.evaluate), edgekit.evaluate.__name__)"
    )
    assert _python(program).split() == ["True", "evaluate"]


# They need the host's Python.
_HOST = frozenset(
    (
        *("build", "cluster", "compile", "convert", "demo", "deploy", "report", "serve"),
        *("sources", "train", "tune"),
    )
)


def test_every_public_name_can_be_imported() -> None:
    for name in set(edgekit.__all__) - _HOST:
        assert getattr(edgekit, name) is not None
    assert set(dir(edgekit)) == set(edgekit.__all__)


def test_the_names_for_type_checkers_are_the_bound_names() -> None:
    tree = ast.parse(Path(edgekit.__file__).read_text(encoding="utf-8"))
    blocks = [
        each
        for each in tree.body
        if isinstance(each, ast.If)
        and isinstance(each.test, ast.Name)
        and each.test.id == "TYPE_CHECKING"
    ]
    seen = {
        alias.name: statement.module
        for block in blocks
        for statement in block.body
        if isinstance(statement, ast.ImportFrom) and statement.module != "typing"
        for alias in statement.names
    }
    assert {*seen, "__version__"} == set(edgekit.__all__)
    host = _HOST if sys.version_info < (3, 10) else frozenset()
    for name in set(seen) - host:
        assert getattr(importlib.import_module(str(seen[name])), name) is getattr(edgekit, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        edgekit.nonsense  # type: ignore[attr-defined]  # noqa: B018 - reading it is the test
