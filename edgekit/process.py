# SPDX-License-Identifier: Apache-2.0
"""Run child processes that always end with their use: own process group, deadline, Ctrl-C."""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable, Mapping, Sequence

from edgekit.errors import ExternalToolError
from edgekit.files import PathLike
from edgekit.log import debug

_GRACE_S = 2.0
_POLL_S = 0.5
_MOST_LOGGED = 300  # characters of a command
_CODE = "import sys; "  # of Python children, which the log leaves out
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_PIPE_BYTES = 1 << 16
_PYTHONPATH = "PYTHONPATH"
# Run with -c, for which Python puts "", the current folder, first on the search path. Before this
# line, only the interpreter's own start has imported modules.
_START = (
    "import sys; first, last = {first!r}, {last!r}; own = [p for p in sys.path if p]; "
    "sys.path[:] = list(dict.fromkeys(first + own + last)); del sys.argv[0]; "
    "import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


@dataclass(frozen=True)
class Finished:
    """A child process that has ended; text is decoded as UTF-8 with replacement."""

    args: Sequence[str]
    returncode: int  # negative: killed by that signal
    stdout: str
    stderr: str
    time_s: float
    timed_out: bool

    @property
    def signal_name(self) -> str:
        """The name of the signal that killed the process ("SIGSEGV"); empty if none did."""
        # A shell or a container reports a signal as 128 + its number.
        number = -self.returncode if self.returncode < 0 else self.returncode - 128
        try:
            return signal.Signals(number).name
        except ValueError:
            return ""


def python_child(module: str, *args: str, python: str = "") -> list[str]:
    """Return the command that runs ``module`` in a Python that ignores the current folder.

    ``python -m`` and ``-c`` put the current folder first: a struct.py there would be imported.
    Start the command in `python_environment`.

    Args:
        module: A module of edgekit, as for ``python -m``.
        args: Its arguments.
        python: Another interpreter, which keeps its own search path. Empty: this one, with the
            search path of this process.
    """
    here, root = Path.cwd(), str(Path(__file__).resolve().parents[1])
    first = [] if python else [each for each in sys.path if each and Path(each).absolute() != here]
    # Last: in a checkout, edgekit's folder may be the current folder.
    start = _START.format(first=first, last=[root])
    return [python or sys.executable, "-u", "-c", start, module, *args]


def python_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return ``env`` (None: this process's) for a child Python: PYTHONPATH without empty entries.

    For Python an empty entry (``PYTHONPATH=:/opt/lib``) is the current folder; it comes from
    scripts that append to a variable that was not set.
    """
    given = dict(os.environ if env is None else env)
    entries = [each for each in given.pop(_PYTHONPATH, "").split(os.pathsep) if each]
    return {**given, _PYTHONPATH: os.pathsep.join(entries)} if entries else given


def run_process(
    args: Sequence[str],
    *,
    timeout_s: float | None = None,
    cwd: PathLike | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    on_stdout: Callable[[str], None] | None = None,
    on_stderr: Callable[[str], None] | None = None,
) -> Finished:
    """Run ``args`` to its end and collect its output.

    The child leads its own process group; on a timeout, Ctrl-C or any error here, the whole group
    is stopped (SIGTERM, then SIGKILL after 2 s), so that no grandchild is left.

    Args:
        args: The program and its arguments; no shell is involved.
        timeout_s: None waits for ever; on expiry the result has ``timed_out`` set and the output
            so far.
        cwd: Folder to run in.
        env: The child's whole environment; None passes on the parent's.
        stdin: Text for the child's standard input, which is then closed.
        on_stdout: Called in a reader thread with each line of standard output (without its end)
            as it comes.
        on_stderr: The same for standard error.

    Raises:
        ExternalToolError: The program does not exist or may not be run.
    """
    start = time.monotonic()
    child: subprocess.Popen[bytes] | None = None
    timed_out = False
    try:
        with _DeferredInterrupt():
            child = _start(args, cwd, env)
            # These close the pipes after every kind of end of the child.
            out, err = _Pump(child.stdout, on_stdout), _Pump(child.stderr, on_stderr)
            feeder = threading.Thread(target=_feed, args=(child.stdin, stdin), daemon=True)
            feeder.start()
        try:
            child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
    finally:
        # Also after a normal end: a grandchild could keep the pipes open.
        if child is not None:
            _end_group(child)
    stdout, stderr = out.text(), err.text()
    time_s = time.monotonic() - start
    return Finished(tuple(args), _status(child), stdout, stderr, time_s, timed_out)


class Conversation:
    """A running child with which messages are exchanged over standard input and output.

    A context manager: at its end, also on Ctrl-C and errors, the child's whole process group is
    stopped. Standard error is collected in a thread, so that it never blocks the child.
    ``args`` are the program and its arguments.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        timeout_s: float | None = None,
        cwd: PathLike | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start ``args``; the arguments are those of `run_process`.

        When ``timeout_s`` expires, the child is stopped and its standard output ends, also if the
        system cannot end the child (it waits in a driver) or another process keeps the pipe open.

        Raises:
            ExternalToolError: The program does not exist or may not be run.
        """
        self.args, self._start = tuple(args), time.monotonic()
        self._timed_out = False
        child: subprocess.Popen[bytes] | None = None
        try:
            with _DeferredInterrupt():
                child = _start(args, cwd, env)
                self._child = child
                self._err = _Pump(child.stderr, None)
            self._timeout = _Timeout(self._expire)
            self._stdout = _ended_by(self._timeout, _pipe(child.stdout))
            self.set_timeout(timeout_s)
        except BaseException:
            if child is not None:
                _end_group(child)
            raise

    @property
    def stdin(self) -> IO[bytes]:
        """The child's standard input; writing after its end raises BrokenPipeError."""
        return _pipe(self._child.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """The child's standard output."""
        return self._stdout

    def set_timeout(self, timeout_s: float | None) -> None:
        """Stop the child ``timeout_s`` seconds from now; this replaces the earlier timeout.

        None lets it run for ever.
        """
        self._timeout.set(timeout_s)

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether the child has not ended."""
        return self._child.poll() is None

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the child and its whole process group."""
        self._timeout.close()
        _end_group(self._child)
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):  # unsent bytes for a child that has ended
                _pipe(pipe).close()
        self._err.text()

    def finish(self) -> Finished:
        """Wait until the child has ended, by itself or because its time is up."""
        while not self._timeout.is_over:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_POLL_S)
                break
        _end_group(self._child)
        stderr, time_s = self._err.text(), time.monotonic() - self._start
        status = _status(self._child)
        return Finished(self.args, status, "", stderr, time_s, self._timed_out)

    def _expire(self) -> None:
        self._timed_out = True
        _end_group(self._child)


class _Timeout:
    """Calls a function when the time is up; its thread starts with the first time that is set.

    Setting a time costs about a microsecond, so that it can be set for each message.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._changed = threading.Condition()
        self._end: float | None = None
        self._wakes: float | None = None  # when the thread looks at the time next
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self.is_over = False  # whether the time was up, and the function has returned

    def set(self, seconds: float | None) -> None:
        """Replace the time."""
        with self._changed:
            self._end = None if seconds is None else time.monotonic() + seconds
            if self._end is None:
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            elif self._wakes is None or self._wakes > self._end:
                self._changed.notify()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._is_closed:
                left = None if self._end is None else self._end - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._wakes = self._end
                self._changed.wait(left)
            else:
                return
        self._on_end()
        self.is_over = True


def _ended_by(timeout: _Timeout, pipe: IO[bytes]) -> IO[bytes]:
    """Return ``pipe`` such that it ends when ``timeout`` is over, though others keep it open."""
    if sys.platform == "win32":  # poll does not exist there
        return pipe
    return io.BufferedReader(_Reader(timeout, pipe.fileno()), _PIPE_BYTES)


class _Reader(io.RawIOBase):
    """Reads from a pipe until it ends or a timeout is over."""

    def __init__(self, timeout: _Timeout, pipe: int) -> None:
        self._timeout, self._pipe = timeout, pipe
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        while not self._poll.poll(_POLL_S * 1e3):
            if self._timeout.is_over:
                return 0
        return os.readv(self._pipe, [buffer])


class _DeferredInterrupt:
    """Delays Ctrl-C to the end of the block, so that a child that just started can be stopped."""

    def __enter__(self) -> None:
        self._received: list[tuple[int, Any]] = []
        self._previous: Any = None
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):  # otherwise Ctrl-C is ignored, or ends the process at once
                self._previous = previous
                signal.signal(signal.SIGINT, lambda *arguments: self._received.append(arguments))

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            if self._received:
                self._previous(*self._received[0])


def _start(
    args: Sequence[str], cwd: PathLike | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    words = [word for word in args if not word.startswith(_CODE)]
    debug("process", f"{' '.join(words)[:_MOST_LOGGED]} started")
    try:
        return subprocess.Popen(  # noqa: S603 - a list, never a shell
            list(args),
            cwd=None if cwd is None else os.fspath(cwd),
            env=None if env is None else dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ExternalToolError(
            f"cannot run {args[0]}: {error.strerror or error}",
            where=str(args[0]),
            fix="check the path and that it is executable",
        ) from error


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the child was started without this pipe")
    return pipe


class _Pump:
    """Reads one pipe to its end in a thread: neither pipe can fill up and block the child."""

    def __init__(self, pipe: IO[bytes] | None, on_line: Callable[[str], None] | None) -> None:
        self._pipe, self._on_line = pipe, on_line
        self._lines: list[bytes] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if self._pipe is None:
            return
        for line in self._pipe:
            self._lines.append(line)
            if self._on_line is not None:
                self._on_line(line.decode(errors="replace").rstrip("\r\n"))
        self._pipe.close()

    def text(self) -> str:
        self._thread.join(_GRACE_S)
        return b"".join(self._lines).decode(errors="replace")


def _feed(pipe: IO[bytes] | None, content: str) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):  # the child may end without reading it
            pipe.write(content.encode())
            pipe.close()


def _end_group(child: subprocess.Popen[bytes]) -> None:
    if not _signal_group(child, signal.SIGTERM):
        return
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline:
        child.poll()
        if not _signal_group(child, 0):
            return
        time.sleep(0.01)
    _signal_group(child, _KILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # it waits in a driver
        child.wait(_GRACE_S)


def _status(child: subprocess.Popen[bytes]) -> int:
    """Return how a child has ended, after a wait; SIGKILL if the system has not ended it yet."""
    status = child.poll()
    return -_KILL if status is None else status


def _signal_group(child: subprocess.Popen[bytes], number: int) -> bool:
    """Signal the child's group; return False if it is empty."""
    if not hasattr(os, "killpg"):  # Windows has no process groups to signal
        if child.poll() is None and number:
            child.terminate()
        return child.poll() is None
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
