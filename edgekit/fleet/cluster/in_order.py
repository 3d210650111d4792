# SPDX-License-Identifier: Apache-2.0
"""Run the shards of an evaluation on a cluster, and return their answers in order.

This process keeps the shards that have no answer yet; it needs nothing else to continue. If a
worker's process ends, Dask starts its shard again on another one. If the process ends each time,
the shard is run in pieces, one at a time, so that only that piece can be the reason. A piece that
ends a process is divided again, until a single sample is left, which is listed as failed. After the
loss of the scheduler, all shards without an answer are sent again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgekit.errors import DeviceError, ExternalToolError
from edgekit.evaluate.shard import (
    Failure,
    Job,
    Models,
    Shard,
    ShardAnswer,
    poisoned,
)
from edgekit.evaluate.shard_runner import answer_there
from edgekit.fleet.cluster.connection import killed_worker

if TYPE_CHECKING:
    from edgekit.fleet.cluster.workers import Workers

_AHEAD = 3  # shards per slot that are sent before their turn
_PIECES = 8  # of a shard that ends its worker's process
_MOST_POISONED = 10


@dataclass
class _Slot:
    """A shard, and its answer."""

    shard: Shard
    answer: ShardAnswer | None = None
    is_suspect: bool = False  # workers died while they had it


class ShardsInOrder:
    """Sends the shards of one evaluation, and returns their answers in order."""

    def __init__(self, workers: Workers, models: Models, job: Job) -> None:
        self._workers, self._models, self._job = workers, models, job
        self._window: list[_Slot] = []  # in the order of the samples
        self._sent: dict[str, _Slot] = {}  # by the key of the future
        self._num_poisoned = 0
        self._connect()

    def answers(self, shards: Iterable[Shard]) -> Iterator[ShardAnswer]:
        """Yield the answers to ``shards`` in their order, which is that of the samples."""
        source, has_more = iter(shards), True
        try:
            while True:
                while has_more and self._has_room():
                    shard = next(source, None)
                    has_more = shard is not None
                    if shard is not None:
                        self._window.append(_Slot(shard))
                        self._send(self._window[-1])
                if not self._window:
                    return
                answer = self._window[0].answer
                if answer is None:
                    self._receive()
                else:
                    del self._window[0]
                    yield answer
        finally:
            self._cancel()

    def _connect(self) -> None:
        from distributed import as_completed  # noqa: PLC0415 - loaded by the connection

        client = self._workers.connection.client
        # A task and not data that are scattered: the scheduler makes it again if its worker dies.
        self._there = self._workers.submit(copy.copy, self._models, is_anywhere=True)
        self._completed = as_completed(loop=client.loop, with_results=True, raise_errors=False)
        self._most = _AHEAD * self._workers.num_slots

    def _has_room(self) -> bool:
        return len(self._window) < self._most and not any(each.is_suspect for each in self._window)

    def _send(self, slot: _Slot) -> None:
        future = self._workers.submit(answer_there, self._there, self._job, slot.shard)
        self._sent[future.key] = slot
        self._completed.add(future)

    def _receive(self) -> None:
        """Wait for one answer; if only suspects are left, run the first one alone."""
        if not self._sent:
            self._send(next(each for each in self._window if each.answer is None))
        future, result = next(self._completed)
        slot = self._sent.pop(future.key)
        if future.status == "error":
            self._died(slot, result[1])
        elif isinstance(result, ShardAnswer):
            name = self._workers.connection.name_of(result.worker)
            slot.answer = replace(result, worker=name)
        elif isinstance(result, Failure):
            self._failed(slot, result)
        else:  # cancelled, because the scheduler was lost
            self._again()

    def _again(self) -> None:
        """Send everything that has no answer again, to a scheduler that has lost all."""
        self._workers.connection.reconnect()
        self._sent.clear()
        self._connect()
        for slot in self._window:
            if slot.answer is None and not slot.is_suspect:
                self._send(slot)

    def _died(self, slot: _Slot, error: BaseException) -> None:
        if not isinstance(error, killed_worker()):
            raise ExternalToolError(
                "a task of the cluster failed",
                where=self._workers.connection.address,
                why=f"{type(error).__name__}: {error}",
            ) from error
        shard = slot.shard
        if not slot.is_suspect:
            self._workers.connection.note(
                f"workers died with the samples {shard.start} to {shard.stop - 1}: running these "
                "alone, in parts"
            )
        if not slot.is_suspect and shard.count == 1:
            slot.is_suspect = True  # another shard may have been the reason
        else:
            self._isolate(slot, "the worker's process died", is_suspect=True)

    def _failed(self, slot: _Slot, failure: Failure) -> None:
        if failure.error is None:
            self._isolate(slot, failure.text, is_suspect=False)
            return
        error = self._workers.named(failure)
        name = self._workers.connection.name_of(failure.worker)
        if not isinstance(error, DeviceError) or not self._workers.exclude(name):
            raise error
        self._workers.connection.note(f"the worker {name} is not used any more: {error.what}")
        self._send(slot)

    def _isolate(self, slot: _Slot, reason: str, *, is_suspect: bool) -> None:
        """Try a shard in pieces; list a single sample as one that cannot be read."""
        place = self._window.index(slot)
        if slot.shard.count > 1:
            pieces = [_Slot(each, is_suspect=is_suspect) for each in slot.shard.pieces(_PIECES)]
            self._window[place : place + 1] = pieces
            for piece in pieces if not is_suspect else ():
                self._send(piece)
            return
        self._num_poisoned += 1
        if self._num_poisoned > _MOST_POISONED:
            raise ExternalToolError(
                f"workers fail at more than {_MOST_POISONED} samples",
                where=self._workers.connection.address,
                why=reason,
                fix="run edgekit evaluate with --num-samples 10 on a worker's machine to see why",
            )
        slot.answer = poisoned(slot.shard, reason)

    def _cancel(self) -> None:
        client = self._workers.connection.client
        if client is not None and self._sent:
            client.cancel(list(self._sent))
        self._completed.clear()
