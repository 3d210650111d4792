# SPDX-License-Identifier: Apache-2.0
"""Answer the parent's requests until it is done or has exited: the loop of every child."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from edgekit.host.worker.memory import peak_rss_bytes
from edgekit.host.worker.refused import Refused
from edgekit.wire import Message, Wire, wire_to_parent

Answer = tuple[str, list[Any], dict[str, Any]]  # kind, arrays and fields of a message
Answers = Mapping[str, Callable[[Wire, Message], Answer]]


def serve(
    answers: Answers, greet: Callable[[Wire, Message], None], environment: Mapping[str, str]
) -> None:
    """Serve requests in any order.

    Args:
        answers: The kind of a request -> the function that answers it.
        greet: Imports the library and sends ``hello``; called before each request.
        environment: Variables to set before the library is imported.
    """
    _end_with_parent()
    os.environ.update(environment)
    wire = wire_to_parent()
    try:
        _serve(wire, answers, greet)
    except BrokenPipeError:
        sys.exit(1)  # the parent process has exited


def _serve(wire: Wire, answers: Answers, greet: Callable[[Wire, Message], None]) -> None:
    while True:
        request = wire.receive()
        if request is None:
            return
        try:
            greet(wire, request)
            kind, arrays, fields = answers[request.kind](wire, request)
        except Refused as refused:
            wire.send("refused", **vars(refused))
            continue
        wire.send(kind, *arrays, peak_rss_bytes=peak_rss_bytes(), **fields)


def _end_with_parent() -> None:
    """Let Linux end this process when the parent exits for any reason."""
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415
    import signal  # noqa: PLC0415

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG, linux/prctl.h
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
