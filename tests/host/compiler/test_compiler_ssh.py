# SPDX-License-Identifier: Apache-2.0
"""--via ssh:// against a real sshd on this machine's loopback, with real keys and known_hosts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgekit.host.compiler.errors import CompilerError
from edgekit.host.compiler.run import compile as run_compile
from tests.host.compiler.conftest import StandIn
from tests.sshd import Server, needs_sshd, wait

pytest.importorskip("asyncssh", reason="asyncssh is not installed (the extra ssh)")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def _is_gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def _everything_is_gone(stand_in: StandIn) -> bool:
    call = stand_in.calls[0]
    return _is_gone(stand_in.child_pid) and _is_gone(call["pid"]) and not Path(call["cwd"]).exists()


@needs_sshd
def test_the_result_is_the_same_as_on_this_machine(
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


@needs_sshd
def test_a_failure_on_the_other_machine_is_reported_here(
    stand_in: StandIn, server: Server, model: Path, out: Path
) -> None:
    stand_in.will({"stdout": "Model not quantized\n", "stderr": "ERROR: x\n", "status": 1})
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via)
    assert raised.value.code == "compiler.not_quantized"
    stand_in.will({"signal": signal.SIGSEGV})
    with pytest.raises(CompilerError, match="SIGSEGV in 2 attempts"):
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via, retries=1)


@needs_sshd
def test_an_unknown_host_key_is_refused(
    stand_in: StandIn, server: Server, model: Path, out: Path
) -> None:
    server.known_hosts.write_text("")
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via)
    assert raised.value.code == "compiler.remote"
    assert "known_hosts" in raised.value.why
    assert raised.value.exit_status == 5


@needs_sshd
def test_a_login_that_is_refused_is_an_error(
    stand_in: StandIn, server: Server, model: Path, out: Path
) -> None:
    (server.home / ".ssh" / "id_ed25519").unlink()
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via)
    assert raised.value.code == "compiler.remote"
    assert "key" in raised.value.fix


@needs_sshd
def test_a_machine_without_the_compiler_is_an_error(server: Server, model: Path, out: Path) -> None:
    with pytest.raises(CompilerError, match="cannot be run on 127") as raised:
        run_compile([model], out_dir=out, compiler="/no/compiler", via=server.via)
    assert raised.value.code == "compiler.missing"


@needs_sshd
def test_the_deadline_ends_all_processes_there(
    stand_in: StandIn, server: Server, model: Path, out: Path
) -> None:
    stand_in.will({"stdout": "Edge TPU Compiler version 16.0.384591198\n", "hang": True})
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, compiler=stand_in.path, via=server.via, deadline_s=3)
    assert raised.value.code == "compiler.deadline"
    assert "version 16.0" in raised.value.why
    assert wait(lambda: _everything_is_gone(stand_in))


@needs_sshd
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_lost_connection_end_all_processes_there(
    stand_in: StandIn, server: Server, model: Path, out: Path, number: signal.Signals
) -> None:
    stand_in.will({"hang": True})
    words = ["compile", str(model), "-o", str(out), "--compiler", stand_in.path]
    child = subprocess.Popen(
        [sys.executable, "-m", "edgekit", *words, "--via", server.via],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(out.parent)},  # after SIGKILL the folder is still there
    )
    assert wait(lambda: stand_in.child_pid or child.poll() is not None, 60)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == (130 if number == signal.SIGINT else -number), stderr
    assert "Traceback" not in stderr
    assert wait(lambda: _everything_is_gone(stand_in))
    assert not list(out.iterdir())


def test_a_closed_port_is_an_error(model: Path, out: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(CompilerError) as raised:
        run_compile([model], out_dir=out, via=f"ssh://127.0.0.1:{port}")
    assert raised.value.code == "compiler.remote"
    assert f"ssh -p {port} 127.0.0.1 true" in raised.value.fix
