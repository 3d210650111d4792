# SPDX-License-Identifier: Apache-2.0
"""A cluster of processes that the commands of Dask start, as on a rack of boards."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import ExternalToolError
from edgekit.evaluate import evaluate
from edgekit.formats.libedgetpu import LIBRARY_VARIABLE
from tests.evaluate.conftest import linear
from tests.runtime.edgetpu.conftest import Build, Models, build, models

pytest.importorskip("distributed", reason="Dask is not installed (the extra cluster)")

from edgekit.fleet.cluster import cluster

__all__ = ["build", "models"]

_REPOSITORY = Path(__file__).resolve().parents[3]


class Rack:
    """A scheduler and its workers, in another current folder than the test."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._scheduler = self.start_scheduler()

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        return self._start("scheduler", *where)

    def start_worker(self, name: str, *options: str, **variables: str) -> None:
        fixed = ["--name", name, "--nthreads", "1", "--no-dashboard"]
        self._start("worker", self.address, *fixed, *options, **variables)

    def restart_scheduler(self) -> None:
        """Kill the scheduler; start another one at the same address, without any memory of it."""
        self._scheduler.kill()
        self._scheduler.wait()
        self._scheduler = self.start_scheduler()

    def stop(self) -> None:
        for each in self._processes:
            each.terminate()
        for each in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                each.wait(10)
            each.kill()
            each.wait()

    def _start(self, program: str, *args: str, **variables: str) -> subprocess.Popen[bytes]:
        paths = os.pathsep.join([str(_REPOSITORY), *sys.path])
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{program}", *args],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": paths, **variables},
        )
        self._processes.append(process)
        return process


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    """A scheduler."""
    (tmp_path / "elsewhere").mkdir()
    made = Rack(tmp_path / "elsewhere")
    yield made
    made.stop()


@pytest.mark.slow
def test_a_restarted_scheduler_goes_on_where_it_was(rack: Rack, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    data = tmp_path / "d.npz"
    np.savez(data, x=random.random((40_000, 4)).astype(np.float32), y=random.integers(0, 4, 40_000))
    model = linear(np.eye(4), (1, 4))
    alone = evaluate(model, data)
    rack.start_worker("a")
    notes: list[str] = []
    counts: list[int] = []

    def restart(done: int, _total: int | None) -> None:
        counts.append(done)
        if done > 10_000 and not notes:
            notes.append("restarted")
            rack.restart_scheduler()
            rack.start_worker("b")

    with cluster(rack.address, note=notes.append) as pool:
        shared = evaluate(model, data, pool=pool, progress=restart)
    assert any("was lost" in each for each in notes), notes
    assert (shared.metrics, shared.left_out, shared.data["fingerprint"]) == (
        alone.metrics,
        alone.left_out,
        alone.data["fingerprint"],
    )
    assert counts == sorted(set(counts))  # no sample is counted twice


@pytest.mark.slow
def test_workers_with_an_edge_tpu_are_used_if_one_is_needed(
    rack: Rack, models: Models, build: Build, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", x=np.ones((90, 4), np.float32), y=np.full(90, 2))
    rack.start_worker("plain")
    with cluster(rack.address) as pool:
        with pytest.raises(ExternalToolError, match="no worker of the cluster has an Edge TPU"):
            evaluate(models.compiled, tmp_path / "d.npz", device=":0", pool=pool)
        rack.start_worker("chip", "--resources", "EDGETPU=1", **{LIBRARY_VARIABLE: str(build())})
        pool.connection.client.wait_for_workers(2, timeout=60)
        result = evaluate(models.compiled, tmp_path / "d.npz", device=":0", pool=pool)
        has_others = pool.exclude("chip")
    assert not has_others  # the plain worker cannot take over
    (did,) = result.workers
    assert (did.worker, did.device, did.num_samples) == ("chip", ":0", 90)
    assert (result.kernels, result.versions["libedgetpu"]) == ("edgetpu", "runtime 14")


def test_without_a_scheduler_the_commands_to_start_one_are_printed(rack: Rack) -> None:
    rack.stop()
    with pytest.raises(ExternalToolError, match="there is no scheduler") as caught:
        cluster(rack.address)
    assert "dask scheduler" in caught.value.fix
