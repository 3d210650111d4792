# SPDX-License-Identifier: Apache-2.0
"""Child processes end at the right time, with all their children."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from edgekit.errors import ExternalToolError
from edgekit.formats.tflite import Model, write_model
from edgekit.process import Conversation, python_child, python_environment, run_process

_FOREVER = "import time; time.sleep(600)"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_output_status_and_input_are_passed_on() -> None:
    program = "import sys; print(sys.stdin.read()); print('warn', file=sys.stderr); sys.exit(3)"
    done = run_process([sys.executable, "-c", program], stdin="hello")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "warn\n", 3)


def test_large_output_on_both_pipes_does_not_block() -> None:
    program = "import sys; sys.stderr.write('e' * 10**6); sys.stdout.write('o' * 10**6)"
    done = run_process([sys.executable, "-c", program], timeout_s=60)
    assert (len(done.stdout), len(done.stderr)) == (10**6, 10**6)


def test_lines_are_passed_on_as_they_come() -> None:
    seen: list[str] = []
    run_process([sys.executable, "-c", "print('a'); print('b')"], on_stdout=seen.append)
    assert seen == ["a", "b"]


def test_a_timeout_ends_the_grandchildren_too(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {_FOREVER!r}])\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\n"
        "print('started', flush=True)\nchild.wait()"
    )
    done = run_process([sys.executable, "-c", program, str(note)], timeout_s=3)
    assert done.timed_out
    assert done.stdout == "started\n"
    assert not _is_alive(int(note.read_text()))


def test_ctrl_c_ends_the_child(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = f"import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); {_FOREVER}"

    def interrupt() -> None:
        while not (note.exists() and note.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_process([sys.executable, "-c", program, str(note)])
    assert not _is_alive(int(note.read_text()))


def test_the_signal_that_ended_a_child_has_a_name() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    assert run_process([sys.executable, "-c", program]).signal_name == "SIGSEGV"


def test_a_missing_program_is_an_external_tool_error(tmp_path: Path) -> None:
    with pytest.raises(ExternalToolError, match="No such file"):
        run_process([str(tmp_path / "none")])


def _processes_with(token: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if token.encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_ctrl_c_while_the_child_starts_leaves_no_process(tmp_path: Path) -> None:
    """A child must not be lost if Ctrl-C comes between its start and the wait for it."""
    token = f"token-{os.getpid()}-{tmp_path.name}"

    def run_interrupted(after_s: float) -> None:
        # Send it and wait in one place: on a busy machine it may come before the child.
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT)).start()
        run_process([sys.executable, "-c", _FOREVER, token])

    for delay_ms in range(1, 13):
        with pytest.raises(KeyboardInterrupt):
            run_interrupted(delay_ms / 2e3)
        assert _processes_with(token) == []


# Modules of the standard library and of edgekit's dependencies that its children import.
_SHADOWED = ("base64", "ctypes", "json", "numpy", "platform", "runpy", "sitecustomize", "struct")


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder whose modules write a file when they are imported."""
    folder = tmp_path / "trapped"
    folder.mkdir()
    for name in _SHADOWED:
        program = f"import os\nopen({str(tmp_path)!r} + '/sprung-' + {name!r}, 'w').close()\n"
        (folder / f"{name}.py").write_text(program)
    monkeypatch.chdir(folder)
    return folder


def _sprung(trapped: Path) -> list[str]:
    return sorted(path.name for path in trapped.parent.glob("sprung-*"))


@pytest.mark.parametrize("python_path", [None, ":/nowhere", "/nowhere:", "/a::/b"])
def test_child_pythons_do_not_import_from_the_current_folder(
    trapped: Path, monkeypatch: pytest.MonkeyPatch, python_path: str | None
) -> None:
    if python_path is not None:
        monkeypatch.setenv("PYTHONPATH", python_path)
    for python in ("", sys.executable):
        command = python_child("edgekit.doctor.child", "facts", python=python)
        done = run_process(command, env=python_environment())
        assert '"python"' in done.stdout, done.stderr
    assert _sprung(trapped) == []


def test_a_folder_that_pythonpath_names_is_the_users_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_the_user.py").write_text("print('here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run_process(python_child("of_the_user"), env=python_environment())
    assert done.stdout == "here\n"


@pytest.mark.parametrize("command", [["doctor", "--json"], ["fix", "m.tflite", "-o", "o.tflite"]])
@pytest.mark.parametrize("start", ["-m", "-c"])
def test_commands_do_not_run_modules_of_the_current_folder(
    int8_model: Model, trapped: Path, command: list[str], start: str
) -> None:
    """The command line is started like by the console script, or with ``-m``."""
    (trapped / "m.tflite").write_bytes(write_model(int8_model))
    console = "import sys; del sys.path[0]; from edgekit.cli.main import main; main()"
    words = ["-m", "edgekit"] if start == "-m" else ["-c", console]
    if start == "-m":  # Python 3.7 looks for it there before edgekit's code runs
        (trapped / "runpy.py").unlink()
    done = run_process([sys.executable, *words, *command])
    assert done.returncode in (0, 3, 6), done.stderr
    assert _sprung(trapped) == []


@pytest.mark.skipif(sys.platform == "win32", reason="poll does not exist there")
def test_a_conversation_ends_in_time_though_another_process_keeps_its_pipe_open() -> None:
    """As a child that waits in a driver, which no signal ends."""
    program = (
        "import subprocess, sys, time\n"
        "keeper = subprocess.Popen(['sleep', '30'], start_new_session=True)\n"
        "print(keeper.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with Conversation([sys.executable, "-c", program]) as child:
        keeper = int(child.stdout.readline())
        try:
            child.set_timeout(0.3)
            assert child.stdout.readline() == b""
            assert child.finish().timed_out
        finally:
            os.kill(keeper, signal.SIGKILL)


def test_a_timeout_that_is_replaced_or_removed_does_not_end_the_child() -> None:
    echo = (
        "import sys\n"
        "for line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.flush()"
    )
    with Conversation([sys.executable, "-c", echo], timeout_s=20) as child:
        for timeout_s in (30.0, 0.2, None, 30.0, None):
            child.set_timeout(timeout_s)
            if timeout_s == 0.2:
                child.set_timeout(40.0)
                time.sleep(0.4)
            child.stdin.write(b"x\n")
            child.stdin.flush()
            assert child.stdout.readline() == b"x\n"
        assert child.is_running
        child.set_timeout(0.1)
        assert child.stdout.readline() == b""
        assert child.finish().timed_out
