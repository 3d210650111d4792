# SPDX-License-Identifier: Apache-2.0
"""A trial in a fork of this process: the libraries are already loaded, so it starts in 3 ms.

Only on Linux. The child runs only the interpreter and never returns: it runs no Python code that
needs a lock of another thread. If it hangs nevertheless, its time is limited.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
import warnings

from edgekit.runtime.interpreters import InterpreterLibrary
from edgekit.runtime.native_output import (
    disable_redirection,
    held_output,
    temporary_descriptor,
)
from edgekit.runtime.trial_child import (
    NO_MEMORY,
    Outcome,
    Trial,
    limit_resources,
    merged,
    run_trial,
)


def fork_trial(trial: Trial, library: InterpreterLibrary, timeout_s: float) -> Outcome:
    """Run ``trial`` in a fork, which is killed after ``timeout_s``."""
    reading, writing = os.pipe()
    printed = temporary_descriptor()
    try:
        pid = _fork()
        if not pid:
            _child(trial, library, writing, printed)  # does not return
        os.close(writing)
        writing = -1
        try:
            reported, timed_out = _read_reports(reading, timeout_s)
        finally:
            status = _end(pid)
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) and not timed_out else 0
        text = held_output(printed)
    finally:
        for each in (reading, writing, printed):
            if each >= 0:
                os.close(each)
    name = signal.Signals(ended_by).name if ended_by else ""
    return Outcome(merged(reported), name, text, timed_out)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns that a fork of a process with threads may hang; see above.
        warnings.simplefilter("ignore")
        return os.fork()


def _child(trial: Trial, library: InterpreterLibrary, writing: int, printed: int) -> None:
    """Run the child and exit; flush, close or call nothing of the parent."""
    status = 1
    try:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT):
            signal.signal(each, signal.SIG_DFL)
        faulthandler = sys.modules.get("faulthandler")
        if faulthandler is not None:
            faulthandler.disable()
        disable_redirection()
        for number in (1, 2):
            os.dup2(printed, number)
        limit_resources(len(trial.content))
        try:
            run_trial(trial, library, lambda **facts: _report(writing, facts))
        except MemoryError:
            _report(writing, {"stage": NO_MEMORY})
        status = 0
    finally:
        os._exit(status)


def _report(writing: int, facts: dict[str, str]) -> None:
    os.write(writing, json.dumps(facts).encode() + b"\n")


def _read_reports(reading: int, timeout_s: float) -> tuple[str, bool]:
    """Return what the child reports until it ends, and whether it took too long."""
    reported, deadline = b"", time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return reported.decode(), True
        if not poll.poll(left_s * 1e3):
            continue
        part = os.read(reading, 1 << 16)
        if not part:
            return reported.decode(), False
        reported += part


def _end(pid: int) -> int:
    """Return the child's wait status; kill it if it does not exit soon."""
    for _ in range(200):  # it closes the pipe shortly before it exits
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.0005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]
