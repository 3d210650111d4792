# SPDX-License-Identifier: Apache-2.0
"""A real sshd on this machine's loopback, with real keys and known_hosts."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import pytest

__all__ = ["Server", "another_sshd", "needs_sshd", "server", "wait"]

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(_SSHD is None, reason="no sshd is installed (openssh-server)")


@dataclass
class Server:
    """A running sshd, and the home folder of a user who may log in."""

    port: int
    home: Path

    @property
    def via(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        """The address in the form for deploy."""
        return self.via[len("ssh://") :]

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    if _SSHD is None:
        pytest.skip("no sshd is installed (openssh-server)")
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    for key in (tmp_path / "host_key", ssh / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with another_sshd(tmp_path) as started:
        yield started


@contextmanager
def another_sshd(folder: Path, settings: str = "") -> Iterator[Server]:
    """An sshd with the keys of the fixture ``server``, and more lines in its configuration."""
    if os.geteuid() == 0:  # root's sshd needs it
        Path("/run/sshd").mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(port, folder / "home")
    config = folder / f"sshd_config_{port}"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/home/.ssh/id_ed25519.pub\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"PidFile {folder}/sshd_{port}.pid\nSubsystem sftp internal-sftp\n{settings}\n"
    )
    with server.known_hosts.open("a") as stream:
        stream.write(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    daemon = subprocess.Popen([str(_SSHD), "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE)
    try:
        wait(lambda: _answers(port) or daemon.poll() is not None)
        if daemon.poll() is not None and daemon.stderr:
            pytest.skip(f"sshd does not start here: {daemon.stderr.read().decode()[:200]}")
        yield server
    finally:
        daemon.terminate()
        daemon.communicate(timeout=30)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait(done: Callable[[], object], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.05)
    return bool(done())
