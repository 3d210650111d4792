# SPDX-License-Identifier: Apache-2.0
"""The workers of a Dask cluster, as the pool of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TypeVar

from edgekit.errors import ExternalToolError
from edgekit.evaluate.shard import Failure, Job, Models, Shard, ShardAnswer
from edgekit.evaluate.shard_runner import describe_there, invoke_there
from edgekit.fleet.cluster.calls import Answer, Calls, SureCalls
from edgekit.fleet.cluster.connection import Connection, Fix
from edgekit.fleet.cluster.in_order import ShardsInOrder
from edgekit.fleet.cluster.workers import Workers

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from edgekit.runtime.described import Description

T = TypeVar("T")
K = TypeVar("K")
_AHEAD = 2  # calls per slot that are sent before their turn


def cluster(address: str, *, note: Callable[[str], None] | None = None) -> ClusterPool:
    """Return the workers of a Dask cluster, for ``pool`` of `edgekit.evaluate`; a context manager.

    Args:
        address: ``tcp://HOST:PORT`` of a scheduler, or ``local:N``: N processes on this computer
            (a program that uses it begins its work under ``if __name__ == "__main__"``).
        note: Called with remarks: a worker or the scheduler was lost.

    Raises:
        UsageError: The address cannot be read.
        MissingExtraError: Dask is not installed.
        ExternalToolError: There is no scheduler, no worker, or a worker has another edgekit.
    """
    return ClusterPool(Connection(address, note or _silent))


def _silent(_text: str) -> None:
    return


class ClusterPool(Workers):
    """The workers of a Dask cluster; a context manager."""

    @property
    def shares_folder(self) -> bool:
        """Whether relative paths mean the same files there as here."""
        return self.connection.is_local

    def describe(self, models: Models) -> Sequence[Description]:
        """Load the models in one worker, and return how it describes them.

        Raises:
            ExternalToolError: No worker has an Edge TPU although one is wanted, or the models kill
                the workers.
            EdgeKitError: As for `edgekit.Runner`, with the worker's name.
        """
        self.choose_for(models.options.device)
        found: Sequence[Description] = self._call(describe_there, models)
        return found

    def invoke(
        self, models: Models, index: int, raw: tuple[NDArray[Any], ...]
    ) -> tuple[NDArray[Any], ...]:
        """Run model ``index`` once in one of the workers.

        Raises:
            EdgeKitError: As for `describe`.
        """
        outputs: tuple[NDArray[Any], ...] = self._call(invoke_there, models, index, raw)
        return outputs

    def _call(
        self,
        function: Callable[..., Any],
        models: Models,
        *args: object,
    ) -> Any:  # noqa: ANN401 - what it returns
        """Call a function once, in one of the workers."""
        calls: Calls[str] = Calls(self, function, models)
        calls.send("the model", *args)
        answer = calls.receive()
        return self.value_of(answer)

    def require(self, facts: Callable[[], Mapping[str, str]], fix: Fix) -> None:
        """Check now, and for each worker that joins later, that ``facts()`` is the same as here.

        Args:
            facts: Returns texts by name, such as the versions of packages; can be pickled.
            fix: Returns how to make a worker equal; its argument lists the names that differ.

        Raises:
            ExternalToolError: They differ on a worker.
        """
        self.connection.require(facts, fix)

    def name_of(self, identity: str) -> str:
        """Return the name of a worker's process; check it first if it has joined meanwhile.

        Raises:
            ExternalToolError: It is not equal in what is required.
        """
        return self.connection.name_of(identity)

    def calls(self, function: Callable[..., Any], shared: object) -> Calls[Any]:
        """Return an empty set of calls ``function(shared, *args)``; see `Calls`."""
        return SureCalls(self, function, shared)

    def value_of(self, answer: Answer[Any]) -> Any:  # noqa: ANN401 - what the function returned
        """Return what a call returned.

        Raises:
            EdgeKitError: A worker raised it; the error contains the worker's name.
            ExternalToolError: The worker's process ended each time that the call was started.
        """
        if answer.is_killer:
            raise ExternalToolError(
                f"the workers die when they work on {answer.name}",
                where=self.connection.address,
                why="the process ended each time that the call was started, also alone",
                fix="look at the output of dask worker there, and whether it has enough memory",
            )
        if isinstance(answer.value, Failure):
            raise self.named(answer.value)
        return answer.value

    def map(self, function: Callable[[K], T], items: Iterable[K]) -> Iterator[tuple[K, T]]:
        """Yield each item with ``function(item)``, in the order of the items.

        Args:
            function: Can be pickled, and imported by the workers; called in a worker's process.
            items: Drawn when there is room for a call.

        Raises:
            ExternalToolError: A call raised an error, or ended the workers' processes also alone;
                then the results of the items before it are yielded first.
        """
        source = iter(enumerate(items))
        waiting: dict[int, K] = {}
        found: dict[int, Answer[int]] = {}
        calls = SureCalls[int](self, _called, function)
        try:
            for turn in count():
                for number, item in islice(source, _AHEAD * calls.num_slots - len(waiting)):
                    waiting[number] = item
                    calls.send(number, item)
                if not waiting:
                    return
                while turn not in found:
                    answer = calls.receive()
                    found[answer.name] = answer
                item, answer = waiting.pop(turn), found.pop(turn)
                yield item, self.value_of(Answer(item, answer.value, answer.is_killer))
        finally:
            calls.close()

    def answers(self, models: Models, job: Job, shards: Iterable[Shard]) -> Iterator[ShardAnswer]:
        """Yield the answers to ``shards`` in their order; each is taken when it can be sent.

        Raises:
            EdgeKitError: What a worker raised, with its name; the scheduler is lost for minutes; or
                workers die at many samples.
        """
        yield from ShardsInOrder(self, models, job).answers(shards)

    def close(self) -> None:
        """Leave the cluster; end the processes that were started here."""
        self.connection.close()

    def __enter__(self) -> ClusterPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _called(function: Callable[[K], T], item: K) -> T:
    return function(item)
