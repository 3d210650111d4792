# SPDX-License-Identifier: Apache-2.0
"""The latency of a model: the time of the interpreter's invoke only."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence

import numpy as np

from edgekit.data import preprocess_for
from edgekit.errors import UsageError
from edgekit.result import Result
from edgekit.runtime import (
    Environment,
    MeasuredResult,
    Runner,
    RunnerOptions,
    TensorInfo,
    judge_drift,
    latency_stats,
)
from edgekit.runtime.pipeline import PipelineBackend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.model_file import ModelSource


_SEED = 1
MAX_TIMES = 1000


@dataclass(frozen=True)
class SegmentTimes(Result):
    """One segment of a pipeline that was full of inferences."""

    device: str
    mean_ms: float  # of its inferences
    busy: float  # the share of the time in which it worked


@dataclass(frozen=True)
class PipelineTimes(Result):
    """A pipeline of segments, each in a thread of its own, full of inferences."""

    throughput_hz: float  # measured, from the first input to the last output
    runs: int
    segments: tuple[SegmentTimes, ...]


@dataclass(frozen=True)
class BenchmarkResult(MeasuredResult):
    """Wall-clock times of one model on one device; copies to and from the tensors excluded."""

    schema: ClassVar[str] = "edgekit.benchmark/2"
    model: str
    sha256: str
    load_ms: float  # construct the interpreter, allocate tensors
    first_ms: float  # the first inference, inputs and outputs copied
    latency_ms: Mapping[str, float]  # min, mean, p50, p90, p99, std of the steady state
    runs: int
    warmup_runs: int
    throughput_hz: float  # 1 / mean
    environment: Environment
    times_ms: tuple[float, ...]  # of single inferences, in order; at most 1000, evenly spread
    pipeline: PipelineTimes | None = None  # of a list of segments; latencies are one by one
    preprocess: str = ""  # how evaluate and run preprocess images for it; "" for other inputs


def benchmark(  # noqa: PLR0913 - public: its options are keywords
    model: ModelSource | Sequence[ModelSource],
    *,
    device: str = "cpu",
    runtime: str | None = None,
    kernels: str = "fast",
    num_threads: int = 1,
    num_runs: int = 50,
    warmup_runs: int = 5,
    fallback: bool = False,
    recover: bool = False,
    timeout_s: float | None = None,
    unproven: bool = False,
    options: RunnerOptions | None = None,
) -> BenchmarkResult:
    """Measure loading, the first inference and the steady state of ``model``.

    The inputs are random over the whole range of their type (seed 1); other values do not make
    TensorFlow Lite's kernels slower.

    Args:
        model: Path or content of a .tflite file or a bundle; or a list of segments, see `Runner`,
            whose throughput as a pipeline is measured too.
        device: See `Runner`.
        runtime: See `Runner`.
        kernels: See `Runner`.
        num_threads: The number of threads of one inference.
        num_runs: How many inferences are timed, one by one.
        warmup_runs: How many inferences run before, not timed; the first inference is not counted.
        fallback: See `Runner`.
        recover: See `Runner`; the time to open the device again is not counted.
        timeout_s: See `Runner`.
        unproven: See `Runner`.
        options: ``device`` to ``timeout_s`` as one value, instead of these keywords.

    Raises:
        UsageError: ``num_runs`` is below 1 or ``warmup_runs`` below 0.
        EdgeKitError: As for `Runner`.
    """
    for option, number, least in (
        ("--num-runs", num_runs, 1),
        ("--warmup-runs", warmup_runs, 0),
    ):
        if number < least:
            raise UsageError(f"{option} is {number}, expected at least {least}")
    how = RunnerOptions.given(
        options,
        device=device,
        runtime=runtime,
        kernels=kernels,
        num_threads=num_threads,
        fallback=fallback,
        recover=recover,
        timeout_s=timeout_s,
        unproven=unproven,
    )
    with Runner(model, options=how) as runner:
        random = np.random.default_rng(_SEED)
        raw = [_random_input(info, random) for info in runner.inputs]
        start = time.perf_counter()
        runner.invoke(*raw)
        first_s = time.perf_counter() - start
        times_s = _time_runs(runner, num_runs, warmup_runs)
        pipeline = _time_pipeline(runner, raw, num_runs)
        environment = runner.environment
        stats = latency_stats(times_s)
        return BenchmarkResult(
            model=runner.source,
            sha256=runner.sha256,
            load_ms=runner.load_ms,
            first_ms=first_s * 1e3,
            latency_ms=stats,
            runs=num_runs,
            warmup_runs=warmup_runs,
            throughput_hz=1e3 / stats["mean"],
            environment=replace(environment, thermal=judge_drift(environment.thermal, times_s)),
            times_ms=_kept_ms(times_s),
            pipeline=pipeline,
            preprocess=_preprocess(runner),
        )


def _preprocess(runner: Runner) -> str:
    """The preprocessing that evaluate and run would use; the benchmark's inputs are random."""
    shape = runner.inputs[0].shape if runner.inputs else ()
    if len(shape) != 4 or shape[3] not in (1, 3):
        return ""
    first = runner.inputs[0]
    return str(preprocess_for(None, runner.notes.preprocess, first.real_range, first.dtype))


def _time_runs(runner: Runner, num_runs: int, warmup_runs: int) -> list[float]:
    clock, reinvoke = time.perf_counter, runner.reinvoke
    for _ in range(warmup_runs):
        reinvoke()
    times_s = []
    for _ in range(num_runs):
        spent_s = runner.recovery_s
        start = clock()
        reinvoke()
        times_s.append(clock() - start - (runner.recovery_s - spent_s))
    return times_s


def _time_pipeline(
    runner: Runner, raw: Sequence[NDArray[Any]], num_runs: int
) -> PipelineTimes | None:
    """Run ``num_runs`` inferences through a list of segments, as many at a time as there are."""
    backend = runner.backend
    if not isinstance(backend, PipelineBackend):
        return None
    busy_s: list[float] = []
    start = time.perf_counter()
    for _ in backend.stream((tuple(raw) for _ in range(num_runs)), busy_s):
        pass
    spent_s = time.perf_counter() - start
    pairs = zip(backend.segments, busy_s)
    return PipelineTimes(
        num_runs / spent_s,
        num_runs,
        tuple(
            SegmentTimes(each.environment.device, s * 1e3 / num_runs, s / spent_s)
            for each, s in pairs
        ),
    )


def _kept_ms(times_s: Sequence[float]) -> tuple[float, ...]:
    """Return the times to the nanosecond; at most `MAX_TIMES` of them, evenly spread."""
    last = len(times_s) - 1
    kept = min(len(times_s), MAX_TIMES)
    places = [i * last // max(1, kept - 1) for i in range(kept)]
    return tuple(round(times_s[place] * 1e3, 6) for place in places)


def _random_input(info: TensorInfo, random: np.random.Generator) -> NDArray[Any]:
    dtype = np.dtype(info.dtype)
    if dtype.kind == "f":
        return random.random(info.shape).astype(dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, info.shape).astype(dtype)
    # Wide integers are indices or counts: 0 and 1 are nearly always valid.
    low, high = (0, 2) if dtype.itemsize > 2 else (np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
    return random.integers(low, high, info.shape).astype(dtype)
