# SPDX-License-Identifier: Apache-2.0
"""Write docs/cluster-scaling.md: what a cluster costs, and where it stops to scale.

    python -m scripts.cluster_table [--samples 1000000] [--work FOLDER] [-o PAGE]

Starts a scheduler and 1, 2 and 4 worker processes on this computer, as on a rack, and evaluates a
small and a slower network. Times of the processor are counted, which other work on the machine
changes little; seconds are of the clock. Run it on a quiet machine, or with the highest priority
(``nice -n -19``; where sessions are grouped, -19 in ``/proc/self/autogroup`` too).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped] # it has no types

from edgekit import files
from edgekit.errors import ExternalToolError
from edgekit.evaluate import evaluate
from edgekit.fleet.cluster import ClusterPool, cluster

_REPOSITORY = Path(__file__).resolve().parents[1]
_PAGE = Path(__file__).with_suffix(".txt")  # the page around the tables
_WORKERS = (1, 2, 4)
_SMALL, _SLOW = 8, 96  # edges of the images
_SHARE = {_SMALL: 5, _SLOW: 500}  # one of so many samples of the long run, for the short ones
_MIB = 1 << 20
_THIRDS = 3
_START_S = 300.0


@dataclass(frozen=True)
class Row:
    """One evaluation on a cluster; times in seconds."""

    edge: int  # of the images
    workers: int
    samples: int
    shards: int
    wall: float
    workers_cpu: float
    client_cpu: float
    scheduler_cpu: float
    memory: dict[str, list[float]]  # process -> MiB at the end of each third


class Rack:
    """A scheduler and workers, in processes of their own."""

    def __init__(self, num_workers: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        where = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        self.scheduler = _start("scheduler", *where)
        one = ["--nthreads", "1", "--no-dashboard", "--no-nanny"]
        self.workers = [
            _start("worker", self.address, "--name", f"board{index}", *one)
            for index in range(num_workers)
        ]

    def pool(self) -> ClusterPool:
        """Return the workers, when all have started."""
        end = time.monotonic() + _START_S
        while True:
            try:
                found = cluster(self.address)
            except ExternalToolError:
                if time.monotonic() > end:
                    raise
                continue
            found.connection.client.wait_for_workers(len(self.workers), timeout=_START_S)
            return found

    def stop(self) -> None:
        """End the processes."""
        for each in (*self.workers, self.scheduler):
            each.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                each.wait(10)


def _start(program: str, *args: str) -> psutil.Popen:
    return psutil.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{program}", *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY), "OMP_NUM_THREADS": "1"},
    )


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000, help="of the long run")
    parser.add_argument("--work", type=Path, help="keeps the results, so that a second run goes on")
    parser.add_argument(
        "-o", "--output", type=Path, default=_REPOSITORY / "docs" / "cluster-scaling.md"
    )
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work: Path = words.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        path = work / "rows.json"
        known = [Row(**each) for each in json.loads(path.read_text())] if path.exists() else []
        wanted = [(edge, num, words.samples // _SHARE[edge]) for edge in _SHARE for num in _WORKERS]
        wanted.append((_SMALL, 2, words.samples))
        for edge, num, count in wanted:
            if not any((r.edge, r.workers, r.samples) == (edge, num, count) for r in known):
                known.append(_measured(work, edge, num, count))
                print(known[-1], flush=True)
                path.write_text(json.dumps([asdict(each) for each in known], indent=1))
    files.write_text(words.output, _page(known, words.samples))


def _model(work: Path, edge: int) -> Path:
    path = work / f"{edge}.tflite"
    if not path.exists():
        # In another process: TensorFlow is none of the memory that is measured.
        other = multiprocessing.get_context("spawn").Process(target=_make_model, args=(path, edge))
        other.start()
        other.join()
    return path


def _make_model(path: Path, edge: int) -> None:
    import keras  # noqa: PLC0415 - in this process only
    from keras import layers  # noqa: PLC0415

    from edgekit.host.convert import convert  # noqa: PLC0415

    keras.utils.set_random_seed(1)
    x = start = keras.Input((edge, edge, 1))
    for filters in (8, 16) if edge == _SMALL else (16, 32, 32, 32):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    convert(keras.Model(start, x), data="random", output=path)


def _data(work: Path, edge: int, count: int) -> str:
    path = work / f"{edge}-{count}.npz"
    if not path.exists():
        random = np.random.default_rng(1)
        x = random.integers(0, 256, (count, edge, edge, 1), dtype=np.uint8)
        np.savez(path, x=x, y=random.integers(0, 10, count))
    return f"file://{path.absolute()}"


def _measured(work: Path, edge: int, num_workers: int, count: int) -> Row:
    model, data = _model(work, edge), _data(work, edge, count)
    rack = Rack(num_workers)
    try:
        with rack.pool() as pool:
            # Models are loaded and modules imported in all workers before the measurement.
            evaluate(model, data, num_samples=min(count, 400 * num_workers), pool=pool)
            return _run(rack, pool, model, data, edge, count)
    finally:
        rack.stop()


def _run(rack: Rack, pool: ClusterPool, model: Path, data: str, edge: int, count: int) -> Row:
    memory: dict[str, list[float]] = {}
    next_third = [1]
    processes = {"command": psutil.Process(), "scheduler": rack.scheduler}
    processes |= {f"worker {i + 1}": each for i, each in enumerate(rack.workers)}

    def progress(done: int, _total: int | None) -> None:
        if done * _THIRDS >= next_third[0] * count:
            next_third[0] += 1
            for name, each in processes.items():
                memory.setdefault(name, []).append(each.memory_info().rss / _MIB)

    workers, scheduler = _cpu_of(*rack.workers), _cpu_of(rack.scheduler)
    before = workers(), scheduler(), time.process_time(), time.perf_counter()
    result = evaluate(model, data, pool=pool, progress=progress)
    after = workers(), scheduler(), time.process_time(), time.perf_counter()
    spent = [then - now for now, then in zip(before, after, strict=True)]
    num_shards = sum(each.num_shards for each in result.workers)
    return Row(
        edge, len(rack.workers), count, num_shards, spent[3], spent[0], spent[2], spent[1], memory
    )


def _cpu_of(*processes: psutil.Process) -> Callable[[], float]:
    def spent() -> float:
        times = [each.cpu_times() for each in processes]
        return float(sum(each.user + each.system for each in times))

    return spent


def _page(rows: list[Row], most: int) -> str:
    long = next(row for row in rows if row.samples == most)
    short = [row for row in rows if row is not long]
    idle, shard_s, sample_s = _costs(short)
    memory = (
        f"| {name} | {' | '.join(f'{each:.0f}' for each in found)} |"
        for name, found in long.memory.items()
    )
    return _PAGE.read_text().format(
        cores=os.cpu_count(),
        rows="".join(f"{_line(row, short)}\n" for row in short),
        idle=f"{idle * 1e3:.0f}",
        left=f"{1 - idle:.2f}",
        shard_ms=f"{shard_s * 1e3:.1f}",
        sample_us=f"{sample_s * 1e6:.1f}",
        shard_s=f"{shard_s:.4f}",
        sample_s=f"{sample_s:.7f}",
        limits="".join(f"{line}\n" for line in _limits(short, idle, shard_s, sample_s)),
        samples=f"{long.samples:,}",
        edge=long.edge,
        workers=long.workers,
        seconds=f"{long.wall:.0f}",
        memory="\n".join(memory),
    )


def _line(row: Row, rows: list[Row]) -> str:
    one = next(each for each in rows if (each.edge, each.workers) == (row.edge, 1))
    speed, single = row.samples / row.wall, one.samples / one.wall
    efficiency = speed / single / min(row.workers, os.cpu_count() or 1)
    cells = (
        f"{row.edge} x {row.edge}",
        str(row.workers),
        f"{row.samples:,}",
        str(row.shards),
        f"{row.wall:.1f}",
        f"{speed:,.0f}",
        f"{efficiency:.2f}",
        f"{row.workers_cpu:.1f}",
        f"{row.client_cpu:.2f}",
        f"{row.scheduler_cpu:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def _costs(rows: list[Row]) -> tuple[float, float, float]:
    """Return the CPU time of command and scheduler per second, per shard and per sample.

    By least squares without the terms that would be negative.
    """
    counts = np.array([[row.wall, row.shards, row.samples] for row in rows])
    spent = np.array([row.client_cpu + row.scheduler_cpu for row in rows])
    used = [0, 1, 2]
    while True:
        found = np.linalg.lstsq(counts[:, used], spent, rcond=None)[0]
        if found.min() >= 0:
            break
        used.remove(used[int(found.argmin())])
    costs = np.zeros(3)
    costs[used] = found
    return float(costs[0]), float(costs[1]), float(costs[2])


def _limits(rows: list[Row], idle: float, shard_s: float, sample_s: float) -> Iterator[str]:
    for edge in _SHARE:
        alike = [row for row in rows if row.edge == edge]
        busy = sum(row.workers_cpu for row in alike) / sum(row.samples for row in alike)
        most = (1 - idle) * _most(busy, shard_s, sample_s)
        yield f"| {edge} x {edge}, on the CPU | {busy:.6f} | {most:,.0f} |"
    for name, busy in (("5 ms, as MobileNet on an Edge TPU", 5e-3), ("50 ms", 50e-3)):
        yield f"| {name} | {busy:.6f} | {(1 - idle) * _most(busy, shard_s, sample_s):,.0f} |"


def _most(busy_s: float, shard_s: float, sample_s: float) -> float:
    samples = min(20_000.0, max(1.0, 1 / busy_s))
    return samples * busy_s / (shard_s + samples * sample_s)


if __name__ == "__main__":
    main()
