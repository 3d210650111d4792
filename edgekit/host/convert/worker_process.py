# SPDX-License-Identifier: Apache-2.0
"""A child process that converts: requests, answers, and an explanation of its crashes."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from edgekit.edgetpu.advice import advice_for_failure
from edgekit.errors import (
    EdgeKitError,
    ExternalToolError,
    MissingExtraError,
    ModelFormatError,
    UnsafeModelError,
    UnsupportedModelError,
    UsageError,
)
from edgekit.process import Conversation, Finished, python_environment
from edgekit.wire import Message, Wire

_WORKER = Path(__file__).resolve().parents[1] / "worker"
_ERRORS: dict[str, type[EdgeKitError]] = {
    "model.format": ModelFormatError,
    "model.unsafe": UnsafeModelError,
    "model.unsupported": UnsupportedModelError,
    "tool.missing": MissingExtraError,
    "usage": UsageError,
}
_EXCEPTION = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Exit)\b.*")
_PRINTED_ERROR = re.compile(r"(?:^|: )error: (.+)")  # MLIR: loc("x"): error: 'tf.Y' op ...
_TAIL_LINES = 6
_LOADING = "loading the model"  # the step's name, as the child sends it
_FAULTS = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")


class WorkerProcess:
    """A process of `edgekit.host.worker`; a context manager, which ends it.

    Attributes:
        versions: The packages that convert.
        ended_by_itself: Whether it ended by itself, without a readable reason.
        peak_rss_bytes: Its memory so far.
    """

    library = "TensorFlow"  # what converts, for messages
    package = "tensorflow"  # the key of its version

    def __init__(self, conversation: Conversation, where: str) -> None:
        self._conversation, self._where = conversation, where
        self._wire = Wire(conversation.stdout, conversation.stdin)
        self._step = "starting Python"
        self._is_idle = True  # between two requests
        self.versions: dict[str, str] = {}
        self.ended_by_itself = False
        self.peak_rss_bytes = 0

    @property
    def pid(self) -> int:
        """The process id."""
        return self._conversation.pid

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._conversation.__exit__(kind, error, trace)

    def _content(self, message: Message) -> bytes:
        self._is_idle = True
        self.peak_rss_bytes = int(message.fields["peak_rss_bytes"])
        return message.arrays[0].tobytes()

    def _send(self, kind: str, *arrays: Any, **fields: Any) -> None:  # noqa: ANN401
        self._is_idle = False
        try:
            self._wire.send(kind, *arrays, **fields)
        except BrokenPipeError:
            self._receive()  # raises the child's reason, if it sent one

    def _receive(self, *wanted: str) -> Message:
        while True:
            try:
                message = self._wire.receive()
            except ValueError:  # half a message: the child's process ended while it was sending
                message = None
            if message is None:
                raise self._death(self._conversation.finish())
            if message.kind == "refused":
                self._is_idle = True
                fields = message.fields
                raise _ERRORS[fields.pop("code")](fields.pop("what"), **fields)
            if message.kind == "step":
                self._step = str(message.fields["name"])
            elif message.kind == "hello":
                self.versions = dict(message.fields)
            elif message.kind in wanted:
                return message

    def _death(self, finished: Finished) -> EdgeKitError:
        if finished.timed_out:
            return ExternalToolError(
                f"the conversion took longer than {finished.time_s:.0f} s, while {self._step}",
                where=self._where,
                fix="raise --timeout-sec, or give fewer samples (--num-samples)",
            )
        self.ended_by_itself = True
        if finished.signal_name:
            return self._crash(finished)
        return self._exception(finished)

    def _likely_cause(self) -> str:
        """Return a part of a sentence that names what may have crashed; empty if unknown."""
        return ""

    def _crash(self, finished: Finished) -> EdgeKitError:
        fix = "convert the network in two halves to find the layer, replace it, or try another "
        fix += f"{self.library}: --converter-python PATH"
        if finished.signal_name == "SIGKILL":
            fix = (
                "it may have run out of memory: free some, or give smaller inputs or fewer samples"
            )
        kind: type[EdgeKitError] = ExternalToolError
        if self._step == _LOADING and finished.signal_name in _FAULTS:
            kind = ModelFormatError  # nothing was computed yet, so the file is the cause
            fix = "the file may be damaged: copy it again, or save the model again"
        return kind(
            f"{self.library} was killed by {finished.signal_name} while {self._step}"
            f"{self._likely_cause()}",
            where=self._where,
            why=" | ".join(_tail(finished.stderr)),
            fix=fix,
        )

    def _exception(self, finished: Finished) -> EdgeKitError:
        why = _reason(finished.stderr) or " | ".join(_tail(finished.stderr))
        if not self.versions:
            return ExternalToolError(
                f"the converter's Python failed while {self._step}",
                where=self._conversation.args[0],
                why=why or f"exit status {finished.returncode}",
                fix=f"give a Python with a working {self.library}: --converter-python PATH",
            )
        known = self._known_failure(finished.stderr, why)
        if known is not None:
            return known
        return UnsupportedModelError(
            f"{self.library} {self.versions.get(self.package, '')} failed while {self._step}",
            where=self._where,
            why=why or f"exit status {finished.returncode}",
            fix=advice_for_failure(why)
            or f"replace the operation it names, or try another {self.library}: --converter-python",
        )

    def _known_failure(self, _stderr: str, _why: str) -> EdgeKitError | None:
        """Return a better error than that the library failed; None if there is none."""
        return None


def worker_command(python: str | None, *words: str) -> list[str]:
    """Return the command that starts a child in ``python``; None is this interpreter."""
    return [python or sys.executable, "-u", str(_WORKER), *words]


def worker_environment(python: str | None) -> dict[str, str]:
    """Return the environment of a child in ``python``; None is this interpreter."""
    if python is None:
        return python_environment()
    # Another interpreter must import its own environment's packages, not this one's.
    left_out = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")
    return {key: value for key, value in os.environ.items() if key not in left_out}


def _reason(stderr: str) -> str:
    """Return the exception that ended a child, with the line that says more if it is mute.

    Some exceptions of converters have no text, or only say that something failed: their reason is
    in a line ``error: ...`` that the compiler inside them printed before.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    place = next((i for i in reversed(range(len(lines))) if _EXCEPTION.match(lines[i])), None)
    if place is None:
        return ""
    name, _, text = lines[place].partition(":")
    own = lines[place] if text.strip() else name
    if not text.strip() and place + 1 < len(lines):  # the text begins on the next line
        own += f": {lines[place + 1]}"
    printed = [found[1] for line in lines for found in [_PRINTED_ERROR.search(line)] if found]
    more = [each for each in printed[-1:] if each not in own]
    return "; ".join([own[:600], *(each[:300] for each in more)])


def _tail(stderr: str) -> list[str]:
    noise = re.compile(r"^\s*$|oneDNN|cpu_feature_guard|rebuild TensorFlow|absl::InitializeLog")
    return [line.strip()[:300] for line in stderr.splitlines() if not noise.search(line)][
        -_TAIL_LINES:
    ]
