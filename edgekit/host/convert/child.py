# SPDX-License-Identifier: Apache-2.0
"""The parent's side of a conversion: starts the child, feeds it, and explains its death."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from edgekit.edgetpu.advice import advice_for, advice_for_failure
from edgekit.errors import (
    EdgeKitError,
    ExternalToolError,
    MissingExtraError,
    ModelFormatError,
    UnsafeModelError,
    UnsupportedModelError,
    UsageError,
)
from edgekit.host.worker.wire import Message, Wire, as_array
from edgekit.process import Conversation, Finished, python_environment

_WORKER = Path(__file__).resolve().parents[1] / "worker"
_ERRORS: dict[str, type[EdgeKitError]] = {
    "model.format": ModelFormatError,
    "model.unsafe": UnsafeModelError,
    "model.unsupported": UnsupportedModelError,
    "tool.missing": MissingExtraError,
    "usage": UsageError,
}
# Layers that have been seen to kill or to stop the converter, the usual suspects first.
_SUSPECTS = re.compile(r"LSTM|GRU|RNN|Attention|Embedding|Conv3D|Normalization|Hash|Lookup")
_EXCEPTION = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Exit)\b.*")
_NO_OPERATOR = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")
_TAIL_LINES = 6
_LOADING = "loading the model"  # the step's name, as `edgekit.host.worker.session` says it
_FAULTS = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")


@dataclass
class Loaded:
    """What the child says about the model."""

    loader: str
    inputs: list[dict[str, Any]]
    outputs: list[str]
    layers: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Converted:
    """What the child made."""

    content: bytes
    float_content: bytes | None
    versions: dict[str, str]
    loader: str
    peak_rss_bytes: int


class ConverterChild:
    """One conversion in another process; a context manager that leaves no process behind."""

    def __init__(self, python: str | None, timeout_s: float | None, where: str) -> None:
        self._where = where
        self._conversation = Conversation(
            [python or sys.executable, "-u", str(_WORKER)],
            timeout_s=timeout_s,
            env=_environment(python),
        )
        self._wire = Wire(self._conversation.stdout, self._conversation.stdin)
        self._step = "starting Python"
        self._layers: list[tuple[str, str]] = []
        self._versions: dict[str, str] = {}
        self.died = False  # it ended by itself, without a reason for people
        self.notes: list[str] = []  # what the child changed in the network, for people
        # Called with the first operations behind each input of a TensorFlow model, when known.
        self.on_network_start: Callable[[list[Any]], None] = lambda _steps: None

    def __enter__(self) -> ConverterChild:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._conversation.__exit__(kind, error, trace)

    def load(self, job: dict[str, Any]) -> Loaded:
        """Let the child load a TensorFlow model.

        Raises:
            EdgeKitError: It refuses, or dies.
        """
        self._send("job", **job)
        message = self._receive("loaded")
        loaded = Loaded(**message.fields)
        self._layers = [(str(name), str(kind)) for name, kind in loaded.layers]
        return loaded

    def convert(
        self,
        shapes: Sequence[Sequence[int]],
        batches: Callable[[], Iterator[list[Any]]],
        on_float: Callable[[bytes], bytes],
        loader: str,
    ) -> Converted:
        """Let the child convert what it loaded.

        Args:
            shapes: Of each input, every dimension known.
            batches: Gives calibration batches, in the order of the inputs.
            on_float: Called with the float model before calibration; gives the one to go on with,
                or raises to stop.
            loader: For the result.

        Raises:
            EdgeKitError: It refuses, or dies.
        """
        self._send("shapes", shapes=[list(shape) for shape in shapes])
        return self._finish(batches, on_float, loader)

    def quantize(
        self, content: bytes, job: dict[str, Any], batches: Callable[[], Iterator[list[Any]]]
    ) -> Converted:
        """Let the child quantize a float .tflite file with static shapes.

        Raises:
            EdgeKitError: It refuses, or dies.
        """
        self._send("job", as_array(content), **job)
        converted = self._finish(batches, lambda unused: unused, "tflite")
        return replace(converted, float_content=content)

    def _finish(
        self,
        batches: Callable[[], Iterator[list[Any]]],
        on_float: Callable[[bytes], bytes],
        loader: str,
    ) -> Converted:
        float_content = None
        while True:
            message = self._receive("done", "float", "calibrate")
            if message.kind == "float":
                float_content = on_float(message.arrays[0].tobytes())
                self._send("float", as_array(float_content))
            elif message.kind == "calibrate":
                for arrays in batches():
                    self._send("sample", *arrays)
                self._send("end")
            else:
                peak = int(message.fields["peak_rss_bytes"])
                content = message.arrays[0].tobytes()
                return Converted(content, float_content, self._versions, loader, peak)

    def _send(self, kind: str, *arrays: Any, **fields: Any) -> None:  # noqa: ANN401
        try:
            self._wire.send(kind, *arrays, **fields)
        except BrokenPipeError:
            self._receive()  # the reason, if the child gave one

    def _receive(self, *wanted: str) -> Message:
        while True:
            try:
                message = self._wire.receive()
            except ValueError:  # a line that is no message: the child died in the middle of one
                message = None
            if message is None:
                raise self._death(self._conversation.finish())
            if message.kind == "refused":
                fields = message.fields
                raise _ERRORS[fields.pop("code")](fields.pop("what"), **fields)
            if message.kind == "step":
                self._step = str(message.fields["name"])
            elif message.kind == "note":
                self.notes.append(str(message.fields["text"]))
            elif message.kind == "hello":
                self._versions = dict(message.fields)
            elif message.kind == "network_start":
                self.on_network_start(message.fields["steps"])
            elif message.kind in wanted:
                return message

    def _death(self, finished: Finished) -> EdgeKitError:
        if finished.timed_out:
            return ExternalToolError(
                f"the conversion took longer than {finished.time_s:.0f} s, while {self._step}",
                where=self._where,
                fix="raise --timeout-sec, or give fewer samples (--num-samples)",
            )
        self.died = True
        if finished.signal_name:
            return self._crash(finished)
        return self._exception(finished)

    def _crash(self, finished: Finished) -> EdgeKitError:
        suspects = [f"{name} ({kind})" for name, kind in self._layers if _SUSPECTS.search(kind)]
        likely = f"; likely because of the layer {', '.join(suspects[:3])}" if suspects else ""
        fix = "convert the network in two halves to find the layer, replace it, or try another "
        fix += "TensorFlow: --converter-python PATH"
        if finished.signal_name == "SIGKILL":
            fix = "it may have run out of memory: free some, give smaller inputs or fewer samples"
        kind: type[EdgeKitError] = ExternalToolError
        if self._step == _LOADING and finished.signal_name in _FAULTS:
            kind = ModelFormatError  # the file is the cause: nothing was computed yet
            fix = "the file may be damaged: copy it again, or save the model again"
        return kind(
            f"TensorFlow was ended by {finished.signal_name} while {self._step}{likely}",
            where=self._where,
            why=" | ".join(_tail(finished.stderr)),
            fix=fix,
        )

    def _exception(self, finished: Finished) -> EdgeKitError:
        lines = finished.stderr.splitlines()
        last = next((line for line in reversed(lines) if _EXCEPTION.match(line)), "")
        why = last[:600] or " | ".join(_tail(finished.stderr))
        if not self._versions:
            return ExternalToolError(
                f"the converter's Python failed while {self._step}",
                where=self._conversation.args[0],
                why=why or f"exit status {finished.returncode}",
                fix="give an interpreter with a working TensorFlow: --converter-python PATH",
            )
        unknown = list(dict.fromkeys(_NO_OPERATOR.findall(finished.stderr)))
        if unknown:
            return UnsupportedModelError(
                f"TensorFlow Lite has no operator for {', '.join(unknown)}",
                where=self._where,
                why=why,
                fix="\n       ".join(advice_for(name, at_source=True) for name in unknown),
            )
        return UnsupportedModelError(
            f"TensorFlow {self._versions.get('tensorflow', '')} failed while {self._step}",
            where=self._where,
            why=why or f"exit status {finished.returncode}",
            fix=advice_for_failure(why)
            or "replace the operation it names, or try another TensorFlow: --converter-python",
        )


def _environment(python: str | None) -> dict[str, str]:
    if python is None:
        return python_environment()
    # Another interpreter is to see its own environment's packages, not this one's.
    left_out = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")
    return {key: value for key, value in os.environ.items() if key not in left_out}


def _tail(stderr: str) -> list[str]:
    noise = re.compile(r"^\s*$|oneDNN|cpu_feature_guard|rebuild TensorFlow|absl::InitializeLog")
    return [line.strip()[:300] for line in stderr.splitlines() if not noise.search(line)][
        -_TAIL_LINES:
    ]
