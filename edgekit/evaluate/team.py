# SPDX-License-Identifier: Apache-2.0
"""The evaluation's side of shards: give them to the workers, and add up the answers in order."""

from __future__ import annotations

import functools
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterator

from edgekit.data.dataset import iter_chunks
from edgekit.evaluate.result import WorkerRecord
from edgekit.evaluate.shard import (
    Face,
    Job,
    Models,
    Shard,
    ShardAnswer,
    read_there,
    samples_of,
    seen_there,
)
from edgekit.evaluate.work import Adder, Outcome
from edgekit.formats.model_file import read_model_file
from edgekit.runtime.latency import median

if TYPE_CHECKING:
    from edgekit.data import Dataset, Preprocess
    from edgekit.evaluate.journal import Journal
    from edgekit.evaluate.setup import Evaluation
    from edgekit.evaluate.shard import Pool
    from edgekit.evaluate.watch import OutputWatch
    from edgekit.formats.model_file import ModelSource
    from edgekit.progress import Progress
    from edgekit.runtime.options import RunnerOptions

_SHARD_S = 1.0  # the time of a shard: far longer than a scheduler needs for it, short when redone
_MOST_SAMPLES = 20_000  # per shard: its records stay small
_LEAST_SHARDS = 4  # per worker, so that all end at about the same time


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
        return seen_there(data, shares_folder=self._pool.shares_folder)

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
        done = adder.resume(engines, watch)
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
        p50_ms = median(times_s) * 1e3 if times_s else None
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
    """Return ``evaluation`` in a form that can be sent to workers."""
    plan, settings = evaluation.plan, evaluation.settings
    labels = None if settings.labels is None else tuple(evaluation.names)
    source = read_there(plan.dataset, data)
    known = (None, None) if source is None else samples_of(evaluation)
    given = Face(plan.dataset) if source is None else source
    return Job(given, preprocess, replace(settings, labels=labels), plan.size, stride, known)
