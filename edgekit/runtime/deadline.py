# SPDX-License-Identifier: Apache-2.0
"""Calls into a device's library with a time limit.

A library that hangs cannot be stopped from inside the process: the call runs in a thread, which is
then abandoned. The program should then exit with ``os._exit``, as the command line does, because
Python's normal exit would wait for the library, or free memory that the library still uses.

This works for calls that release Python's global lock, as an inference does. The runtimes load,
open and close a delegate with the lock held; `probe` tries these in a child process first.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable

from edgekit.errors import DeviceError

HUNG = "device.hung"
_hung = threading.Event()


def has_hung() -> bool:
    """Whether a call was abandoned in this process: it should then exit without cleaning up."""
    return _hung.is_set()


class Deadline:
    """Runs calls one after the other in its own thread, each for at most ``timeout_s``."""

    def __init__(self, timeout_s: float, where: str) -> None:
        self._timeout_s, self._where = timeout_s, where
        self._jobs: queue.Queue[Any] = queue.Queue()
        self._is_stuck = False
        threading.Thread(target=self._work, daemon=True).start()

    def call(self, doing: str, function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
        """Return what ``function`` returns, and raise what it raises.

        Args:
            doing: What the call does, for the error: "the inference".
            function: Called with ``args`` in the thread.
            args: The arguments of ``function``.

        Raises:
            DeviceError: This call, or an earlier one, did not end in time.
        """
        if self._is_stuck:
            raise self._error(doing, "an earlier call into its library has not returned")
        answer: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
        self._jobs.put((function, args, answer))
        try:
            result, error = answer.get(timeout=self._timeout_s)
        except queue.Empty:
            self._is_stuck = True
            _hung.set()
            raise self._error(doing, "the call into its library has not returned") from None
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End the thread; a thread that hangs is abandoned."""
        self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            function, args, answer = job
            try:
                answer.put((function(*args), None))
            except BaseException as error:  # noqa: BLE001 - `call` raises it again
                answer.put((None, error))

    def _error(self, doing: str, why: str) -> DeviceError:
        return DeviceError(
            f"the Edge TPU did not respond within {self._timeout_s:g} s: {doing} was abandoned",
            where=self._where,
            why=f"{why}; this process holds the device until it ends, and the device may not "
            "respond to other programs afterwards either",
            fix="end this process, unplug the device and plug it in again (PCIe: restart the "
            "machine), then run edgekit doctor; a slow model needs a longer --timeout-sec",
            code=HUNG,
        )
