# SPDX-License-Identifier: Apache-2.0
"""The page in Chromium: a file, two models, the camera, a phone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import Page, chromium_page
from tests.serve.conftest import COLOURS, Server, picture, serving

pytest.importorskip("fastapi", reason="FastAPI is not installed (the extra serve)")

# A camera that shows a moving pattern; the page may use it without asking.
_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
_PHONE = 390  # pixels
_SHOWN = "[...document.querySelectorAll('.answer img')].filter(e => e.naturalWidth).length"
_LIMIT_S = 60


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with chromium_page(tmp_path / "profile", *_CAMERA) as tab:
        yield tab


def _wait(page: Page, expression: str) -> None:
    end = time.monotonic() + _LIMIT_S
    while not page.ask(expression):
        assert time.monotonic() < end, page.ask("document.body.innerText")
        time.sleep(0.05)


def _choose(page: Page, path: Path) -> None:
    field = page.send("Runtime.evaluate", expression="document.getElementById('file')")
    page.send("DOM.setFileInputFiles", files=[str(path)], objectId=field["result"]["objectId"])


@pytest.mark.parametrize("width", [1100, _PHONE])
def test_an_image_is_answered_by_two_models(
    page: Page, server: Server, tmp_path: Path, width: int
) -> None:
    (tmp_path / "green.png").write_bytes(picture(COLOURS[1]))
    page.open(server.address, width=width)
    _wait(page, "document.getElementById('state').textContent.startsWith('2 models')")
    _choose(page, tmp_path / "green.png")
    _wait(page, f"{_SHOWN} === 2")
    text = page.ask("document.querySelector('.answer table').innerText")
    assert text.split()[0] == "green"
    assert "inference" in page.ask("document.querySelector('.times').textContent")
    assert page.ask("document.documentElement.scrollWidth") == width
    (tmp_path / "text.png").write_text("no image")
    _choose(page, tmp_path / "text.png")
    _wait(page, "document.getElementById('state').className === 'bad'")
    assert "not an image" in page.ask("document.getElementById('state').textContent")
    logged = [each["entry"]["text"] for each in page.of("Log.entryAdded")]
    assert all("415" in each for each in logged), logged
    assert page.of("Runtime.exceptionThrown") == []
    asked = [event["request"]["url"] for event in page.of("Network.requestWillBeSent")]
    assert all(url.startswith((server.address, "data:", "blob:")) for url in asked)


def test_the_camera_is_answered_until_it_is_stopped(page: Page, server: Server) -> None:
    page.open(server.address)
    _wait(page, "models.length === 2")
    page.click("#camera")
    _wait(page, f"{_SHOWN} === 2")
    first = page.ask("document.querySelector('.answer img').src")
    _wait(page, f"document.querySelector('.answer img').src !== {first!r}")
    page.click("#camera")
    _wait(page, "document.getElementById('video').hidden")
    assert page.of("Runtime.exceptionThrown") == []


def test_the_page_takes_the_token_from_its_address(page: Page, models: list[Path]) -> None:
    with serving(models, "--host", "0.0.0.0") as server:
        plain = f"http://127.0.0.1:{server.port}/"
        page.open(plain)
        _wait(page, "document.getElementById('state').className === 'bad'")
        assert "token" in page.ask("document.getElementById('state').textContent")
        page.open("about:blank")
        page.open(f"{plain}#token={server.token}")
        _wait(page, "document.getElementById('state').textContent.startsWith('2 models')")
