# SPDX-License-Identifier: Apache-2.0
"""A board: this machine over its own sshd, a Python with edgekit, and a connection that breaks."""

from __future__ import annotations

import socket
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgekit import __version__
from edgekit.bundle import bundle as write_bundle
from edgekit.formats.tflite import Model, write_model
from tests.sshd import Server, server

__all__ = ["server"]

if sys.version_info < (3, 10):  # noqa: UP036 - the device's Pythons run the tests around it
    collect_ignore_glob = ["test_*.py"]

_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Board:
    """A folder that is used as the board's disk, and the Python there."""

    server: Server
    folder: Path
    python: Path

    @property
    def name(self) -> str:
        return self.server.name

    def words(self) -> list[str]:
        """Command-line options for this board."""
        return ["--folder", str(self.folder), "--python", str(self.python), "--device", "cpu"]


@pytest.fixture
def board(server: Server, tmp_path: Path) -> Board:
    python = tmp_path / "python-of-the-board"
    # sshd does not pass on the variables of the tests, such as this number of threads.
    variables = f"OPENBLAS_NUM_THREADS=1 PYTHONPATH={_REPOSITORY}"
    python.write_text(f'#!/bin/sh\n{variables} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return Board(server, tmp_path / "board", python)


@pytest.fixture
def net(tmp_path: Path, int8_model: Model) -> Path:
    """A bundle of about 2 MB."""
    return make_bundle(tmp_path, int8_model)


def make_bundle(folder: Path, model: Model, *metrics: Path) -> Path:
    """A bundle with these results, and 2 MB of noise in its model, which is net.tflite."""
    noise = np.random.default_rng(3).integers(0, 256, 2_000_000, np.uint8)
    source = folder / "net.tflite"
    source.write_bytes(write_model(Model(model.subgraphs, (*model.buffers, noise))))
    write_bundle(source, output=folder / "net.edgekit", metrics=metrics)
    return folder / "net.edgekit"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(11)
    path = tmp_path / "data.npz"
    np.savez(str(path), x=random.integers(0, 256, (40, 8, 8), np.uint8), y=np.arange(40) % 5)
    return path


class Cable:
    """A proxy to a local port that breaks the connection after some bytes, several times."""

    def __init__(self, port: int, after_bytes: int, breaks: int) -> None:
        self._to, self.after_bytes, self.breaks = port, after_bytes, breaks
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                self._start(self._carry, near, far, self.after_bytes if self.breaks else None)
                self._start(self._carry, far, near, None)

    def _carry(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        carried = 0
        with suppress(OSError):
            content = source.recv(1 << 15)
            while content:
                carried += len(content)
                if limit is not None and carried > limit:
                    self.breaks -= 1
                    break
                target.sendall(content)
                content = source.recv(1 << 15)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cable(server: Server) -> Iterator[Cable]:
    """Breaks once after 1 MB; its host key is known."""
    cable = Cable(server.port, after_bytes=1_000_000, breaks=1)
    known = server.known_hosts.read_text()
    server.known_hosts.write_text(known + known.replace(str(server.port), str(cable.port), 1))
    yield cable
    cable.close()


@pytest.fixture
def wheel_dir(tmp_path: Path) -> Path:
    """A folder with a wheel of this tree."""
    folder = tmp_path / "wheel_dir"
    folder.mkdir()
    make_wheel(folder, "edgekit-coral")
    return folder


def make_wheel(folder: Path, name: str) -> Path:
    """This tree as ``name`` 9.9.9; a .pth adds the packages of a board's system, such as numpy."""
    packages = "\n".join(path for path in sys.path if path.endswith("site-packages"))
    stem = f"{name.replace('-', '_')}-9.9.9"
    info = f"{stem}.dist-info"
    written = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(written, "w") as wheel:
        for path in sorted((_REPOSITORY / "edgekit").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                if path == _REPOSITORY / "edgekit" / "version.py":
                    content = content.replace(__version__.encode(), b"9.9.9")
                wheel.writestr(path.relative_to(_REPOSITORY).as_posix(), content)
        wheel.writestr("the_distribution.pth", packages)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9.9\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        record = [f"{each},," for each in (*wheel.namelist(), f"{info}/RECORD")]
        wheel.writestr(f"{info}/RECORD", "\n".join(record))
    return written
