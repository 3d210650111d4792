# SPDX-License-Identifier: Apache-2.0
"""The schedule of an evaluation: read, preprocess and run in parallel, add up in order.

Each worker reads its own samples, so that decoding and inference use all cores, without a queue
between them.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from edgekit.data import Chunk, Dataset, Unreadable, iter_chunks
from edgekit.errors import DataError
from edgekit.evaluate.finite import bad_rows
from edgekit.progress import Progress
from edgekit.protocol import Protocol
from edgekit.runtime.latency import median

if TYPE_CHECKING:
    from edgekit.data import Batch
    from edgekit.evaluate.engine import Engine, Rows
    from edgekit.evaluate.journal import Journal
    from edgekit.evaluate.judge import Judge
    from edgekit.evaluate.watch import OutputWatch

# Samples that run one by one first: enough for percentiles, little time for a large data set.
_TIMED_SAMPLES = 100
_TIMED_S = 0.15
_CHUNK_BYTES = 1 << 20  # of real inputs: fits into a core's cache
_LARGEST_CHUNK = 128
# A chunk ends with a call of the main thread, which interrupts a worker. For a fast network, chunks
# are longer, up to this time and size.
_CHUNK_S = 10e-3
_MOST_CHUNKS_IN_ONE = 4
# Chunks per worker in the queue: the worker itself reads the samples, so a waiting chunk costs
# nothing, and a slow worker does not delay the others.
_AHEAD = 16
_NAMED = 5  # samples answered with NaN that are listed
_AHEAD_DRAWN = 2  # of samples that a Python iterable has yielded already


@dataclass
class Outcome:
    """The result of a run besides the judge's numbers."""

    unreadable: list[Unreadable] = field(default_factory=list)
    _nan: dict[int, list[str]] = field(default_factory=dict)  # model -> samples
    _fingerprint: Any = field(default_factory=sha256)

    def begin(self, digest: int) -> None:
        """Add the digest of all samples, if the data set has one."""
        self._fingerprint.update(np.asarray([digest], "<u4").tobytes())

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add a journal entry."""
        self.unreadable += [Unreadable(*pair) for pair in entry["unreadable"]]
        self._fingerprint.update(np.asarray(entry["digests"], "<u4").tobytes())
        for index, sources in enumerate(entry.get("nan", ())):
            self._nan.setdefault(index, []).extend(sources)

    def num_nan(self, index: int) -> int:
        """Return how many samples model ``index`` answered with NaN or infinity."""
        return len(self._nan.get(index, ()))

    def nan_samples(self, index: int) -> list[str]:
        """Return the first samples that model ``index`` answered with NaN or infinity."""
        return self._nan.get(index, [])[:_NAMED]

    @property
    def fingerprint(self) -> str:
        """The hash of all samples as they were stored, and of their order."""
        return str(self._fingerprint.hexdigest()[:32])


@dataclass(frozen=True)
class Plan:
    """The settings of an evaluation."""

    dataset: Dataset
    limit: int | None
    workers: int
    strict: bool
    size: int  # samples per chunk
    counted: Sequence[Any] = ()  # of each engine's decoder, see `Decoder.counted`

    @property
    def total(self) -> int | None:
        """How many samples there will be, unreadable ones included; None if unknown."""
        known = self.dataset.num_samples
        return self.limit if known is None else min(known, self.limit or known)


def chunk_size(engines: Sequence[Engine]) -> int:
    """Return the samples per chunk: about 1 MB of inputs, at least a batch of the model."""
    inputs = engines[0].single.inputs
    sample_bytes = sum(4 * int(np.prod(each.shape[1:])) for each in inputs)
    return min(_LARGEST_CHUNK, max(engines[0].batch, _CHUNK_BYTES // max(1, sample_bytes), 1))


def run_all(
    plan: Plan,
    engines: Sequence[Engine],
    judge: Judge,
    journal: Journal | None,
    progress: Progress | None,
    watch: OutputWatch | None = None,
) -> Outcome:
    """Run every sample on every engine and add up the answers in the samples' order.

    ``watch`` gets some samples' outputs; for samples in the journal they are computed again.

    Raises:
        DataError: A sample cannot be read, and ``plan.strict``.
    """
    answers = Answers(plan, engines, judge, watch)
    adder = Adder(plan, judge, journal, progress)
    done = adder.resume(engines, watch, answers.specialize_again)
    pending: deque[Future[dict[str, Any]]] = deque()
    ahead = plan.workers * (_AHEAD if hasattr(plan.dataset, "chunk") else _AHEAD_DRAWN)
    with ThreadPoolExecutor(plan.workers) as pool:
        try:
            chunks = answers.chunks(done)
            while not answers.is_timed:
                # Read by all workers, then timed while none of them works.
                first = list(islice(chunks, plan.workers))
                if not first:
                    break
                for chunk, batch in zip(first, list(pool.map(lambda each: each.load(), first))):
                    if answers.is_timed:
                        pending.append(pool.submit(answers.answer, chunk, batch))
                    else:
                        adder.add(answers.timed(chunk, batch))
                        if answers.end_timing():
                            adder.note({"cpu_batches": [engine.batch for engine in engines]})
            for chunk in chunks:
                pending.append(pool.submit(answers.answer, chunk))
                while pending and (pending[0].done() or len(pending) > ahead):
                    adder.add(pending.popleft().result())
            while pending:
                adder.add(pending.popleft().result())
        finally:
            for future in pending:
                future.cancel()
    return adder.outcome


class Watch(Protocol):
    """Takes the outputs of chunks, to compare two models; thread-safe."""

    def take(self, start: int, inputs: Rows, outputs: Sequence[Rows]) -> None:
        """Take what is due of a chunk whose first sample has the number ``start``."""


class Answers:
    """Answers chunks with the engines, each as a journal entry; the first ones are timed."""

    def __init__(
        self, plan: Plan, engines: Sequence[Engine], judge: Judge, watch: Watch | None
    ) -> None:
        self._plan, self._engines, self._judge, self._watch = plan, engines, judge, watch
        self._begin = time.monotonic()
        self.size = plan.size  # samples per chunk
        self.is_timed = False  # whether the latencies are measured

    def chunks(self, start: int) -> Iterator[Chunk]:
        """Yield the samples from ``start`` on; chunks may be longer once latencies are measured."""
        plan = self._plan
        for chunk in iter_chunks(plan.dataset, plan.size, start, plan.limit):
            yield chunk
            if self.size > plan.size and hasattr(plan.dataset, "chunk"):
                rest = chunk.start + chunk.count
                yield from iter_chunks(plan.dataset, self.size, rest, plan.limit)
                return

    def timed(self, chunk: Chunk, batch: Batch) -> dict[str, Any]:
        """Answer a chunk one sample at a time, while no other thread works."""
        before = [len(engine.times_s) for engine in self._engines]
        with _naming_nan(batch):
            outputs = [engine.run_timed(batch.inputs) for engine in self._engines]
        entry = self._entry(chunk, batch, outputs)
        entry["times_s"] = [e.times_s[n:] for e, n in zip(self._engines, before)]
        return entry

    def answer(self, chunk: Chunk, read: Batch | None = None) -> dict[str, Any]:
        """Answer a chunk, read first if it is not; called from several threads."""
        batch = chunk.load() if read is None else read
        with _naming_nan(batch):
            outputs = [engine.run(batch.inputs) for engine in self._engines]
        return self._entry(chunk, batch, outputs)

    def _entry(self, chunk: Chunk, batch: Batch, outputs: Sequence[Any]) -> dict[str, Any]:
        if self._watch is not None and batch.sources:
            self._watch.take(chunk.start, batch.inputs, outputs)
        counted = self._plan.counted or [None] * len(outputs)
        bad = [bad_rows(*pair) for pair in zip(outputs, counted)]
        entry = {
            "start": chunk.start,
            "count": chunk.count,
            "unreadable": [[each.source, each.reason] for each in batch.unreadable],
            "digests": list(batch.digests),
            "record": self._judge.record(outputs, batch, bad) if batch.sources else None,
        }
        if any(rows.any() for rows in bad):
            entry["nan"] = [[batch.sources[i] for i in np.flatnonzero(rows)] for rows in bad]
        return entry

    def end_timing(self) -> bool:
        """Prepare the engines for all threads if there are enough latencies; return whether."""
        times_s = self._engines[0].times_s
        has_time = time.monotonic() - self._begin < _TIMED_S
        if not times_s or (len(times_s) < _TIMED_SAMPLES and has_time):
            return False
        inference_s = sum(median(each.times_s) for each in self._engines)
        wanted = min(_LARGEST_CHUNK, _MOST_CHUNKS_IN_ONE * self.size, int(_CHUNK_S / inference_s))
        self.size = max(self.size, wanted)
        total = self._plan.total
        left = None if total is None else total - len(times_s) * self._engines[0].batch
        for engine in self._engines:
            engine.specialize(self._plan.workers, self.size, left)
        self.is_timed = True
        return True

    def specialize_again(self, batches: Sequence[int]) -> None:
        """Use the larger batches of the previous run, if outputs are equal on the first samples."""
        first = next(iter_chunks(self._plan.dataset, self._plan.size, 0, self._plan.limit), None)
        if first is None:
            return
        inputs = first.load().inputs
        for engine, batch in zip(self._engines, batches):
            engine.run_untimed(inputs)
            engine.specialize(self._plan.workers, batch, exactly=True)
        self.is_timed = True


class Adder:
    """Adds up journal entries in the order of the samples, and writes new ones to the journal."""

    def __init__(
        self, plan: Plan, judge: Judge, journal: Journal | None, progress: Progress | None
    ) -> None:
        self._plan, self._judge, self._journal, self._progress = plan, judge, journal, progress
        self.outcome = Outcome()
        self.done = 0  # samples

    def resume(
        self,
        engines: Sequence[Engine],
        watch: OutputWatch | None,
        specialize: Callable[[Sequence[int]], None] = lambda _batches: None,
    ) -> int:
        """Add up the journal's entries, and return how many samples they answer.

        Args:
            engines: Get the latencies in the entries.
            watch: Gets some of their outputs, which are computed again.
            specialize: Called with the batches of the engines in the previous run.

        Raises:
            DataError: The entries were not written by an evaluation.
        """
        if hasattr(self._plan.dataset, "digest"):
            self.outcome.begin(self._plan.dataset.digest(self._plan.total or 0))
        with self._naming_damage():
            batches = self._replay(engines)
            if batches is not None:
                specialize(batches)
            if watch is not None:
                _watch_again(self._plan, engines, watch, self.done)
        return self.done

    @contextlib.contextmanager
    def _naming_damage(self) -> Iterator[None]:
        """Raise DataError for an error that only a damaged journal can cause."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            if self._journal is None or not self._journal.entries:
                raise
            reason = f"{type(error).__name__}: {error}"
            raise self._journal.damaged(
                f"its entries were not written by an evaluation: {reason}"
            ) from error

    def _replay(self, engines: Sequence[Engine]) -> Sequence[int] | None:
        """Add up the journal's entries; return the batches of the engines in that run."""
        batches: Sequence[int] | None = None
        for entry in self._journal.entries if self._journal is not None else ():
            if "cpu_batches" in entry:
                batches = entry["cpu_batches"]
                continue
            for engine, times_s in zip(engines, entry.get("times_s", ())):
                engine.times_s += times_s
            self._count(entry)
        return batches

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry to the journal, then add it up."""
        if self._plan.strict and entry["unreadable"]:
            source, reason = entry["unreadable"][0]
            raise DataError(
                f"a sample cannot be read: {reason}",
                where=source,
                why="--strict stops at the first one",
                fix="repair or remove it, or leave out --strict to list it",
            )
        self.note(entry)
        self._count(entry)

    def note(self, entry: Mapping[str, Any]) -> None:
        """Write an entry to the journal only."""
        if self._journal is not None:
            self._journal.write(entry)

    def _count(self, entry: Mapping[str, Any]) -> None:
        self.outcome.add(entry)
        if entry["record"] is not None:
            self._judge.add(entry["record"])
        self.done += entry["count"]
        if self._progress is not None:
            self._progress(self.done, self._plan.total)


def _watch_again(plan: Plan, engines: Sequence[Engine], watch: OutputWatch, done: int) -> None:
    """Compare the outputs for the first ``done`` samples, whose answers are in a journal."""
    for chunk in iter_chunks(plan.dataset, plan.size, 0, plan.limit) if done else ():
        if chunk.start >= done:
            return
        if watch.is_due(chunk.start, chunk.count):
            inputs = chunk.load().inputs
            rows = watch.due(chunk.start, inputs)
            watch.take(0, rows, [engine.answer(rows) for engine in engines], every=True)


@contextlib.contextmanager
def _naming_nan(batch: Batch) -> Iterator[None]:
    """Name the sample if a model cannot accept a batch because a value is NaN."""
    try:
        yield
    except DataError as error:
        for row, source in enumerate(batch.sources):
            if any(np.isnan(np.asarray(values)[row]).any() for values in batch.inputs):
                raise DataError(
                    "a sample contains NaN, expected numbers",
                    where=f"{source}, {error.where}",
                    why="an integer cannot store NaN",
                    fix="leave the sample out, or replace NaN with a number",
                ) from error
        raise
