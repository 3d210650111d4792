# SPDX-License-Identifier: Apache-2.0
"""The report in Chromium: without messages, offline, narrow, dark, printed, by mouse and keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.report.page import report
from tests.chromium import Page, chromium_page
from tests.report.conftest import debug_document, write_json

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the extra report)")

_PAPER = "getComputedStyle(document.body).backgroundColor"
_FOCUS = "document.activeElement.outerHTML.slice(0, 60)"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with chromium_page(tmp_path / "profile") as tab:
        yield tab


@pytest.fixture
def written(run_folder: Path) -> Path:
    write_json(run_folder / "debug.json", debug_document(report(run_folder).sha256))
    return Path(report(run_folder).output)


def _shown(page: Page, selector: str) -> bool:
    display = page.ask(f"getComputedStyle(document.querySelector('{selector}')).display")
    return bool(display != "none")


def test_nothing_is_logged_and_nothing_requested(page: Page, written: Path) -> None:
    for dark in (False, True):
        page.open(written, dark=dark)
    asked = [event["request"]["url"] for event in page.of("Network.requestWillBeSent")]
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert {url for url in asked if url.startswith("file:")} == {written.as_uri()}
    for kind in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
        assert page.of(kind) == []


def test_the_report_fits_into_400_pixels_with_legible_charts(page: Page, written: Path) -> None:
    page.open(written, width=400)
    assert page.ask("document.documentElement.scrollWidth") == 400
    sizes = page.ask(
        "[...document.querySelectorAll('svg.chart')].map(e => e.getBoundingClientRect().width / "
        "e.viewBox.baseVal.width * 9)"
    )
    assert sizes
    assert min(sizes) >= 9  # pixels; the charts' text is 9 units high


def test_light_dark_and_print_differ(page: Page, written: Path) -> None:
    page.open(written)
    light = page.ask(_PAPER)
    page.media(dark=True)
    dark = page.ask(_PAPER)
    page.media(dark=True, printed=True)
    assert light == page.ask(_PAPER) == "rgb(255, 255, 255)"
    assert dark != light
    assert not _shown(page, "nav")


def test_the_report_can_be_printed(page: Page, written: Path) -> None:
    page.open(written)
    assert len(page.send("Page.printToPDF", printBackground=True)["data"]) > 10_000


def test_hovering_over_an_operator_shows_its_name(page: Page, written: Path) -> None:
    page.open(written)
    assert not _shown(page, ".ribbon .tip")
    page.hover(".ribbon a")
    assert _shown(page, ".ribbon .tip")
    assert "QUANTIZE: Edge TPU" in page.ask("document.querySelector('.ribbon .tip').textContent")


def test_a_series_can_be_hidden(page: Page, written: Path) -> None:
    page.open(written)
    assert _shown(page, ".switch svg .s0")
    page.click("#show-0")
    assert not _shown(page, ".switch svg .s0")
    assert _shown(page, ".switch svg .s1")
    page.click("#show-0")
    assert _shown(page, ".switch svg .s0")


def test_an_operator_links_to_its_row_even_in_a_closed_table(page: Page, written: Path) -> None:
    page.open(written)
    page.ask("document.querySelector('#operations ~ details').open = false")
    page.click(".ribbon li:nth-child(3) a")
    assert page.ask("document.querySelector(':target').id") == "op2"
    assert page.ask("document.querySelector('#operations ~ details').open")


def test_every_control_can_be_reached_by_keys(page: Page, written: Path) -> None:
    page.open(written)
    seen = set()
    for _ in range(60):
        page.press("Tab", 9)
        seen.add(page.ask("document.activeElement.tagName"))
        if page.ask("document.activeElement.id") == "show-0":
            break
    assert {"A", "SUMMARY", "INPUT"} <= seen
    page.press(" ", 32, " ")
    assert not _shown(page, ".switch svg .s0")
    assert page.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
