# SPDX-License-Identifier: Apache-2.0
"""How often a classifier is right over a data set, alone and against another model."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Iterator, Mapping, Optional, Sequence

import numpy as np

from edgekit.data import Batch, Dataset, InputSpec, iter_batches, open_dataset, preprocess_or
from edgekit.errors import DataError, UnsupportedModelError, UsageError
from edgekit.evaluate.engine import Engine
from edgekit.evaluate.tally import Head, Tally
from edgekit.result import Result
from edgekit.runtime import Thermal, latency_stats
from edgekit.runtime.select import suited_device

if TYPE_CHECKING:
    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.runtime import Runner

Progress = Callable[[int, Optional[int]], None]
# Samples that run one by one first: enough for percentiles, not much of a large set's time.
_TIMED_SAMPLES = 100
_TIMED_S = 0.5
_CHUNK_BYTES = 4 << 20
_LARGEST_CHUNK = 128
_LISTED = 5


@dataclass(frozen=True)
class Comparison(Result):
    """The other model on the same samples; differences are this model's value less its."""

    model: str
    sha256: str
    metrics: Mapping[str, float]
    metrics_ci95: Mapping[str, tuple[float, float]]
    agreement: float  # share of samples with the same answer
    difference: Mapping[str, float]
    difference_ci95: Mapping[str, tuple[float, float]]  # paired


@dataclass(frozen=True)
class EvaluateResult(Result):
    """A model's accuracy and latency over a data set."""

    schema: ClassVar[str] = "edgekit.evaluate/1"
    model: str
    sha256: str
    task: str
    data: Mapping[str, Any]
    num_samples: int
    num_failed: int  # samples that could not be read
    failed: tuple[str, ...]  # the first of them, with the reason
    metrics: Mapping[str, float]  # top1, top5 as shares; empty without labels
    metrics_ci95: Mapping[str, tuple[float, float]]
    num_classes: int
    confusion: tuple[tuple[int, int, int], ...]  # (true class, answer, count) where count > 0
    against: Comparison | None
    latency_ms: Mapping[str, float]  # of one inference at a time, preprocessing apart
    latency_samples: int
    device: str
    runtime: str
    kernels: str
    kernels_note: str
    num_threads: int
    num_workers: int
    cpu_batch: int  # samples an inference once latencies were measured; outputs proved equal
    versions: Mapping[str, str]
    time_s: float
    warnings: tuple[str, ...]
    thermal: Thermal | None = None  # temperatures, and whether the clock was likely lowered


def evaluate(
    model: bytes | PathLike,
    data: Any,  # noqa: ANN401 - whatever open_dataset takes
    *,
    against: bytes | PathLike | None = None,
    preprocess: str | Preprocess | None = None,
    split: str = "test",
    num_samples: int | None = None,
    label_offset: int = 0,
    device: str = "cpu",
    runtime: str | None = None,
    kernels: str = "fast",
    num_threads: int = 1,
    num_workers: int | None = None,
    fallback: bool = False,
    recover: bool = False,
    progress: Progress | None = None,
) -> EvaluateResult:
    """Evaluate a classifier (one output, one score a class) over ``data``.

    The first samples run one at a time and give the latencies; the others run on ``num_workers``
    interpreters, and small networks on a copy with a larger batch whose outputs were found equal.

    Args:
        model: Path or content of a .tflite file or a bundle.
        data: Samples with labels: whatever `open_dataset` takes. With ``against`` labels may be
            missing; only the agreement is measured then.
        against: Another model whose inputs have the same shapes, often the float one.
        preprocess: How pixels become the network's input; None takes what the model's file says.
        split: ``test`` or ``train``, of a file that holds both.
        num_samples: The first so many; None takes all.
        label_offset: Added to each label: 1 where the model has a background class before those
            of the data.
        device: See `Runner`; one of the two models that is not compiled runs on the CPU.
        runtime: See `Runner`.
        kernels: See `Runner`.
        num_threads: Threads of one inference.
        num_workers: Interpreters side by side; None takes one for each core. An Edge TPU has one.
        fallback: See `Runner`.
        recover: See `Runner`.
        progress: Called with (samples done, samples in all).

    Raises:
        DataError: There is no sample, no label, or a label that is none of the model's classes.
        UnsupportedModelError: The model is no classifier, or ``against`` has other inputs.
        UsageError: A number is out of range.
        EdgeKitError: As for `Runner`.
    """
    for option, number in (("--num-samples", num_samples), ("--num-workers", num_workers)):
        if number is not None and number < 1:
            raise UsageError(f"{option} is {number}", fix="give a number above zero")
    start = time.monotonic()
    options: dict[str, Any] = {
        "runtime": runtime,
        "kernels": kernels,
        "num_threads": num_threads,
        "fallback": fallback,
        "recover": recover,
    }
    with contextlib.ExitStack() as stack:
        engines = [stack.enter_context(Engine(model, device, **options))]
        if against is not None:
            where = suited_device(against, device)
            engines.append(stack.enter_context(Engine(against, where, **options)))
        _check_same_inputs(engines)
        first = engines[0].single
        specs = [InputSpec(each.name, (1, *each.shape[1:])) for each in first.inputs]
        how = preprocess_or(preprocess, first.notes.preprocess if preprocess is None else "")
        dataset = open_dataset(data, inputs=specs, preprocess=how, split=split)
        tally = Tally([Head(engine.single) for engine in engines], label_offset)
        workers = num_workers or max(1, _num_cores() // num_threads)
        if first.environment.is_edge_tpu:
            workers = 1
        _run(engines, dataset, num_samples, workers, tally, progress)
        _check_tally(tally, dataset)
        unreadable, environment = dataset.unreadable, first.environment
        return EvaluateResult(
            model=first.source,
            sha256=first.sha256,
            task="classification",
            data=dataset.describe(),
            num_samples=tally.count,
            num_failed=len(unreadable),
            failed=tuple(f"{each.source}: {each.reason}" for each in unreadable[:_LISTED]),
            metrics=tally.metrics(0),
            metrics_ci95=tally.metrics_ci95(0),
            num_classes=tally.num_classes,
            confusion=tuple((*key, count) for key, count in sorted(tally.confusion.items())),
            against=_comparison(engines[1].single, tally) if against is not None else None,
            latency_ms=latency_stats(engines[0].times_s),
            latency_samples=len(engines[0].times_s),
            device=environment.device,
            runtime=environment.runtime,
            kernels=environment.kernels,
            kernels_note=environment.kernels_note,
            num_threads=num_threads,
            num_workers=workers,
            cpu_batch=engines[0].batch,
            versions=environment.versions,
            time_s=time.monotonic() - start,
            warnings=tuple(_warnings(first, dataset)),
            thermal=environment.thermal,
        )


def _run(
    engines: Sequence[Engine],
    dataset: Dataset,
    limit: int | None,
    workers: int,
    tally: Tally,
    progress: Progress | None,
) -> None:
    """Send every sample through every engine and add the answers up in the samples' order."""
    sample_bytes = sum(4 * int(np.prod(each.shape[1:])) for each in engines[0].single.inputs)
    size = min(_LARGEST_CHUNK, max(engines[0].batch, _CHUNK_BYTES // max(1, sample_bytes), 1))
    known = dataset.num_samples
    total = limit if known is None else min(known, limit or known)
    pending: deque[tuple[Batch, Future[list[Any]]]] = deque()

    def add(batch: Batch, outputs: list[Any]) -> None:
        tally.add(outputs, batch.labels, batch.sources[0])
        if progress is not None:
            progress(tally.count, total)

    def answer(batch: Batch) -> list[Any]:
        return [engine.run(batch.inputs) for engine in engines]

    start, timed = time.monotonic(), True
    with ThreadPoolExecutor(workers) as pool:
        for batch in _limited(iter_batches(dataset, size), limit):
            if timed:
                add(batch, [engine.run_timed(batch.inputs) for engine in engines])
                timed = tally.count < _TIMED_SAMPLES and time.monotonic() - start < _TIMED_S
                if not timed:
                    for engine in engines:
                        engine.specialize(workers, size)
                continue
            pending.append((batch, pool.submit(answer, batch)))
            if len(pending) > 2 * workers:
                done, future = pending.popleft()
                add(done, future.result())
        for done, future in pending:
            add(done, future.result())


def _limited(batches: Iterator[Batch], limit: int | None) -> Iterator[Batch]:
    left = limit
    for batch in batches:
        count = len(batch.sources)
        if left is None or count < left:
            yield batch
            left = None if left is None else left - count
            continue
        inputs = tuple(array[:left] for array in batch.inputs)
        labels = None if batch.labels is None else batch.labels[:left]
        yield Batch(inputs, labels, batch.sources[:left])
        return


def _comparison(other: Runner, tally: Tally) -> Comparison:
    return Comparison(
        model=other.source,
        sha256=other.sha256,
        metrics=tally.metrics(1),
        metrics_ci95=tally.metrics_ci95(1),
        agreement=tally.agreement,
        difference=tally.difference(),
        difference_ci95=tally.difference_ci95(),
    )


def _check_same_inputs(engines: Sequence[Engine]) -> None:
    shapes = [[info.shape[1:] for info in engine.single.inputs] for engine in engines]
    if shapes[0] != shapes[-1]:
        raise UnsupportedModelError(
            f"the two models have different inputs: {shapes[0]} and {shapes[-1]}",
            where=engines[-1].single.source,
            fix="--against takes the same network before or after conversion",
        )


def _check_tally(tally: Tally, dataset: Dataset) -> None:
    where = str(dataset.describe().get("source", ""))
    if not tally.count:
        bad = dataset.unreadable
        raise DataError(
            f"none of {len(bad)} samples can be read" if bad else "there is no sample",
            where=where,
            why=f"{bad[0].source}: {bad[0].reason}" if bad else "",
            fix="give data with --data",
        )
    if tally.lacks_labels:
        raise DataError(
            f"{tally.count - tally.num_labelled} of {tally.count} samples have no label",
            where=where,
            fix="sort images into sub-folders by class, or save labels as y in the .npz; without "
            "any label give --against, for the agreement of two models",
        )


def _warnings(runner: Runner, dataset: Dataset) -> Iterator[str]:
    """What makes a result doubtful: values that the model's inputs were not made for."""
    promised = dataset.promised_range
    for info in runner.inputs:
        if promised is None or info.params is None:
            continue
        low, high = info.params.real_min, info.params.real_max
        width = high - low
        if promised[1] > high + 0.5 * width or promised[0] < low - 0.5 * width:
            problem = "most of it saturates"
        elif promised[1] - promised[0] < 0.6 * width:
            problem = "much of it is never used"
        else:
            continue
        yield (
            f"the input {info.name} stands for {low:g} to {high:g}, the preprocessing gives "
            f"{promised[0]:g} to {promised[1]:g}: {problem}; check --preprocess"
        )


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
