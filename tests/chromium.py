# SPDX-License-Identifier: Apache-2.0
"""Control a page in headless Chromium over its debugging pipe: requests, content, results."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from edgekit.process import Conversation

# The pipe is file descriptors 3 (commands) and 4 (replies), separate from Chromium's output.
_ON_PIPE = 'exec "$@" 3<&0 4>&1 0</dev/null 1>&2'
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--remote-debugging-pipe",
    "--hide-scrollbars",
)
_TIMEOUT_S = 120


class Page:
    """One tab; its commands are those of the Chrome DevTools Protocol."""

    def __init__(self, commands: IO[bytes], answers: IO[bytes]) -> None:
        self._commands, self._answers = commands, answers
        self._number, self._session, self._buffer = 0, "", b""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and wait for its reply; events before the reply are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = self._answers.read1(1 << 16)  # type: ignore[attr-defined]  # a BufferedReader
            assert part, "Chromium has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all events of a kind so far."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def open(self, place: Path | str, *, width: int = 1100, dark: bool = False) -> None:
        """Load a file or an address in a window of ``width``, and wait until it is loaded."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.media(dark=dark)
        before = len(self.of("Page.loadEventFired"))
        self.send("Page.navigate", url=place if isinstance(place, str) else place.as_uri())
        while len(self.of("Page.loadEventFired")) == before:
            self.events.append(self._read())

    def media(self, *, dark: bool = False, printed: bool = False) -> None:
        """What the page is shown on."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = "print" if printed else "screen"
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def ask(self, expression: str) -> Any:  # noqa: ANN401 - any JSON value
        """The value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def hover(self, selector: str) -> None:
        """Move the mouse onto the first element that ``selector`` finds."""
        x, y = self._middle(selector)
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Click the first element that ``selector`` finds."""
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **typed,
            )

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        result = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(result["data"]))

    def _middle(self, selector: str) -> tuple[float, float]:
        found = self.ask(
            f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] "
            f"}})(document.querySelector({json.dumps(selector)}))"
        )
        return found[0], found[1]


@contextmanager
def chromium_page(profile: Path, *options: str) -> Iterator[Page]:
    """A new tab; ``options`` are Chromium's. The test is skipped if there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    words = ["/bin/sh", "-c", _ON_PIPE, "sh", program, *_OPTIONS, *options]
    words.append(f"--user-data-dir={profile}")
    with Conversation(words, timeout_s=_TIMEOUT_S) as browser:
        yield Page(browser.stdin, browser.stdout)
