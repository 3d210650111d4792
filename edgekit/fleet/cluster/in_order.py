# SPDX-License-Identifier: Apache-2.0
"""Run the shards of an evaluation on a cluster, and return their answers in order.

If a worker's process ends, Dask starts its shard again on another one. If the process ends each
time, the shard is run in pieces, one at a time, so that only that piece can be the reason. A piece
that ends a process is divided again, until a single sample is left, which is listed as failed.
"""

from __future__ import annotations

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
from edgekit.fleet.cluster.calls import Calls

if TYPE_CHECKING:
    from edgekit.fleet.cluster.workers import Workers

_AHEAD = 3  # shards per slot that are sent before their turn
_PIECES = 8  # of a shard that ends its worker's process
_MOST_POISONED = 10


@dataclass(eq=False)
class _Slot:
    """A shard, and its answer."""

    shard: Shard
    answer: ShardAnswer | None = None
    is_suspect: bool = False  # workers died while they had it


class ShardsInOrder:
    """Sends the shards of one evaluation, and returns their answers in order."""

    def __init__(self, workers: Workers, models: Models, job: Job) -> None:
        self._workers, self._job = workers, job
        self._window: list[_Slot] = []  # in the order of the samples
        self._calls: Calls[_Slot] = Calls(workers, answer_there, models)
        self._num_poisoned = 0

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
            self._calls.close()

    def _has_room(self) -> bool:
        if any(each.is_suspect for each in self._window):
            return False
        return len(self._window) < _AHEAD * self._calls.num_slots

    def _send(self, slot: _Slot) -> None:
        self._calls.send(slot, self._job, slot.shard)

    def _receive(self) -> None:
        """Wait for one answer; if only suspects are left, run the first one alone."""
        if not self._calls:
            self._send(next(each for each in self._window if each.answer is None))
        answer = self._calls.receive()
        slot, result = answer.name, answer.value
        if answer.is_killer:
            self._died(slot)
        elif isinstance(result, ShardAnswer):
            name = self._workers.connection.name_of(result.worker)
            slot.answer = replace(result, worker=name)
        else:
            self._failed(slot, result)

    def _died(self, slot: _Slot) -> None:
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
