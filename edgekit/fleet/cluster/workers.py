# SPDX-License-Identifier: Apache-2.0
"""The workers of a cluster that can do a piece of work, and how it is sent to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekit.errors import EdgeKitError, ExternalToolError
from edgekit.evaluate.shard import Failure
from edgekit.fleet.cluster.connection import EDGETPU, Connection, Worker, large_graphs_allowed
from edgekit.runtime.devices import is_edge_tpu


class Workers:
    """The workers of a cluster, with an Edge TPU if the work needs one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._bad: set[str] = set()  # names of workers whose device is lost
        self._needs_edge_tpu = False

    @property
    def num_slots(self) -> int:
        """How many tasks run at the same time."""
        workers = self.eligible()
        sizes = [w.num_edge_tpus if self._needs_edge_tpu else w.num_threads for w in workers]
        return max(1, sum(sizes))

    def eligible(self) -> list[Worker]:
        """Return the workers that have the device, by their names."""
        return sorted(
            (
                each
                for each in self.connection.workers()
                if each.name not in self._bad and (each.num_edge_tpus or not self._needs_edge_tpu)
            ),
            key=lambda each: each.name,
        )

    def choose_for(self, device: str) -> None:
        """Choose the workers that have the device.

        Raises:
            ExternalToolError: There is none.
        """
        self._needs_edge_tpu = is_edge_tpu(device)
        have = [each for each in self.connection.workers() if each.num_edge_tpus]
        if self._needs_edge_tpu and not have:
            raise ExternalToolError(
                "no worker of the cluster has an Edge TPU",
                where=self.connection.address,
                why=f"none advertises the resource {EDGETPU}",
                fix=f'start workers with dask worker ADDRESS --resources "{EDGETPU}=1"',
            )

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,  # noqa: ANN401 - of the function
        is_anywhere: bool = False,
    ) -> Any:  # noqa: ANN401 - a Future
        """Send a call to a worker that has the device, or to any; return its future."""
        how: dict[str, Any] = {"pure": False}
        if self._needs_edge_tpu and not is_anywhere:
            how["resources"] = {EDGETPU: 1}
        if self._bad:
            good = [w.address for w in self.connection.workers() if w.name not in self._bad]
            how["workers"] = good
        with large_graphs_allowed():
            return self.connection.client.submit(function, *args, **how)

    def submit_to(
        self,
        worker: Worker,
        function: Callable[..., Any],
        *args: Any,  # noqa: ANN401 - of the function
    ) -> Any:  # noqa: ANN401 - a Future
        """Send a call to this worker; return its future."""
        resources = {EDGETPU: 1} if self._needs_edge_tpu else None
        with large_graphs_allowed():
            return self.connection.client.submit(
                function, *args, pure=False, workers=[worker.address], resources=resources
            )

    def exclude(self, name: str) -> bool:
        """Send no more work to the worker ``name``; return whether others have the device."""
        self._bad.add(name)
        return bool(self.eligible())

    def named(self, failure: Failure) -> EdgeKitError:
        """Return the error of a failure, with the name of the worker."""
        name = self.connection.name_of(failure.worker)
        error = failure.error or ExternalToolError("a worker failed", why=failure.text)
        error.where = f"{error.where}, worker {name}".removeprefix(", ")
        return error
