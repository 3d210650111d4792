# SPDX-License-Identifier: Apache-2.0
"""Generated pages are up to date, and the score reaches its limits."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    """A program of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, str(_REPOSITORY / "scripts" / f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def test_the_page_of_supported_operations_is_not_stale() -> None:
    page = script("supported_operations").page()
    assert (_REPOSITORY / "docs" / "supported-operations.md").read_text() == page


@pytest.mark.corpus
@pytest.mark.skipif(sys.version_info < (3, 10), reason="scripts are for Python 3.10 and later")
def test_check_agrees_with_the_compiled_models(corpus: Path) -> None:
    accuracy = script("check_accuracy")
    score = accuracy.score(corpus)
    assert score.disagreements == []
    assert score.unknown_share <= 0.0005
    assert score.parameters_share >= 0.95
    programs = corpus.parent / "programs"  # more compiled models, if they are there
    if (programs / "truth.json").exists():
        both = accuracy.score(corpus, programs)
        assert both.disagreements == []
        assert (_REPOSITORY / "docs" / "check-accuracy.md").read_text() == accuracy.page(both)
