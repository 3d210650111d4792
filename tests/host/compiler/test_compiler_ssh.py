# SPDX-License-Identifier: Apache-2.0
"""--via ssh:// against a real sshd on this machine's loopback, with real keys and known_hosts."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edgekit.host.compiler import compile as run_compile
from edgekit.host.compiler_missing import CompilerError
from tests.host.compiler.conftest import StandIn

pytest.importorskip("asyncssh", reason="asyncssh is not installed (edgekit[ssh])")

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
_needs_sshd = pytest.mark.skipif(_SSHD is None, reason="no sshd is installed (openssh-server)")


@dataclass
class Server:
    """A running sshd, and the home folder of a user who may log in."""

    port: int
    home: Path

    @property
    def via(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    if _SSHD is None:
        pytest.skip("no sshd is installed (openssh-server)")
    if os.geteuid() == 0:  # sshd of root wants it
        Path("/run/sshd").mkdir(exist_ok=True)
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    for key in (tmp_path / "host_key", ssh / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {tmp_path}/host_key\n"
        f"AuthorizedKeysFile {ssh}/id_ed25519.pub\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"PidFile {tmp_path}/sshd.pid\nSubsystem sftp internal-sftp\n"
    )
    public = (tmp_path / "host_key.pub").read_text()
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    daemon = subprocess.Popen([_SSHD, "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE)
    try:
        _wait(lambda: _answers(port) or daemon.poll() is not None)
        if daemon.poll() is not None and daemon.stderr:
            pytest.skip(f"sshd does not start here: {daemon.stderr.read().decode()[:200]}")
        yield Server(port, tmp_path / "home")
    finally:
        daemon.terminate()
        daemon.communicate(timeout=30)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _wait(done: Callable[[], object], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.05)
    return bool(done())


def _is_gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def _everything_is_gone(stand_in: StandIn) -> bool:
    call = stand_in.calls[0]
    return _is_gone(stand_in.child_pid) and _is_gone(call["pid"]) and not Path(call["cwd"]).exists()


@_needs_sshd
def test_the_result_is_the_one_of_this_machine(
    stand_in: StandIn, server: Server, tmp_path: Path, model: Path, out: Path
) -> None:
    second = tmp_path / "it's $HOME; two.tflite"
    second.write_bytes(model.read_bytes())
    here = tmp_path / "here"
    here.mkdir()
    stand_in.will(stand_in.success("net", second.stem))
    there = run_compile([model, second], out_dir=out, compiler=stand_in.path, via=server.via)
    local = run_compile([model, second], out_dir=here, compiler=stand_in.path)
    for name in sorted(path.name for path in here.iterdir()):
        assert (out / name).read_bytes() == (here / name).read_bytes()
    assert [replace(each, output="") for each in there.models] == [
        replace(each, output="") for each in local.models
    ]
    assert there.log == local.log
    assert there.via == server.via
    assert not Path(stand_in.calls[0]["cwd"]).exists()


@_needs_sshd
def test_a_failure_there_is_the_failure_here(
    stand_in: StandIn, server: Server, model: Path, out: Path
) -> None:
    stand_in.will({"stdout": "Model not quantized\n", "stderr": "ERROR: x\n", "status": 1})
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via)
    assert raised.value.code == "compiler.not_quantized"
    stand_in.will({"signal": signal.SIGSEGV})
    with pytest.raises(CompilerError, match="SIGSEGV in 2 attempts"):
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via, retries=1)


@_needs_sshd
def test_a_host_key_that_is_not_known_is_refused(
    stand_in: StandIn, server: Server, model: Path, out: Path
) -> None:
    server.known_hosts.write_text("")
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via)
    assert raised.value.code == "compiler.remote"
    assert "known_hosts" in raised.value.why
    assert raised.value.exit_status == 5


@_needs_sshd
def test_a_login_that_is_refused_is_an_error(
    stand_in: StandIn, server: Server, model: Path, out: Path
) -> None:
    (server.home / ".ssh" / "id_ed25519").unlink()
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via)
    assert raised.value.code == "compiler.remote"
    assert "key" in raised.value.fix


@_needs_sshd
def test_a_machine_without_the_compiler_is_an_error(server: Server, model: Path, out: Path) -> None:
    with pytest.raises(CompilerError, match="cannot be run on 127") as raised:
        run_compile([model], out_dir=out, compiler="/no/compiler", via=server.via)
    assert raised.value.code == "compiler.missing"


@_needs_sshd
def test_the_deadline_ends_everything_there(
    stand_in: StandIn, server: Server, model: Path, out: Path
) -> None:
    stand_in.will({"stdout": "Edge TPU Compiler version 16.0.384591198\n", "hang": True})
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via, deadline_s=3)
    assert raised.value.code == "compiler.deadline"
    assert "version 16.0" in raised.value.why
    assert _wait(lambda: _everything_is_gone(stand_in))


@_needs_sshd
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_lost_connection_end_everything_there(
    stand_in: StandIn, server: Server, model: Path, out: Path, number: signal.Signals
) -> None:
    stand_in.will({"hang": True})
    words = ["compile", str(model), "-o", str(out), "--compiler", stand_in.path]
    child = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *words, "--via", server.via],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(out.parent)},  # SIGKILL leaves the folder there
    )
    assert _wait(lambda: stand_in.child_pid or child.poll() is not None, 60)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == (130 if number == signal.SIGINT else -number), stderr
    assert "Traceback" not in stderr
    assert _wait(lambda: _everything_is_gone(stand_in))
    assert not list(out.iterdir())


def test_nobody_at_the_port_is_an_error(model: Path, out: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, via=f"ssh://127.0.0.1:{port}")
    assert raised.value.code == "compiler.remote"
    assert f"ssh -p {port} 127.0.0.1 true" in raised.value.fix
