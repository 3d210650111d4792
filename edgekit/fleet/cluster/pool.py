# SPDX-License-Identifier: Apache-2.0
"""The workers of a Dask cluster, as the pool of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from edgekit.errors import ExternalToolError
from edgekit.evaluate.shard import (
    Failure,
    Job,
    Models,
    Shard,
    ShardAnswer,
)
from edgekit.evaluate.shard_runner import describe_there, invoke_there
from edgekit.fleet.cluster.connection import Connection, killed_worker
from edgekit.fleet.cluster.in_order import ShardsInOrder
from edgekit.fleet.cluster.workers import Workers

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from edgekit.runtime.described import Description


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
        *args: Any,  # noqa: ANN401 - of the function
    ) -> Any:  # noqa: ANN401 - what it returns
        """Call a function in one worker, again if the scheduler is lost meanwhile."""
        while True:
            future = self.submit(function, *args)
            try:
                answer = future.result()
            except killed_worker() as error:
                raise ExternalToolError(
                    "the workers die when they load or run the model",
                    where=self.connection.address,
                    why=" ".join(str(error).split()),
                    fix="run edgekit benchmark MODEL on a worker's machine to see why",
                ) from error
            except CancelledError:
                self.connection.reconnect()
                continue
            if isinstance(answer, Failure):
                raise self.named(answer)
            return answer

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
