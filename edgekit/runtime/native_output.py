# SPDX-License-Identifier: Apache-2.0
"""Hide harmless messages that native libraries print on file descriptor 2.

TensorFlow Lite and TensorFlow bypass `sys.stderr`. Unknown messages are forwarded; harmless
ones go to the log ("edgekit.native"), for ``--verbose`` and for library users.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from typing import Iterator

from edgekit.log import debug

_CHATTER = (
    rb"^(?:(?:INFO|VERBOSE): "  # TensorFlow Lite, of the delegate it creates
    rb"|[IW]\d{4} \d\d:|E\d{4} .*(?:cuda_|computation_placer)"  # absl's log: TensorFlow
    rb"|\d{4}-\d\d-\d\d .*: [IW] |WARNING: All log messages before absl::InitializeLog"
    rb"|WARNING: Attempting to use a delegate that only supports static-sized tensors"
    rb"|To enable the following instructions: |I (?:driver|third_party)/"
    rb"|\s*$)"
)
# One redirection at a time: a second one would use the first one's file as the true stderr.
_LOCK = threading.RLock()
_depth = [0]
_forked = [False]


@contextlib.contextmanager
def chatter_logged(*, lose_on_error: bool = False) -> Iterator[None]:
    """Hold back output on descriptor 2 during the block, then forward all but harmless messages.

    Other threads' output is delayed until then, not lost. With ``lose_on_error`` the output goes
    only to the log if the block raises: the error is enough.
    """
    if _forked[0]:
        yield
        return
    with _LOCK:
        if _depth[0]:
            yield
            return
        _depth[0] += 1
        try:
            with _held_back(lose_on_error):
                yield
        finally:
            _depth[0] -= 1


def disable_redirection() -> None:
    """Do not redirect descriptor 2 in this fork: another thread may have held the lock."""
    _forked[0] = True


@contextlib.contextmanager
def _held_back(lose_on_error: bool) -> Iterator[None]:
    try:
        true_stderr, held = os.dup(2), temporary_descriptor()
    except OSError:  # no stderr, or no temporary file can be created
        yield
        return
    try:
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
        os.dup2(held, 2)
        is_lost = lose_on_error
        try:
            yield
            is_lost = False
        finally:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stderr.flush()
            os.dup2(true_stderr, 2)
            _forward(held, -1 if is_lost else true_stderr)
    finally:
        os.close(held)
        os.close(true_stderr)


def temporary_descriptor() -> int:
    """Return the descriptor of a new file without a name, to write to."""
    if hasattr(os, "memfd_create"):  # Linux, Python 3.8 and newer
        return os.memfd_create("edgekit-stderr")
    import tempfile  # noqa: PLC0415 - loads random and hashlib, for old Pythons only

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def held_output(held: int) -> str:
    """Return the last 64 KiB written to a `temporary_descriptor`, without harmless messages."""
    size = os.lseek(held, 0, os.SEEK_END)
    os.lseek(held, max(0, size - (1 << 16)), os.SEEK_SET)
    with os.fdopen(os.dup(held), "rb") as file:
        lines = [line for line in file if not _is_chatter(line)]
    return b"".join(lines).decode(errors="replace")


def _is_chatter(line: bytes) -> bool:
    return re.match(_CHATTER, line, re.IGNORECASE) is not None  # compiled once, on first use


def _forward(held: int, true_stderr: int) -> None:
    if not os.lseek(held, 0, os.SEEK_CUR):
        return  # nothing was printed
    os.lseek(held, 0, os.SEEK_SET)
    with os.fdopen(os.dup(held), "rb") as file:
        for line in file:
            if true_stderr < 0 or _is_chatter(line):
                debug("native", line.decode(errors="replace").rstrip())
            else:
                with contextlib.suppress(OSError):
                    os.write(true_stderr, line)
