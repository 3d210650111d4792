# SPDX-License-Identifier: Apache-2.0
"""Real servers: processes of ``edgekit serve`` with small models."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.data.describe import with_notes
from edgekit.formats.tflite_metadata import Notes

_STOPPED_S = 30
COLOURS = {0: (250, 10, 20), 1: (10, 250, 20), 2: (20, 10, 250)}  # class -> RGB
_BOUNDARY = "edgekit-test"


def picture(colour: tuple[int, int, int] = COLOURS[0], size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a PNG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def form(**fields: bytes) -> bytes:
    """Return fields as multipart/form-data; ``image`` is a file."""
    parts = []
    for name, content in fields.items():
        file = '; filename="a.png"' if name == "image" else ""
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def document(self) -> Any:  # noqa: ANN401 - JSON
        """The content as JSON."""
        return json.loads(self.content)


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str  # as printed
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        """The port."""
        return int(urllib.parse.urlsplit(self.address).port or 0)

    @property
    def token(self) -> str:
        """The token in the printed address; empty if there is none."""
        return urllib.parse.urlsplit(self.address).fragment.partition("=")[2]

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "",
    ) -> Reply:
        """Send a request: a POST of a form if it has a body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = dict(headers or {})
        if body is not None:
            given.setdefault("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, given)
            found = connection.getresponse()
            lower = {name.lower(): value for name, value in found.getheaders()}
            return Reply(found.status, lower, found.read())

    def stop(self) -> int:
        """Interrupt it, and return its exit status."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=_STOPPED_S)
        return self.process.returncode


@contextlib.contextmanager
def serving(models: Sequence[Path], *words: str) -> Iterator[Server]:
    """Start ``edgekit serve`` on a free port, and stop it at the end."""
    command = [sys.executable, "-m", "edgekit", "serve", *map(str, models), "--port", "0", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as run:
        assert run.stdout is not None
        lines = []
        for line in run.stdout:
            lines.append(line)
            if line.startswith("page"):
                break
        else:
            assert run.stderr is not None
            pytest.fail(f"the server ended: {''.join(lines)}{run.stderr.read()}")
        try:
            yield Server(lines[-1].split()[1], run)
        finally:
            run.kill()


@pytest.fixture(scope="session")
def models(
    tmp_path_factory: pytest.TempPathFactory, make_constant: Callable[..., bytes]
) -> list[Path]:
    """A classifier of red, green and blue, and a face detector that finds one face."""
    from tests.evaluate.conftest import classifier  # noqa: PLC0415

    named = with_notes(classifier(), Notes(labels=("red", "green", "blue")))

    folder = tmp_path_factory.mktemp("served")
    regressors, logits = np.zeros((1, 896, 16)), np.full((1, 896, 1), -20.0)
    regressors[0, 200, 2:4], logits[0, 200] = 40, 3
    faces = make_constant((1, 128, 128, 3), [regressors, logits])
    found = {"colours": named, "faces": faces}
    for name, content in found.items():
        (folder / f"{name}.tflite").write_bytes(content)
    return [folder / f"{name}.tflite" for name in found]


@pytest.fixture(scope="session")
def server(models: list[Path]) -> Iterator[Server]:
    """A server of both models."""
    with serving(models) as started:
        yield started
