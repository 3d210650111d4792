# SPDX-License-Identifier: Apache-2.0
"""A connection to a Dask scheduler, or a cluster of processes on this computer."""

from __future__ import annotations

import contextlib
import logging
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.errors import ExternalToolError, UsageError
from edgekit.evaluate.desk import whoami
from edgekit.extras import require
from edgekit.version import __version__

Fix = Callable[[Sequence[str]], str]  # names that differ -> how to make a worker equal
EDGETPU = "EDGETPU"  # the resource that a worker with Edge TPUs advertises
_LOCAL = re.compile(r"local(?::([0-9]+))?")
_REMOTE = re.compile(r"(?:tcp|tls|wss?)://[^\s/]+:([0-9]{1,5})/?")
_MOST_PORT = 65535
_CONNECT_S = 10.0
_WORKER_S = 30.0  # how long to wait for a first worker
_PATIENCE_S = 300.0  # how long to wait for a scheduler that was lost
_PAUSE_S = 1.0
# Of a cluster that starts here. A task is started again once after the death of its worker. A
# process that died is started again as often as needed: with Dask's default of 15 s it is given up
# if it happens to be absent 15 s after an earlier death.
_LOCAL_SETTINGS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.deploy.lost-worker-timeout": "1 day",
}
_HOW_TO_START = (
    "start a scheduler (dask scheduler) and workers (dask worker tcp://HOST:8786), or give local:2"
)


@dataclass(frozen=True)
class Worker:
    """A worker process of a cluster."""

    address: str
    name: str
    num_threads: int
    num_edge_tpus: int

    @property
    def host(self) -> str:
        """The computer, as the scheduler reaches it."""
        return self.address.partition("://")[2].rpartition(":")[0]


class Connection:
    """A client of a Dask cluster that can connect again after the scheduler was lost."""

    def __init__(self, address: str, note: Callable[[str], None]) -> None:
        """Connect to ``address``: ``tcp://HOST:PORT``, or ``local:N`` for N processes here.

        Raises:
            UsageError: The address cannot be read.
            MissingExtraError: Dask is not installed.
            ExternalToolError: There is no scheduler, no worker, or a worker has another edgekit.
        """
        self._distributed: Any = require(
            "distributed", extra="cluster", purpose="work on a cluster"
        )
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(_SILENT)
        self.note = note
        self._cluster: Any = None
        self._settings = contextlib.ExitStack()
        self.address = address
        local = _LOCAL.fullmatch(address)
        if local:
            self._cluster = self._start(int(local[1] or 2))
        elif not _is_remote(address):
            raise UsageError(
                f"{address!r} is not the address of a cluster",
                fix="give local:N for N processes on this computer, or tcp://HOST:8786",
            )
        self._names: dict[str, str] = {}  # whoami() -> name
        self._required: list[tuple[Callable[[], Mapping[str, str]], Fix]] = []
        self.client: Any = None
        try:
            self.client = self._connect()
            self.greet()
        except BaseException:
            self.close()
            raise

    @property
    def is_local(self) -> bool:
        """Whether the workers are processes that were started here."""
        return self._cluster is not None

    @property
    def dashboard(self) -> str:
        """The address of the cluster's dashboard; empty if it has none."""
        try:
            import bokeh  # noqa: F401, PLC0415 - the dashboard is drawn with it
        except ImportError:
            return ""
        return str(self.client.dashboard_link or "")

    def workers(self) -> list[Worker]:
        """Return the workers that the scheduler has at present."""
        found = self.client.scheduler_info(n_workers=-1)["workers"]
        return [
            Worker(
                address,
                str(each["name"]),
                int(each["nthreads"]),
                int(each.get("resources", {}).get(EDGETPU, 0)),
            )
            for address, each in found.items()
        ]

    def name_of(self, identity: str) -> str:
        """Return the name of the worker whose process is ``identity``; see `whoami`."""
        if identity not in self._names:
            self.greet()
        return self._names.get(identity, identity)

    def require(self, facts: Callable[[], Mapping[str, str]], fix: Fix) -> None:
        """Check now and in each `greet` that ``facts()`` is the same on all workers as here.

        Raises:
            ExternalToolError: They differ.
        """
        self._required.append((facts, fix))
        self.greet()

    def greet(self) -> None:
        """Read the name of each worker's process, and check that all have this edgekit.

        Raises:
            ExternalToolError: A worker has another version of edgekit, or none, or differs in what
                is required.
        """
        names = {each.address: each.name for each in self.workers()}
        for address, (identity, version) in self._asked(_greeting, names).items():
            name = names.get(address, address)
            if version != __version__:
                raise ExternalToolError(
                    f"the worker {name} has edgekit {version}, this is {__version__}",
                    where=address,
                    why="calls are answered by the code on the worker, so it must be the same",
                    fix=f"install edgekit {__version__} there and start the worker again",
                )
            self._names[identity] = name
        for facts, fix in self._required:
            here = facts()
            for address, there in self._asked(facts, names).items():
                if there != here:
                    raise _other_facts(names.get(address, address), address, here, there, fix)

    def _asked(self, function: Callable[[], Any], names: Mapping[str, str]) -> dict[str, Any]:
        """Return what a function returns on each worker; without those that leave meanwhile.

        Raises:
            ExternalToolError: A worker cannot run it.
        """
        try:
            answers: dict[str, Any] = self.client.run(function, on_error="return")
        except (OSError, ValueError):  # a worker has left meanwhile
            return {}
        for address, answer in answers.items():
            if isinstance(answer, BaseException) and not isinstance(answer, OSError):
                raise ExternalToolError(
                    f"the worker {names.get(address, address)} cannot run edgekit",
                    where=address,
                    why=f"{type(answer).__name__}: {answer}",
                    fix=f"install edgekit {__version__} in the Python that runs dask worker there",
                ) from answer
        return {key: each for key, each in answers.items() if not isinstance(each, OSError)}

    def reconnect(self) -> None:
        """Connect again after the scheduler was lost; wait for it for some minutes.

        Raises:
            ExternalToolError: It does not come back.
        """
        self.note(f"the scheduler {self.address} was lost: waiting for it")
        self._close_client()
        end = time.monotonic() + _PATIENCE_S
        while self.client is None:
            self._try_again(end)
        self.greet()
        self.note(f"connected to {self.address} again, with {len(self.workers())} workers")

    def _try_again(self, end: float) -> None:
        try:
            self.client = self._connect()
        except ExternalToolError as error:
            if time.monotonic() > end:
                raise ExternalToolError(
                    "the scheduler was lost and did not come back",
                    where=self.address,
                    why=error.why,
                    fix="start it again, and continue with --resume if there is a --journal",
                ) from error
            time.sleep(_PAUSE_S)

    def close(self) -> None:
        """Close the connection, and the processes that were started here."""
        self._close_client()
        if self._cluster is not None:
            with contextlib.suppress(OSError, TimeoutError):
                self._cluster.close(timeout=10)
        self._settings.close()

    def _close_client(self) -> None:
        if self.client is not None:
            with contextlib.suppress(OSError, TimeoutError):
                self.client.close(timeout=2)
            self.client = None

    def _start(self, count: int) -> Any:  # noqa: ANN401 - a LocalCluster
        if count < 1:
            raise UsageError("local:0 has no worker", fix="give local:1 or more")
        import dask  # noqa: PLC0415 - it comes with distributed

        self._settings.enter_context(dask.config.set(_LOCAL_SETTINGS))
        return self._distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            silence_logs=_SILENT,
        )

    def _connect(self) -> Any:  # noqa: ANN401 - a Client
        client = None
        try:
            client = self._distributed.Client(
                self._cluster or self.address, timeout=_CONNECT_S, set_as_default=False
            )
            client.wait_for_workers(1, timeout=_WORKER_S)
        except (OSError, ValueError) as error:
            has_scheduler = client is not None
            if client is not None:
                client.close(timeout=2)
            raise ExternalToolError(
                "the cluster has no worker" if has_scheduler else "there is no scheduler",
                where=self.address,
                why=" ".join(str(error).split()),
                fix=f"dask worker {self.address}" if has_scheduler else _HOW_TO_START,
            ) from error
        return client


def _is_remote(address: str) -> bool:
    found = _REMOTE.fullmatch(address)
    return found is not None and 0 < int(found[1]) <= _MOST_PORT


def killed_worker() -> type[BaseException]:
    """Return the error of a task whose workers died, each time that it was started."""
    from distributed import scheduler  # noqa: PLC0415 - loaded by the connection

    found: type[BaseException] = scheduler.KilledWorker
    return found


_SILENT = logging.CRITICAL  # what matters is reported by ``note``


def _greeting() -> tuple[str, str]:
    return whoami(), __version__


def _other_facts(
    name: str, address: str, here: Mapping[str, str], there: Mapping[str, str], fix: Fix
) -> ExternalToolError:
    differ = [key for key in here if there.get(key) != here[key]]
    return ExternalToolError(
        f"the worker {name} differs from this computer: {', '.join(differ)}",
        where=address,
        why="; ".join(f"{key} {there.get(key)} there, {here[key]} here" for key in differ),
        fix=fix(differ),
    )


@contextlib.contextmanager
def large_graphs_allowed() -> Any:  # noqa: ANN401 - a context manager
    """Do not warn that a model is sent as a part of the work."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")
        yield
