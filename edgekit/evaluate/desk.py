# SPDX-License-Identifier: Apache-2.0
"""What a worker's process keeps open from one call to the next of the same run."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Callable, Generic, Iterator, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Protocol

    class Tool(Protocol):
        """Something that is opened once and used by one thread at a time."""

        def close(self) -> None:
            """Close it."""


T = TypeVar("T", bound="Tool")


class Desk(Generic[T]):
    """The open tools of a worker's process, lent to one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[tuple[str, int, T]] = []  # token, number, tool
        self._used: set[int] = set()
        self._token = ""

    @contextlib.contextmanager
    def lent(self, token: str, make: Callable[[int], T]) -> Iterator[T]:
        """Lend a tool of the run ``token``; it stays open for the next call.

        Those of an earlier run are closed first: an Edge TPU has one owner.

        Args:
            token: Names the run.
            make: Opens a tool; its argument counts the tools of a process, each with a device of
                its own.
        """
        with self._lock:
            self._token = token
            for other in [each for each in self._free if each[0] != token]:
                self._free.remove(other)
                self._close(*other)
            kept = self._free.pop() if self._free else self._opened(token, make)
        try:
            yield kept[2]
        except BaseException:
            with self._lock:
                self._close(*kept)
            raise
        with self._lock:
            if token == self._token:
                self._free.append(kept)
            else:
                self._close(*kept)

    def _opened(self, token: str, make: Callable[[int], T]) -> tuple[str, int, T]:
        number = next(i for i in range(len(self._used) + 1) if i not in self._used)
        tool = make(number)
        self._used.add(number)
        return token, number, tool

    def _close(self, _token: str, number: int, tool: T) -> None:
        self._used.discard(number)
        tool.close()


def whoami() -> str:
    """Return the name of this process: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"
