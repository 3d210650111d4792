# SPDX-License-Identifier: Apache-2.0
"""Every error class of edgekit has a code with a page, and the command line prints it."""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import edgekit
from edgekit.errors import EdgeKitError
from edgekit.explain import CODES
from edgekit.explain.codes import KNOWN_TEXTS, RESULT_CODE
from tests.command import edgekit as run_edgekit

_PROGRAMS = ("edgekit.__main__", "edgekit.host.worker")  # these run when they are imported


def _classes(base: type[EdgeKitError]) -> Iterator[type[EdgeKitError]]:
    yield base
    for child in base.__subclasses__():
        yield from _classes(child)


def test_the_code_of_every_error_class_has_a_page() -> None:
    for module in pkgutil.walk_packages(edgekit.__path__, "edgekit."):
        if not module.name.startswith(_PROGRAMS):
            importlib.import_module(module.name)
    codes = {each.code for each in _classes(EdgeKitError)}
    assert len(codes) >= 12
    assert codes <= set(CODES)


@functools.cache
def _nodes() -> list[ast.AST]:
    """The syntax trees of the package without the pages themselves."""
    root = Path(edgekit.__file__).parent
    return [
        node
        for path in sorted(root.rglob("*.py"))
        if path.relative_to(root).parts[0] != "explain"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]


def _constants(node: ast.expr) -> Iterator[str]:
    """The possible values of a text expression: both branches of a conditional."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def test_each_code_that_is_raised_has_a_page() -> None:
    names = {
        target.id: node.value
        for node in _nodes()
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    raised: set[str] = set()
    for node in _nodes():
        if isinstance(node, ast.keyword) and node.arg == "code":
            given = node.value
            value = names.get(given.id, given) if isinstance(given, ast.Name) else given
            if isinstance(value, (ast.Constant, ast.IfExp, ast.BoolOp)):
                raised.update(_constants(value))
    assert {"model.crash", "gate.min_mapped", "compiler.missing"} <= raised
    assert {code for code in raised if code} <= set(CODES)


def test_each_page_has_a_code_that_is_raised() -> None:
    """Or, for another program's text, a pattern that matches it; or `explain` sums up a log."""
    texts = {text for node in _nodes() if isinstance(node, ast.expr) for text in _constants(node)}
    unused = set(CODES) - texts - {known.code for known in KNOWN_TEXTS} - {RESULT_CODE}
    assert unused == set()


def test_an_error_ends_with_its_code_and_explain_explains_it() -> None:
    failed = run_edgekit("benchmark", "/no/such/file.tflite")
    assert failed.returncode == 3
    last = failed.stderr.rstrip().splitlines()[-1]
    assert last == "  code: input (edgekit explain input)"
    explained = run_edgekit("explain", "input")
    assert explained.returncode == 0
    assert explained.stdout.startswith("input: ")


def test_explain_reads_standard_input_and_lists_unknown_lines() -> None:
    def explain(subject: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgekit", "explain", subject]
        return subprocess.run(command, check=False, capture_output=True, text=True, input=text)

    assert explain("-", "Model not quantized\n").stdout.startswith("compiler.not_quantized")
    unknown = explain("the kettle boils")
    assert (unknown.returncode, unknown.stdout.splitlines()[0]) == (0, "unknown to edgekit:")
    assert explain("compiler.nothing").returncode == 3
    assert explain("-", "").returncode == 3
