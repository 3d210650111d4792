# SPDX-License-Identifier: Apache-2.0
"""The worker's side of an evaluation in shards: the models stay open from one to the next."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import numpy as np

from edgekit.data.dataset import Chunk, iter_chunks
from edgekit.errors import EdgeKitError
from edgekit.evaluate.desk import Desk, whoami
from edgekit.evaluate.setup import open_engines, set_up
from edgekit.evaluate.shard import (
    Face,
    Failure,
    Job,
    Models,
    Shard,
    ShardAnswer,
    check_samples,
    samples_of,
)
from edgekit.evaluate.work import Answers
from edgekit.runtime.described import Description
from edgekit.runtime.devices import device_of
from edgekit.runtime.select import file_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.evaluate.engine import Rows

_MOST_DUE = 256  # samples whose outputs are compared, if their number is unknown


class ShardRunner:
    """Loaded models that answer shards, in a worker's process; one thread at a time uses it."""

    def __init__(self, models: Models, index: int = 0) -> None:
        """Load the models; ``index`` counts the runners of a process, each with its own device."""
        how = models.options
        if index:
            is_compiled = file_for(how.device, models.model).is_compiled
            how = replace(how, device=device_of(how.device, index, is_compiled=is_compiled))
        with contextlib.ExitStack() as stack:
            self._engines = open_engines(stack, models.model, models.against, how, keep_state=False)
            self._stack = stack.pop_all()  # until `close`; an error above closes the first model
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
            check_samples(plan.dataset, job.samples, samples_of(evaluation))
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


_DESK: Desk[ShardRunner] = Desk()


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
        with _DESK.lent(models.token, lambda index: ShardRunner(models, index)) as runner:
            return function(runner)
    except EdgeKitError as error:
        return Failure(whoami(), error)
    except Exception as error:  # noqa: BLE001 - one sample must not end the evaluation
        return Failure(whoami(), None, f"{type(error).__name__}: {error}")
