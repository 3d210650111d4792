# SPDX-License-Identifier: Apache-2.0
"""An evaluation in parts: shards of the samples are answered in other processes.

A worker keeps the models open from one shard to the next. Its answers are the journal entries that
an evaluation in one process writes, so adding them up in the order of the samples has the same
result. A `Pool` reaches the processes; this module does not need a cluster.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Sequence

import numpy as np

from edgekit.data.arrays import ArrayDataset
from edgekit.data.dataset import Batch, Chunk, identity_of, iter_chunks, labels_of
from edgekit.errors import DataError, EdgeKitError
from edgekit.evaluate.result import WorkerRecord
from edgekit.evaluate.setup import Evaluation, Settings, open_engines, set_up
from edgekit.evaluate.work import Adder, Answers, Outcome, watch_again
from edgekit.formats.model_file import read_model_file
from edgekit.runtime.described import Description
from edgekit.runtime.latency import percentiles
from edgekit.runtime.options import RunnerOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Protocol

    from edgekit.data import Dataset, Preprocess
    from edgekit.evaluate.engine import Rows
    from edgekit.evaluate.journal import Journal
    from edgekit.evaluate.watch import OutputWatch
    from edgekit.formats.model_file import ModelSource
    from edgekit.progress import Progress
else:
    Protocol = object  # typing has no Protocol on Python 3.7

_SHARD_S = 1.0  # the time of a shard: far longer than a scheduler needs for it, short when redone
_MOST_SAMPLES = 20_000  # per shard: its records stay small
_LEAST_SHARDS = 4  # per worker, so that all end at about the same time
_MOST_DUE = 256  # samples whose outputs are compared, if their number is unknown


@dataclass(frozen=True)
class Models:
    """The models of an evaluation, in a form that can be sent to another process."""

    token: str  # of the evaluation; workers keep the models of the last one open
    model: bytes
    against: bytes | None
    options: RunnerOptions


@dataclass(frozen=True)
class Job:
    """An evaluation without its models, in a form that can be sent to another process."""

    data: Any  # what `open_dataset` accepts: a text, or the `Face` of data that are sent
    preprocess: str | Preprocess | None
    settings: Settings
    size: int  # samples per chunk
    stride: int  # the outputs for each so many samples are sent back; 0 for none
    samples: tuple[int | None, int | None]  # how many, and their identity, if that is known


@dataclass(frozen=True)
class Shard:
    """Samples ``start`` to ``stop``."""

    start: int
    stop: int
    batch: Batch | None = None  # the samples, if workers cannot read them

    @property
    def count(self) -> int:
        """How many samples, unreadable ones included."""
        return self.stop - self.start

    def pieces(self, number: int) -> list[Shard]:
        """Return the shard in at most ``number`` pieces of about the same size."""
        step = -(-self.count // number)
        return [
            Shard(
                start,
                min(start + step, self.stop),
                None if self.batch is None else _rows(self.batch, start - self.start, step),
            )
            for start in range(self.start, self.stop, step)
        ]


def _rows(batch: Batch, start: int, count: int) -> Batch:
    """Return ``count`` samples of a batch without unreadable ones, which was stacked from them."""
    rows = slice(start, start + count)
    return Batch(
        tuple(each[rows] for each in batch.inputs),
        None if batch.labels is None else batch.labels[rows],
        batch.sources[rows],
        digests=batch.digests[rows],
    )


@dataclass(frozen=True)
class ShardAnswer:
    """What a worker returns for a shard."""

    shard: Shard
    entries: Sequence[dict[str, Any]]  # of a journal
    compared: Sequence[tuple[Sequence[Any], Sequence[Sequence[Any]]]] = ()  # inputs, outputs
    busy_s: float = 0.0
    batches: Sequence[int] = ()  # samples per inference of each model
    descriptions: Sequence[Description] = ()
    worker: str = ""  # see `whoami`; the pool gives it a better name


class Face:
    """What workers need to know of a data set whose samples are sent to them."""

    promised_range = None
    num_samples = None

    def __init__(self, dataset: Dataset) -> None:
        self.class_names = dataset.class_names
        self.label_rows = labels_of(dataset)
        self.unreadable: list[Any] = []
        self._described = dataset.describe()

    def describe(self) -> dict[str, Any]:
        """As of the data set."""
        return self._described

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Pool(Protocol):
    """Processes that answer shards."""

    def describe(self, models: Models) -> Sequence[Description]:
        """Load the models in one of the processes, and return how it describes them."""

    def invoke(
        self, models: Models, index: int, raw: tuple[NDArray[Any], ...]
    ) -> tuple[NDArray[Any], ...]:
        """Run model ``index`` once in one of the processes."""

    def answers(self, models: Models, job: Job, shards: Iterable[Shard]) -> Iterator[ShardAnswer]:
        """Yield the answers to ``shards`` in their order; each is taken when it can be sent.

        A shard may come back in several parts.
        """

    @property
    def num_slots(self) -> int:
        """How many shards are answered at the same time."""

    @property
    def shares_folder(self) -> bool:
        """Whether relative paths mean the same files there as here."""


class ShardRunner:
    """Loaded models that answer shards, in a worker's process; one thread at a time uses it."""

    def __init__(self, models: Models, index: int = 0) -> None:
        """Load the models; ``index`` counts the runners of a process, each with an own device."""
        self.token, self.index = models.token, index
        self._stack = contextlib.ExitStack()
        how = replace(models.options, device=_device(models.options.device, index))
        self._engines = open_engines(
            self._stack, models.model, models.against, how, keep_state=False
        )
        self._job: Job | None = None

    def describe(self) -> tuple[Description, ...]:
        """Return inputs, outputs and environment of each model."""
        return tuple(Description.of(engine.single) for engine in self._engines)

    def invoke(self, index: int, raw: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
        """Run model ``index`` once, without a state."""
        return self._engines[index].single.invoke(*raw)

    def answer(self, job: Job, shard: Shard) -> ShardAnswer:
        """Answer a shard.

        Raises:
            DataError: The data here are not those of the evaluation.
            EdgeKitError: As for `edgekit.evaluate.evaluate`.
        """
        if self._job is None:
            self._begin(job)
        begin = time.perf_counter()
        due = self._due
        due.begin(job.stride)
        entries: list[dict[str, Any]] = []
        for chunk in self._chunks(shard, job.size):
            if self._answers.is_timed:
                entries.append(self._answers.answer(chunk))
            else:
                entries.append(self._answers.timed(chunk, chunk.load()))
                self._answers.end_timing()
        return ShardAnswer(
            replace(shard, batch=None),
            entries,
            due.taken,
            time.perf_counter() - begin,
            [engine.batch for engine in self._engines],
            self.describe(),
        )

    def close(self) -> None:
        """Close the models."""
        self._stack.close()

    def _begin(self, job: Job) -> None:
        evaluation = set_up(
            self._engines, job.data, job.preprocess, job.settings, 1, 0.0, strict=False
        )
        plan = evaluation.plan
        if not isinstance(job.data, Face):
            seen = samples_of(evaluation)
            if seen != job.samples:
                raise DataError(
                    "a worker finds other samples than the command that started it",
                    where=str(plan.dataset.describe().get("source", "")),
                    why=f"{job.samples[0]} samples there, {seen[0]} here"
                    if seen[0] != job.samples[0]
                    else "names, sizes or labels differ",
                    fix="give a path that is the same folder on every machine, or an address such "
                    "as s3://... that all of them can read",
                )
        self._dataset = plan.dataset
        self._due = _Due()
        self._answers = Answers(plan, self._engines, evaluation.chosen.judge, self._due)
        self._job = job

    def _chunks(self, shard: Shard, size: int) -> Iterator[Chunk]:
        batch = shard.batch
        if batch is not None:
            yield Chunk(shard.start, shard.count, lambda: batch)
            return
        start = shard.start
        while start < shard.stop:
            wide = max(size, self._answers.size)
            yield next(iter_chunks(self._dataset, wide, start, shard.stop))
            start += wide


def _device(device: str, index: int) -> str:
    """Return the word for Edge TPU number ``index`` of a worker with several."""
    return f"{device}:{index}" if index and device in ("usb", "pci") else device


def samples_of(evaluation: Evaluation) -> tuple[int | None, int | None]:
    """Return how many samples there are, and their identity, without reading images."""
    dataset, total = evaluation.plan.dataset, evaluation.plan.total
    return total, identity_of(dataset, total)


class _Due:
    """Keeps the outputs of the samples that are compared; a `Watch`."""

    def __init__(self) -> None:
        self._stride = 0
        self.taken: list[tuple[list[Any], list[list[Any]]]] = []

    def begin(self, stride: int) -> None:
        """Take every so many samples; none if it is 0."""
        self._stride, self.taken = stride, []

    def is_due(self, start: int, count: int) -> bool:
        """Whether a sample of a chunk is compared."""
        is_first = self._stride > 1 or start < _MOST_DUE
        return bool(self._stride) and is_first and -start % self._stride < count

    def take(self, start: int, inputs: Rows, outputs: Sequence[Rows]) -> None:
        """Keep what is due of a chunk."""
        if self.is_due(start, len(outputs[0][0])):
            rows = slice(-start % self._stride, None, self._stride)
            kept = [[np.ascontiguousarray(each[rows]) for each in model] for model in outputs]
            self.taken.append(([each[rows] for each in inputs], kept))


class Desk:
    """The runners of a worker's process, open for the next shard of the same evaluation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[ShardRunner] = []
        self._used: set[int] = set()
        self._token = ""

    @contextlib.contextmanager
    def runner(self, models: Models) -> Iterator[ShardRunner]:
        """Lend a runner with the models; it stays open for the next shard.

        Those of an earlier evaluation are closed first: an Edge TPU has one owner.
        """
        with self._lock:
            self._token = models.token
            for other in [each for each in self._free if each.token != models.token]:
                self._close(other)
            runner = self._free.pop() if self._free else None
            if runner is None:
                index = next(i for i in range(len(self._used) + 1) if i not in self._used)
                self._used.add(index)
                try:
                    runner = ShardRunner(models, index)
                except BaseException:
                    self._used.discard(index)
                    raise
        try:
            yield runner
        except BaseException:
            with self._lock:
                self._close(runner)
            raise
        with self._lock:
            self._free.append(runner)
            if runner.token != self._token:
                self._close(runner)

    def _close(self, runner: ShardRunner) -> None:
        if runner in self._free:
            self._free.remove(runner)
        self._used.discard(runner.index)
        runner.close()


@dataclass(frozen=True)
class Failure:
    """What a worker returns if a shard fails there."""

    worker: str
    error: EdgeKitError | None  # an expected one
    text: str = ""  # of any other


def poisoned(shard: Shard, reason: str) -> ShardAnswer:
    """Return the answer to a single sample that workers cannot process."""
    source = "" if shard.batch is None else shard.batch.sources[0]
    entry = {
        "start": shard.start,
        "count": 1,
        "unreadable": [[source, reason]],
        "digests": [],
        "record": None,
    }
    return ShardAnswer(shard, [entry])


_DESK = Desk()


def whoami() -> str:
    """Return the name of this process: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def answer_there(models: Models, job: Job, shard: Shard) -> ShardAnswer | Failure:
    """Answer a shard, in a worker's process."""
    answer: ShardAnswer | Failure = _there(models, lambda runner: runner.answer(job, shard))
    return answer if isinstance(answer, Failure) else replace(answer, worker=whoami())


def describe_there(models: Models) -> Sequence[Description] | Failure:
    """Load the models, in a worker's process."""
    found: Sequence[Description] | Failure = _there(models, ShardRunner.describe)
    return found


def invoke_there(
    models: Models, index: int, raw: tuple[NDArray[Any], ...]
) -> tuple[NDArray[Any], ...] | Failure:
    """Run one of the models once, in a worker's process."""
    outputs: tuple[NDArray[Any], ...] | Failure
    outputs = _there(models, lambda runner: runner.invoke(index, raw))
    return outputs


def _there(models: Models, function: Callable[[ShardRunner], Any]) -> Any:  # noqa: ANN401
    try:
        with _DESK.runner(models) as runner:
            return function(runner)
    except EdgeKitError as error:
        return Failure(whoami(), error)
    except Exception as error:  # noqa: BLE001 - one sample must not end the evaluation
        return Failure(whoami(), None, f"{type(error).__name__}: {error}")


@dataclass
class _Pace:
    """How many samples a shard should have, by the time that earlier ones took."""

    size: int  # samples per chunk
    most: int
    sample_s: float = 0.0

    def count(self) -> int:
        """Return the samples of the next shard: whole chunks."""
        wanted = int(_SHARD_S / self.sample_s) if self.sample_s else self.size
        return max(1, min(wanted, self.most) // self.size) * self.size

    def see(self, answer: ShardAnswer) -> None:
        """Use the time of an answer; the first ones, timed singly, are slower."""
        if answer.busy_s:
            self.sample_s = answer.busy_s / answer.shard.count


class Team:
    """The workers of an evaluation: gives them shards, adds up answers, counts what each did."""

    def __init__(
        self, pool: Pool, model: ModelSource, against: ModelSource | None, how: RunnerOptions
    ) -> None:
        """Load the models in one of the processes."""
        self._pool = pool
        contents = [None if each is None else read_model_file(each) for each in (model, against)]
        given, other = (b"" if each is None else each.given for each in contents)
        self._models = Models(uuid.uuid4().hex, given, other or None, how)
        self.described = [
            (each, functools.partial(pool.invoke, self._models, index))
            for index, each in enumerate(pool.describe(self._models))
        ]
        self.num_slots = pool.num_slots
        self._did: dict[str, _Did] = {}

    def seen_there(self, data: Any) -> Any:  # noqa: ANN401 - anything that open_dataset accepts
        """Return a path as workers need it: they may have another current folder."""
        is_path = isinstance(data, (str, os.PathLike)) and Path(data).exists()
        return str(Path(data).absolute()) if is_path and not self._pool.shares_folder else data

    def run(
        self,
        evaluation: Evaluation,
        data: Any,  # noqa: ANN401 - anything that open_dataset accepts
        preprocess: str | Preprocess | None,
        journal: Journal | None,
        progress: Progress | None,
        watch: OutputWatch | None,
    ) -> Outcome:
        """Do what `run_all` does, on the workers.

        Raises:
            EdgeKitError: As for `run_all`; and as for the pool.
        """
        plan, engines = evaluation.plan, evaluation.engines
        adder = Adder(plan, evaluation.chosen.judge, journal, progress)
        adder.begin()
        with adder.naming_damage():
            done = adder.replay(engines).done
            if watch is not None:
                watch_again(plan, engines, watch, done)
        job = _job_of(evaluation, data, preprocess, watch.stride if watch is not None else 0)
        most = _MOST_SAMPLES
        if plan.total is not None:
            most = min(most, -(-plan.total // (_LEAST_SHARDS * self.num_slots)))
        pace = _Pace(plan.size, max(plan.size, most))
        for answer in self._pool.answers(self._models, job, _shards(evaluation, job, pace, done)):
            pace.see(answer)
            self._did.setdefault(answer.worker, _Did()).add(answer)
            for entry in answer.entries:
                for engine, times_s in zip(engines, entry.get("times_s", ())):
                    engine.times_s += times_s
                adder.add(_with_names(entry, plan.dataset))
            for engine, batch in zip(engines, answer.batches):
                engine.batch = max(engine.batch, batch)
            if watch is not None:
                for inputs, outputs in answer.compared:
                    watch.take(0, inputs, outputs, every=True)
        return adder.outcome

    def records(self) -> tuple[WorkerRecord, ...]:
        """Return what each worker did, in the order of their names."""
        return tuple(did.record(name) for name, did in sorted(self._did.items()) if name)


def _with_names(entry: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return an entry with a name for a sample that killed a worker, which could not name it."""
    if not any(not source for source, _ in entry["unreadable"]):
        return entry
    index, files = entry["start"], getattr(dataset, "files", None)
    name = str(files[index]) if files else f"{dataset.describe().get('source', '')}[{index}]"
    return {**entry, "unreadable": [[source or name, why] for source, why in entry["unreadable"]]}


class _Did:
    """What one worker did."""

    def __init__(self) -> None:
        self._samples = self._shards = 0
        self._busy_s, self._device = 0.0, ""
        self._times_s: list[float] = []

    def add(self, answer: ShardAnswer) -> None:
        """Add an answer."""
        self._samples += answer.shard.count
        self._shards += 1
        self._busy_s += answer.busy_s
        for entry in answer.entries:
            self._times_s += entry.get("times_s", [[]])[0]
        for each in answer.descriptions[:1]:
            self._device = each.environment.device

    def record(self, name: str) -> WorkerRecord:
        """Return it as a part of the result."""
        times_s = self._times_s
        p50_ms = float(percentiles(times_s, (50,))[0]) * 1e3 if times_s else None
        return WorkerRecord(
            name, self._device, self._samples, self._shards, self._busy_s, p50_ms=p50_ms
        )


def _shards(evaluation: Evaluation, job: Job, pace: _Pace, done: int) -> Iterator[Shard]:
    """Yield the samples from ``done`` on."""
    plan = evaluation.plan
    if isinstance(job.data, Face):
        for chunk in iter_chunks(plan.dataset, plan.size, done, plan.limit):
            yield Shard(chunk.start, chunk.start + chunk.count, chunk.load())
        return
    total = plan.total or 0
    while done < total:
        stop = min(total, done + pace.count())
        yield Shard(done, stop)
        done = stop


def _job_of(
    evaluation: Evaluation,
    data: Any,  # noqa: ANN401 - anything that open_dataset accepts
    preprocess: str | Preprocess | None,
    stride: int,
) -> Job:
    """Return ``evaluation`` in a form that can be sent to workers.

    Workers read data that a text or path names, if any sample can be read without those before it.
    Other samples are read here and sent.
    """
    plan, settings = evaluation.plan, evaluation.settings
    labels = None if settings.labels is None else tuple(evaluation.names)
    source: Any = Face(plan.dataset)
    if hasattr(plan.dataset, "chunk"):
        if isinstance(data, (str, os.PathLike)):
            source = str(data)
        elif not isinstance(plan.dataset, ArrayDataset):
            source = plan.dataset  # names of files
    known = (None, None) if isinstance(source, Face) else samples_of(evaluation)
    return Job(source, preprocess, replace(settings, labels=labels), plan.size, stride, known)
