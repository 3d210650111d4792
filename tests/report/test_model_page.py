# SPDX-License-Identifier: Apache-2.0
"""The page is one offline file, and contains the values of the result."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor, write_model
from edgekit.inspect import inspect
from edgekit.report import model_page

_EMPTY = np.empty(0, np.uint8)
_VOID = {"meta", "br", "path", "circle"}


class _Nesting(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.rows += (dict(attrs).get("class") or "").startswith("row")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag


def _page_of(tmp_path: Path, *names: str) -> str:
    tensors = tuple(Tensor(name, (1, 4), "INT8", 0) for name in names)
    operators = tuple(Operator("RELU", 1, (i,), (i + 1,)) for i in range(len(names) - 1))
    graph = Subgraph(tensors, (0,), (len(names) - 1,), operators)
    path = tmp_path / "model.tflite"
    path.write_bytes(write_model(Model((graph,), (_EMPTY,))))
    return model_page(inspect(path))


def test_names_of_tensors_cannot_become_markup(tmp_path: Path) -> None:
    page = _page_of(tmp_path, "in", "<script>alert(1)</script>", "out")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_each_operator_input_and_output_has_a_row(tmp_path: Path) -> None:
    parser = _Nesting()
    parser.feed(_page_of(tmp_path, "a", "b", "c", "d"))
    assert parser.open == []
    assert parser.rows == 3 + 1 + 1


def test_a_model_without_operators_has_a_page(tmp_path: Path) -> None:
    assert "Graph" in _page_of(tmp_path, "only")


@pytest.mark.corpus
def test_the_page_fetches_nothing_and_its_parts_are_in_colour(corpus: Path) -> None:
    folder = corpus / "compiled/google-coral__test_data"
    result = inspect(
        folder / "deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite",
        source=folder / "deeplabv3_mnv2_dm05_pascal_quant.tflite",
    )
    page = model_page(result)
    assert not re.search(r"https?://|<script|<link|@import|url\(", page)
    assert page.count('class="row tpu"') == 64
    assert page.count('class="row cpu"') == 8
    parser = _Nesting()
    parser.feed(page)
    assert parser.open == []
