# SPDX-License-Identifier: Apache-2.0
"""An Edge TPU in a process of its own, which is ended when a call into the library takes too long.

The runtimes hold Python's global lock while a delegate is opened, prepared or closed, so a library
that hangs there stops every thread, and no code of the same process can end the call. A Runner with
``timeout_s`` therefore leaves the device to a child. The Runners of this process share the child of
a device, because two processes cannot open it.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple, Sequence

import numpy as np

from edgekit.errors import DeviceError, DeviceLostError
from edgekit.log import warning
from edgekit.process import Conversation, python_child, python_environment
from edgekit.runtime.hung import hung
from edgekit.runtime.latency import median
from edgekit.wire import Message, Wire, as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.runtime.delegate import OpenRequest

_CHILD = "edgekit.runtime.device_child"
_START_TIMEOUT_S = 60.0  # a slow board needs some seconds to start Python
_NUM_PINGS = 9


class DeviceKey(NamedTuple):
    """What the Runners of one child have in common."""

    library: str
    option: str
    runtime: str


_LOCK = threading.Lock()
_PROCESSES: dict[DeviceKey, _DeviceProcess] = {}
# Devices that did not respond when they were closed; the result is kept all the same.
_ABANDONED: list[str] = []


def abandoned() -> Sequence[str]:
    """Return a warning for each device that was abandoned when it was closed."""
    return tuple(_ABANDONED)


class RemoteInterpreter:
    """An interpreter on an Edge TPU in the child, with the methods that `Session` calls."""

    def __init__(self, content: bytes, request: OpenRequest, timeout_s: float, where: str) -> None:
        """Open a compiled model.

        Args:
            content: The model.
            request: How to open it.
            timeout_s: The limit of each call into the library.
            where: The device and its library, for errors.

        Raises:
            RuntimeError: The library or the runtime refuses.
            DeviceError: It takes longer than ``timeout_s``, or the process ends.
        """
        key = DeviceKey(request.library, request.option, request.runtime)
        with _LOCK:
            process = _PROCESSES.get(key)
            if process is None or process.has_ended:
                process = _PROCESSES[key] = _DeviceProcess(key, where)
            self._number = process.begin_use()
        self._process, self._timeout_s = process, timeout_s
        self._inputs: dict[int, NDArray[Any]] = {}
        self._answers: Sequence[NDArray[Any]] = ()
        try:
            opened = self._ask(
                "opening it", "open", as_array(content), request=asdict(request)
            ).fields
        except BaseException:
            process.end_use(self._number, timeout_s)
            raise
        self._input_details: Sequence[Mapping[str, Any]] = opened["inputs"]
        self._output_details: Sequence[Mapping[str, Any]] = opened["outputs"]
        self._place = {each["index"]: i for i, each in enumerate(self._output_details)}

    def get_input_details(self) -> Sequence[Mapping[str, Any]]:
        """The inputs, as an interpreter describes them."""
        return self._input_details

    def get_output_details(self) -> Sequence[Mapping[str, Any]]:
        """The outputs."""
        return self._output_details

    def set_tensor(self, index: int, values: NDArray[Any]) -> None:
        """Keep an input for the next `invoke`."""
        self._inputs[index] = values

    def invoke(self) -> None:
        """Run; without new inputs again on the last ones, and nothing is copied.

        Raises:
            RuntimeError: The library refuses.
            DeviceError: It takes longer than the limit, or the process ends.
        """
        inputs = [self._inputs.pop(each["index"]) for each in self._input_details if self._inputs]
        self._answers = self._ask("the inference", "invoke", *inputs).arrays

    def get_tensor(self, index: int) -> NDArray[Any]:
        """Return a copy of an output of the last `invoke`."""
        if not self._answers:
            self._answers = self._ask("reading the outputs", "get").arrays
        return np.array(self._answers[self._place[index]])

    def reset_all_variables(self) -> None:
        """Reset the state."""
        self._ask("resetting the state", "reset")

    def close(self) -> None:
        """Close it; a device that hangs meanwhile is abandoned with a warning."""
        self._process.end_use(self._number, self._timeout_s)

    def overhead_ms(self) -> float:
        """Return the measured time that a call into the other process takes, in milliseconds."""
        return self._process.ping_ms(self._timeout_s)

    def _ask(self, doing: str, kind: str, *arrays: NDArray[Any], **fields: Any) -> Message:  # noqa: ANN401
        return self._process.ask(
            doing, kind, *arrays, timeout_s=self._timeout_s, number=self._number, **fields
        )


class _DeviceProcess:
    """The child, and which interpreters of it are in use."""

    def __init__(self, key: DeviceKey, where: str) -> None:
        self._key, self._where = key, where
        self._turn = threading.Lock()
        self._used: set[int] = set()
        self._count = 0
        self._why_ended = ""
        self._child = Conversation(
            python_child(_CHILD, key.runtime),
            timeout_s=_START_TIMEOUT_S,
            env=python_environment(),
        )
        self._wire = Wire(self._child.stdout, self._child.stdin)
        self._is_ready = False

    @property
    def has_ended(self) -> bool:
        return bool(self._why_ended)

    def begin_use(self) -> int:
        """Return the number of a new interpreter."""
        self._count += 1
        self._used.add(self._count)
        return self._count

    def end_use(self, number: int, timeout_s: float) -> None:
        """Close an interpreter; after the last one, the process ends."""
        with _LOCK:
            self._used.discard(number)
            is_last = not self._used
            if is_last and _PROCESSES.get(self._key) is self:
                del _PROCESSES[self._key]
        if self.has_ended:
            return
        try:
            self.ask("closing it", "close", timeout_s=timeout_s, number=number)
            if is_last:
                self._exit(timeout_s)
        except RuntimeError:  # it was not opened
            self._end("it was not opened")
        except DeviceError as error:
            _ABANDONED.append(f"{error.what}\n  why: {error.why}\n  fix: {error.fix}")
            warning("device", _ABANDONED[-1])

    def ask(
        self,
        doing: str,
        kind: str,
        *arrays: NDArray[Any],
        timeout_s: float,
        **fields: Any,  # noqa: ANN401 - JSON values
    ) -> Message:
        """Send a message and return its answer.

        Raises:
            RuntimeError: The answer is that of a library that refuses.
            DeviceError: There is no answer in time.
            DeviceLostError: The process has ended.
        """
        with self._turn:
            if self._why_ended:
                raise DeviceLostError(
                    "the Edge TPU's process has ended", where=self._where, why=self._why_ended
                )
            try:
                if not self._is_ready:
                    self._receive("starting Python", _START_TIMEOUT_S)
                    self._is_ready = True
                self._child.set_timeout(timeout_s)
                with contextlib.suppress(BrokenPipeError):  # `_receive` raises then
                    self._wire.send(kind, *arrays, **fields)
                message = self._receive(doing, timeout_s)
                self._child.set_timeout(None)
            except DeviceError:
                raise
            except BaseException:
                # Ctrl-C: the answer is still to come, so nothing more can be asked.
                self._end("a call was interrupted")
                raise
        if message.kind == "failed":
            raise RuntimeError(message.fields["error"])
        return message

    def ping_ms(self, timeout_s: float) -> float:
        """Return the median time of a message and its answer, in milliseconds."""
        times_s = []
        for _ in range(_NUM_PINGS):
            start = time.perf_counter()
            self.ask("answering", "ping", timeout_s=timeout_s, number=0)
            times_s.append(time.perf_counter() - start)
        return median(times_s) * 1e3

    def kill(self) -> None:
        """End the process: this one exits."""
        if not self.has_ended:
            self._end("this process exits")

    def _receive(self, doing: str, timeout_s: float) -> Message:
        message = self._wire.receive()
        if message is None:
            raise self._death(doing, timeout_s)
        return message

    def _exit(self, timeout_s: float) -> None:
        """Let the process exit: the library closes the device at the latest then."""
        self._child.set_timeout(timeout_s)
        self._child.stdin.close()
        finished = self._child.finish()
        self._end("it was closed")
        if finished.timed_out:
            raise hung("closing it", timeout_s, self._where, self._child)

    def _death(self, doing: str, timeout_s: float) -> DeviceError:
        finished = self._child.finish()
        self._end("an earlier call was abandoned, or ended it")
        if finished.timed_out:
            return hung(doing, timeout_s, self._where, self._child)
        how = finished.signal_name or f"exit status {finished.returncode}"
        lines = finished.stderr.strip().splitlines()
        return DeviceLostError(
            f"the Edge TPU's library ended its process ({how}) during a call: {doing}",
            where=self._where,
            why="it crashed, or another program ended it"
            + (f"; its output: {lines[-1][:300]}" if lines else ""),
            fix="run edgekit doctor; --recover opens the device again and continues",
        )

    def _end(self, why: str) -> None:
        self._why_ended = why
        self._child.close()


@atexit.register
def _end_all() -> None:
    for process in list(_PROCESSES.values()):
        process.kill()
