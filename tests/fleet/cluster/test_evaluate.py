# SPDX-License-Identifier: Apache-2.0
"""``edgekit evaluate --cluster``: a real scheduler and real worker processes on this computer."""

from __future__ import annotations

import itertools
import math
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekit.errors import DataError, ExternalToolError, UsageError
from edgekit.evaluate import EvaluateResult, evaluate
from edgekit.runtime import RunnerOptions
from tests.evaluate.conftest import classifier, linear, same
from tests.fleet.cluster.samples import Harmful, deadly_five

pytest.importorskip("distributed", reason="Dask is not installed (the extra cluster)")

from edgekit.fleet.cluster import ClusterPool, benchmark_workers, cluster

Case = Callable[[Path], tuple[bytes, Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def pool() -> Iterator[ClusterPool]:
    """Two worker processes."""
    with cluster("local:2") as found:
        yield found


def _measured(result: EvaluateResult) -> EvaluateResult:
    """Return a result without what differs from run to run: times, and who worked."""
    return replace(
        result, latency_ms={}, latency_samples=0, time_s=0.0, workers=(), num_workers=0, cpu_batch=0
    )


def _npz(path: Path, x: Any, y: Any) -> Path:  # noqa: ANN401 - arrays
    np.savez(str(path), x=x, y=y)
    return path


def _classes(folder: Path) -> tuple[bytes, Path, dict[str, Any]]:
    random = np.random.default_rng(1)
    x = random.random((3000, 4, 4, 3)).astype(np.float32)
    x[7] = np.inf
    return classifier(), _npz(folder / "d.npz", x, random.integers(0, 3, 3000)), {}


def _pictures(folder: Path) -> tuple[bytes, Path, dict[str, Any]]:
    random = np.random.default_rng(2)
    for name in ("red", "green", "blue"):
        (folder / "p" / name).mkdir(parents=True)
        for index in range(25):
            pixels = random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "p" / name / f"{index}.png")
    (folder / "p" / "green" / "3.png").write_bytes(b"not an image")
    return classifier(), folder / "p", {"labels": ["red", "green", "blue"], "num_samples": 70}


def _multilabel(folder: Path) -> tuple[bytes, Path, dict[str, Any]]:
    random = np.random.default_rng(3)
    x = random.random((700, 5)).astype(np.float32)
    return same((1, 5)), _npz(folder / "d.npz", x, (random.random((700, 5)) < 0.3) * 1), {}


def _targets(folder: Path) -> tuple[bytes, Path, dict[str, Any]]:
    random = np.random.default_rng(4)
    x = random.random((900, 3)).astype(np.float32)
    model = linear(random.random((2, 3)), (1, 3))
    return model, _npz(folder / "d.npz", x, random.random((900, 2))), {}


def _masks(folder: Path) -> tuple[bytes, Path, dict[str, Any]]:
    random = np.random.default_rng(5)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index in range(30):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        mask = random.integers(0, 3, (8, 8), dtype=np.uint8)
        Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
    return same((1, 8, 8, 3)), folder, {}


@pytest.mark.parametrize("case", [_classes, _pictures, _multilabel, _targets, _masks])
def test_the_result_is_exactly_that_of_one_process(
    case: Case, pool: ClusterPool, tmp_path: Path
) -> None:
    model, data, options = case(tmp_path)
    alone = evaluate(model, data, **options)
    shared = evaluate(model, data, pool=pool, **options)
    assert _measured(shared) == _measured(alone)
    assert sum(each.num_samples for each in shared.workers) == (
        alone.num_samples + alone.num_failed
    )
    assert shared.latency_ms["p50"] > 0


@pytest.mark.corpus
def test_objects_of_a_coco_json_are_judged_as_in_one_process(
    corpus: Path, pool: ClusterPool
) -> None:
    model = corpus / "coral" / "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29.tflite"
    annotations = corpus / "coco" / "instances_val2017_64.json"
    alone = evaluate(model, annotations, num_workers=1)
    shared = evaluate(model, annotations, pool=pool)
    assert _measured(shared) == _measured(alone)
    assert alone.num_samples == 64
    assert 0 < shared.metrics["map"] < 1


def test_two_models_are_compared_as_in_one_process(
    int8_path: Path, float_path: Path, pool: ClusterPool, tmp_path: Path
) -> None:
    random = np.random.default_rng(6)
    x = random.integers(0, 256, (1500, 8, 8, 1), dtype=np.uint8)
    data = _npz(tmp_path / "d.npz", x, random.integers(0, 5, 1500))
    models = (int8_path, data)
    alone = evaluate(*models, against=float_path, num_workers=1)
    shared = evaluate(*models, against=float_path, pool=pool)
    assert _measured(shared) == _measured(alone)
    assert shared.against is not None
    assert shared.against.quality is not None


def test_samples_of_a_program_are_sent_to_the_workers(pool: ClusterPool) -> None:
    def samples() -> Iterator[tuple[np.ndarray, int]]:
        for index in range(900):
            yield np.eye(4, dtype=np.float32)[index % 4], (index % 5) % 4

    model = linear(np.eye(4), (1, 4))
    alone, shared = evaluate(model, samples), evaluate(model, samples, pool=pool)
    assert _measured(shared) == _measured(alone)
    assert len(shared.workers) == 2


def test_workers_read_data_at_an_address_themselves(pool: ClusterPool, tmp_path: Path) -> None:
    model, data, _ = _classes(tmp_path)
    alone = evaluate(model, f"file://{data}")
    shared = evaluate(model, f"file://{data}", pool=pool)
    assert _measured(shared) == _measured(alone)
    assert shared.metrics == evaluate(model, data).metrics


def _kill_one_worker(pool: ClusterPool) -> Callable[[int, int | None], None]:
    """Return a progress function that kills a worker's process, once."""
    killed: list[int] = []

    def progress(done: int, _total: int | None) -> None:
        if done and not killed:
            address, number = next(iter(pool.connection.client.run(os.getpid).items()))
            killed.append(number)
            os.kill(number, signal.SIGKILL)
            assert address

    return progress


def test_the_shards_of_a_killed_worker_are_done_by_another(
    pool: ClusterPool, tmp_path: Path
) -> None:
    model, data, _ = _classes(tmp_path)
    alone = evaluate(model, data)
    shared = evaluate(model, data, pool=pool, progress=_kill_one_worker(pool))
    assert _measured(shared) == _measured(alone)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("raise", "RuntimeError: sample 123 is poison"),
        pytest.param("kill", "process died", marks=pytest.mark.slow),
    ],
)
def test_a_sample_that_harms_its_worker_is_isolated(
    pool: ClusterPool, harm: str, reason: str
) -> None:
    model, data = linear(np.eye(4), (1, 4)), Harmful(123, harm)
    result = evaluate(model, data, pool=pool)
    assert (result.num_samples, result.num_failed, result.metrics["top1"]) == (299, 1, 1.0)
    (failed,) = result.failed
    assert failed.startswith("harmful[123]: ")
    assert reason in failed


def test_an_expected_error_stops_the_evaluation_and_names_the_worker(
    pool: ClusterPool, tmp_path: Path
) -> None:
    x = np.zeros((500, 4), np.float32)
    data = _npz(tmp_path / "d.npz", x, np.full(500, 9))
    with pytest.raises(DataError, match="the label 9 is not one") as caught:
        evaluate(linear(np.eye(4), (1, 4)), data, pool=pool)
    assert "worker" in caught.value.where


class _StoppedError(Exception):
    """Stands for Ctrl-C."""


def test_a_stopped_run_continues_on_the_cluster_or_alone(pool: ClusterPool, tmp_path: Path) -> None:
    model, data, _ = _classes(tmp_path)

    def stop(done: int, total: int | None) -> None:
        if total is not None and done > total // 3:
            raise _StoppedError

    alone = evaluate(model, data)
    for index, other in enumerate((pool, None)):
        journal = tmp_path / f"{index}.journal"
        with pytest.raises(_StoppedError):
            evaluate(model, data, pool=pool, journal=journal, progress=stop)
        before = journal.read_bytes()
        again = evaluate(model, data, pool=other, journal=journal, resume=True)
        assert _measured(again) == _measured(alone)
        assert journal.read_bytes().startswith(before)
        assert len(journal.read_bytes()) > len(before)


def test_every_worker_is_measured(pool: ClusterPool, int8_path: Path) -> None:
    options = RunnerOptions(kernels="reference")
    result = benchmark_workers(pool, int8_path, options, num_runs=5)
    assert [each.worker for each in result.workers] == ["0", "1"]
    for each in result.workers:
        assert each.benchmark is not None
        assert (each.benchmark.runs, each.benchmark.kernels) == (5, "reference")
        assert each.benchmark.latency_ms["p50"] > 0


def test_other_calls_are_answered_in_the_order_of_the_items(pool: ClusterPool) -> None:
    numbers = itertools.count()
    found = list(itertools.islice(pool.map(math.factorial, numbers), 30))
    assert found == [(each, math.factorial(each)) for each in range(30)]
    assert next(numbers) < 60  # it has no end, so not all are drawn
    with pytest.raises(ExternalToolError, match="a task of the cluster failed") as caught:
        list(pool.map(math.factorial, [3, -1]))
    assert "ValueError" in caught.value.why


@pytest.mark.slow
def test_a_call_that_kills_its_workers_is_named_and_no_other_is_blamed(pool: ClusterPool) -> None:
    found: list[tuple[int, int]] = []
    with pytest.raises(ExternalToolError, match="the workers die when they work on 5") as caught:
        found.extend(pool.map(deadly_five, range(9)))
    assert "also alone" in caught.value.why
    assert found == [(each, each * each) for each in range(5)]
    again = [(each, each * each) for each in range(9) if each != 5]
    assert list(pool.map(deadly_five, [each for each in range(9) if each != 5])) == again


@pytest.mark.parametrize(
    "address", ["somewhere", "", "local:x", "tcp://", "tcp://host", "tcp://:8786x", "foo://x:1"]
)
def test_what_is_not_an_address_is_an_error(address: str) -> None:
    with pytest.raises(UsageError, match="not the address"):
        cluster(address)


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_does_not_exist_is_an_error(port: int) -> None:
    with pytest.raises(UsageError, match="not the address"):
        cluster(f"tcp://127.0.0.1:{port}")


def test_a_stream_cannot_be_shared(pool: ClusterPool, tmp_path: Path) -> None:
    model, data, _ = _classes(tmp_path)
    with pytest.raises(UsageError, match="--keep-state with --cluster"):
        evaluate(model, data, pool=pool, keep_state=True)
