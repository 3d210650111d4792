# SPDX-License-Identifier: Apache-2.0
"""Every error class of edgekit has a code with a page, and the command line prints it."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import edgekit
from edgekit.errors import EdgeKitError
from edgekit.explain import CODES

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


def test_an_error_ends_with_its_code_and_explain_knows_it() -> None:
    def edgekit_(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgekit", *words]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    failed = edgekit_("benchmark", "/no/such/file.tflite")
    assert failed.returncode == 3
    last = failed.stderr.rstrip().splitlines()[-1]
    assert last == "  code: input (edgekit explain input)"
    explained = edgekit_("explain", "input")
    assert explained.returncode == 0
    assert explained.stdout.startswith("input: ")


def test_explain_reads_standard_input_and_admits_what_it_does_not_know() -> None:
    def explain(subject: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgekit", "explain", subject]
        return subprocess.run(command, check=False, capture_output=True, text=True, input=text)

    assert explain("-", "Model not quantized\n").stdout.startswith("compiler.not_quantized")
    unknown = explain("the kettle boils")
    assert (unknown.returncode, unknown.stdout.splitlines()[0]) == (0, "unknown to edgekit:")
    assert explain("compiler.nothing").returncode == 3
    assert explain("-", "").returncode == 3
