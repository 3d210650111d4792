# SPDX-License-Identifier: Apache-2.0
"""Pages that scripts write are up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from scripts import api_page, json_reference, page_outputs
from scripts.page_outputs import CommandError, comparable, fresh_pages, page_with_outputs
from tests.conftest import PAGE_GROUPS

pytestmark = pytest.mark.host

_OF_THE_CORPUS = ("docs/tutorials/mnist.md", "docs/guides/frigate.md")


@pytest.mark.slow
@pytest.mark.parametrize("group", PAGE_GROUPS)
def test_the_outputs_in_the_pages_are_those_of_the_commands(
    group: str, run_pages: Callable[[str], Path]
) -> None:
    fresh = json.loads((run_pages(group) / "fresh.json").read_text())
    _assert_fresh(PAGE_GROUPS[group], fresh)


@pytest.mark.slow
@pytest.mark.corpus
@pytest.mark.parametrize("page", _OF_THE_CORPUS)
def test_the_outputs_of_the_corpus_are_those_of_the_commands(
    page: str, tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_CORPUS", str(corpus.resolve()))
    _assert_fresh((page,), fresh_pages((page,), tmp_path))


def _assert_fresh(pages: tuple[str, ...], fresh_ones: Iterable[Sequence[str]]) -> None:
    seen = []
    for page, text, fresh in fresh_ones:
        seen.append(page)
        hint = f"{page} is stale: run python scripts/page_outputs.py {page}"
        assert comparable(fresh) == comparable(text), hint
    assert seen == list(pages)


def test_every_page_with_outputs_is_tested() -> None:
    assert sorted(page_outputs.PAGES) == sorted(
        [page for group in PAGE_GROUPS.values() for page in group] + [*_OF_THE_CORPUS]
    )
    written = [page_outputs.ROOT / "README.md", *sorted((page_outputs.ROOT / "docs").rglob("*.md"))]
    with_outputs = {
        str(path.relative_to(page_outputs.ROOT))
        for path in written
        if "<!-- run" in path.read_text()
    }
    assert with_outputs == set(page_outputs.PAGES)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("top1 97.50%  p50 0.010 ms", "top1  98.1%  p50  1.2 ms"),
        ("took 9 s, 681 MiB at most", "took 120 s, 1,200 MiB at most"),
        ("scale 0.0039, zero point -12", "scale 0.11, zero point 7"),
        ("(18 single inferences)", "(128 single inferences)"),
        ("the float model is right on 19 of 20", "the float model is right on 18 of 20"),
        ("32,668 bytes", "1,032,508 bytes"),
        ("mean 0.253 +0.022", "mean 0.211 -0.001"),
        ("9 of 9 scores above 0.5 found, 0 false", "10 of 11 scores above 0.5 found, 2 false"),
    ],
)
def test_times_and_trained_numbers_do_not_make_a_page_stale(first: str, second: str) -> None:
    assert comparable(first) == comparable(second)


@pytest.mark.parametrize(
    "other",
    ["maps 6 of 7 operators", "maps 7 of 7 operator", "maps 7 of 7 operators\nwarning: more"],
)
def test_words_and_counts_make_a_page_stale(other: str) -> None:
    assert comparable("maps 7 of 7 operators") != comparable(other)


def test_a_page_runs_its_commands_and_writes_its_files(tmp_path: Path) -> None:
    page = (
        "<!-- prepare: echo hidden > before.txt -->\n"
        '```text title="note.txt"\nwritten first\n```\n'
        "<!-- run, status 4 -->\n```console\n$ cat before.txt note.txt\nold\n$ exit 4\n```\nend\n"
    )
    fresh = page_with_outputs("page", page, tmp_path)
    assert "$ cat before.txt note.txt\nhidden\nwritten first\n$ exit 4\n```\nend\n" in fresh
    assert "old" not in fresh


def test_a_command_with_another_status_than_the_page_states_is_an_error(tmp_path: Path) -> None:
    page = "<!-- run -->\n```console\n$ exit 3\n```\n"
    with pytest.raises(CommandError, match="'exit 3' ended with 3, not 0"):
        page_with_outputs("page", page, tmp_path)


def test_the_json_reference_is_up_to_date() -> None:
    fresh = json_reference.page()
    assert json_reference.PAGE.read_text() == fresh, "run python scripts/json_reference.py"


def test_the_json_reference_has_every_schema_of_the_source() -> None:
    text = json_reference.PAGE.read_text()
    declared = {
        name
        for path in (page_outputs.ROOT / "edgekit").rglob("*.py")
        for name in re.findall(r'schema: ClassVar\[str\] = "(edgekit\.[^"]+)"', path.read_text())
    }
    assert len(declared) > 15
    assert {name for name in declared if f"## {name}\n" not in text} == set()


def test_the_python_reference_is_up_to_date() -> None:
    assert api_page.PAGE.read_text() == api_page.page(), "run python scripts/api_page.py"


def test_the_workflow_runs_only_what_exists_in_the_checkout() -> None:
    workflow = (page_outputs.ROOT / ".github" / "workflows" / "check.yml").read_text()
    makefile = (page_outputs.ROOT / "Makefile").read_text()
    targets = re.findall(r"run: make ([\w-]+)", workflow)
    assert {"check", "docs", "test-host"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    for script in re.findall(r"run: (scripts/\S+)", workflow):
        assert (page_outputs.ROOT / script).is_file()
