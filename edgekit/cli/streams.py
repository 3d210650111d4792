# SPDX-License-Identifier: Apache-2.0
"""Make stdout and stderr safe to write to, and set how much a command prints."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any, Dict, Optional, TextIO

# Error handlers that do not raise if a terminal's encoding does not have a character.
_LENIENT = ("backslashreplace", "replace", "xmlcharrefreplace", "namereplace", "ignore")
QUIET, NORMAL, VERBOSE = -1, 0, 1
_state: Dict[str, Any] = {"level": NORMAL, "logging": None, "lines": False}


def prepare_streams() -> None:
    """Make stdout and stderr safe to write to, for this process.

    A closed stream (``>&-``) becomes the null device: otherwise the next file that is opened gets
    its number, and libraries print into it. Characters that the encoding does not have are escaped.
    """
    for number in range(3):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = _writable(sys.stdout)
    sys.stderr = _writable(sys.stderr)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _writable(stream: Optional[TextIO]) -> TextIO:
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper) and stream.errors not in _LENIENT:
        # TextIOWrapper.reconfigure: Python 3.7 has it.
        stream.reconfigure(errors="backslashreplace")
    return stream


def discard_stdout() -> None:
    """Discard what is not yet written to stdout: its reader has exited, or its disk is full.

    Otherwise Python would try to write it again when it exits.
    """
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def say(text: str) -> None:
    """Write ``text`` to stderr; do nothing if its reader has exited."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def set_level(level: int) -> None:
    """Set how much the command prints: QUIET, NORMAL or VERBOSE.

    VERBOSE prints the library's log (the logger "edgekit") on stderr.
    """
    _state["level"] = level
    if level != VERBOSE or _state["logging"] is not None:
        return
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("edgekit")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    _state["logging"] = handler


def reset_level() -> None:
    """Return to NORMAL and remove the log's handler: one process may run several commands."""
    if _state["logging"] is not None:
        import logging

        logging.getLogger("edgekit").removeHandler(_state["logging"])
    _state.update(level=NORMAL, logging=None, lines=False)


def set_lines() -> None:
    """Make stdout a stream of JSON documents, one in a line, until the command ends."""
    _state["lines"] = True


def is_in_lines() -> bool:
    """Return whether each JSON document on stdout is one line."""
    return bool(_state["lines"])


def is_quiet() -> bool:
    """Return whether remarks and warnings are omitted."""
    return bool(_state["level"] == QUIET)
