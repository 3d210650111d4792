# SPDX-License-Identifier: Apache-2.0
"""Add up the evaluations of several boards, each of a part of the data, to that of the whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError
from edgekit.evaluate.evaluate import evaluate
from edgekit.evaluate.shard import Job, Models, Shard, ShardAnswer
from edgekit.evaluate.shard_runner import ShardRunner
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.runtime import Environment, RunnerOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.evaluate import EvaluateResult
    from edgekit.files import PathLike
    from edgekit.fleet.result import Document
    from edgekit.runtime.described import Description


@dataclass(frozen=True)
class Part:
    """What a board did: its result, and its journal as text."""

    board: str
    evaluate: Document
    journal: str

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The answers in the journal.

        Raises:
            DataError: It is damaged.
        """
        lines = [line for line in self.journal.splitlines() if line.startswith("{")]
        try:
            rows = [json.loads(line) for line in lines]
        except JSON_DAMAGE as error:
            raise DataError(
                f"the journal of {self.board} is damaged: {reason_of(error)}", where=self.board
            ) from error
        return [row for row in rows if "record" in row]

    @property
    def environment(self) -> Environment:
        """What ran the model there."""
        known = {
            name: self.evaluate[name]
            for name in ("device", "runtime", "kernels", "kernels_note", "num_threads", "versions")
        }
        return Environment(**known)


def merged(
    bundle: PathLike, data: PathLike, num_samples: int | None, parts: Sequence[Part]
) -> EvaluateResult:
    """Return the evaluation of the whole: the parts' answers, judged here in their order.

    Raises:
        DataError: A journal is damaged.
        EdgeKitError: As for `evaluate`.
    """
    pool = _Boards(parts)
    try:
        return evaluate(bundle, data, num_samples=num_samples, pool=pool)
    finally:
        pool.close()


class _Boards:
    """A pool of boards whose answers are there already."""

    shares_folder = True

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._here: ShardRunner | None = None
        self.num_slots = len(parts)

    def describe(self, models: Models) -> Sequence[Description]:
        """Load the plain model here, and describe it as the first board runs it."""
        return self._as_on(self._parts[0], models)

    def invoke(
        self, models: Models, index: int, raw: tuple[NDArray[Any], ...]
    ) -> tuple[NDArray[Any], ...]:
        """Run the plain model here: some outputs are recognized by an inference."""
        return self._runner(models).invoke(index, raw)

    def answers(self, models: Models, job: Job, shards: Iterable[Shard]) -> Iterator[ShardAnswer]:
        """Yield the answer of each board, in the order of the samples."""
        del job, shards
        start = 0
        for part in self._parts:
            entries = part.entries
            shard = Shard(start, start + sum(each["count"] for each in entries))
            start = shard.stop
            yield ShardAnswer(
                shard,
                entries,
                busy_s=float(part.evaluate["time_s"]),
                batches=[int(part.evaluate["cpu_batch"])],
                descriptions=self._as_on(part, models),
                worker=part.board,
            )

    def close(self) -> None:
        """Close the model."""
        if self._here is not None:
            self._here.close()

    def _runner(self, models: Models) -> ShardRunner:
        """Return the models, loaded here when they are first used."""
        if self._here is None:
            self._here = ShardRunner(replace(models, options=RunnerOptions()))
        return self._here

    def _as_on(self, part: Part, models: Models) -> Sequence[Description]:
        found = self._runner(models).describe()
        return [replace(each, environment=part.environment) for each in found]
