# SPDX-License-Identifier: Apache-2.0
"""Calls of a function on the workers of a cluster, each of which is answered once.

This process keeps the arguments of the calls that have no answer yet; it needs nothing else to
continue. If a worker's process ends, Dask starts its calls again on another one. After the loss of
the scheduler, all calls without an answer are sent again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgekit.errors import ExternalToolError
from edgekit.fleet.cluster.connection import killed_worker

if TYPE_CHECKING:
    from edgekit.fleet.cluster.workers import Workers

K = TypeVar("K")


@dataclass(frozen=True)
class Answer(Generic[K]):
    """The end of a call: what the function returned, or that it ended the workers' processes."""

    name: K  # of the call
    value: Any = None
    is_killer: bool = False


class Calls(Generic[K]):
    """Calls that are running; see the module. ``close`` gives up those without an answer."""

    def __init__(self, workers: Workers, function: Callable[..., Any], shared: object) -> None:
        """Prepare calls of ``function(shared, *args)``.

        Args:
            workers: They run the calls.
            function: Can be pickled; what it raises ends `receive`.
            shared: What all calls need; each worker gets it once.
        """
        self._workers, self._function, self._shared = workers, function, shared
        self._sent: dict[str, tuple[K, tuple[Any, ...], Any]] = {}  # by the key of the future
        self._connect()

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, name: K, *args: object) -> None:
        """Start a call."""
        self._start(name, args)

    def _start(self, name: K, args: tuple[Any, ...]) -> None:
        future = self._workers.submit(self._function, self._there, *args)
        self._sent[future.key] = (name, args, future)
        self._completed.add(future)

    def receive(self) -> Answer[K]:
        """Wait for one call to end.

        Raises:
            ExternalToolError: A call raised an error, or the scheduler is lost for minutes.
        """
        while True:
            future, result = next(self._completed)
            if future.key not in self._sent:  # it was given up
                continue
            if future.status == "finished":
                return Answer(self._sent.pop(future.key)[0], result)
            if future.status != "error":  # cancelled, because the scheduler was lost
                self._send_again()
                continue
            error = result[1]
            if isinstance(error, killed_worker()):
                return Answer(self._sent.pop(future.key)[0], is_killer=True)
            raise ExternalToolError(
                "a task of the cluster failed",
                where=self._workers.connection.address,
                why=f"{type(error).__name__}: {error}",
            ) from error

    def give_up(self, name: K) -> None:
        """Forget a call; it ends if it has not begun."""
        self._cancel([key for key, sent in self._sent.items() if sent[0] == name])

    def close(self) -> None:
        """Forget all calls."""
        self._cancel(list(self._sent))
        self._completed.clear()

    def _cancel(self, keys: list[str]) -> None:
        futures = [self._sent.pop(key)[2] for key in keys]
        client = self._workers.connection.client
        if client is not None and futures:
            client.cancel(futures)

    def _connect(self) -> None:
        from distributed import as_completed  # noqa: PLC0415 - loaded by the connection

        loop = self._workers.connection.client.loop
        self.num_slots = self._workers.num_slots  # how many run at the same time
        # A task and not data that are scattered: the scheduler makes it again if its worker dies.
        self._there = self._workers.submit(copy.copy, self._shared, is_anywhere=True)
        self._completed = as_completed(loop=loop, with_results=True, raise_errors=False)

    def _send_again(self) -> None:
        """Send every call again, to a scheduler that has lost all."""
        self._workers.connection.reconnect()
        waiting = [sent[:2] for sent in self._sent.values()]
        self._sent.clear()
        self._connect()
        for name, args in waiting:
            self._start(name, args)


class SureCalls(Calls[K]):
    """Calls of which only those that end the workers' processes are blamed for it.

    Dask blames all calls that a worker had when it died. They are started again alone, one after
    the other, while new calls wait.
    """

    def __init__(self, workers: Workers, function: Callable[..., Any], shared: object) -> None:
        """As for `Calls`; the names of calls can be hashed."""
        super().__init__(workers, function, shared)
        self._args: dict[K, tuple[Any, ...]] = {}
        self._suspects: list[K] = []
        self._waiting: list[K] = []
        self._alone: list[K] = []  # at most one

    def __len__(self) -> int:
        return len(self._args)

    def send(self, name: K, *args: object) -> None:
        """Start a call, or let it wait for those that run alone."""
        self._args[name] = args
        if self._suspects or self._alone:
            self._waiting.append(name)
        else:
            self._start(name, args)

    def receive(self) -> Answer[K]:
        """Wait for one call to end; see `Calls`."""
        while True:
            if not self._sent:
                self._go_on()
            answer = super().receive()
            if answer.is_killer and answer.name not in self._alone:
                self._suspects.append(answer.name)
                continue
            self._forget(answer.name)
            return answer

    def give_up(self, name: K) -> None:
        """Forget a call; it ends if it has not begun."""
        super().give_up(name)
        self._forget(name)

    def close(self) -> None:
        """Forget all calls."""
        for name in list(self._args):
            self._forget(name)
        super().close()

    def _go_on(self) -> None:
        """Start what waited for the end of all others."""
        now = self._suspects or self._waiting
        if now is self._suspects:
            now = self._alone = [self._suspects.pop(0)]
        else:
            self._waiting = []
        for name in now:
            self._start(name, self._args[name])

    def _forget(self, name: K) -> None:
        self._args.pop(name, None)
        for names in (self._suspects, self._waiting, self._alone):
            if name in names:
                names.remove(name)
