# SPDX-License-Identifier: Apache-2.0
"""Add up the evaluations of several boards, each of a part of the data, to that of the whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgekit.errors import DataError
from edgekit.evaluate.evaluate import evaluate
from edgekit.evaluate.journal import parse_line
from edgekit.evaluate.shard import Job, Models, Shard, ShardAnswer
from edgekit.evaluate.shard_runner import ShardRunner
from edgekit.runtime import Environment, RunnerOptions
from edgekit.version import __version__

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
            DataError: It is damaged, or samples are missing.
        """
        where = f"the journal of {self.board}"
        rows, crc = [], 0
        # A shell can print a greeting before the file.
        lines = [line for line in self.journal.splitlines() if line.startswith("{")]
        for number, line in enumerate(lines, 1):
            row, crc = parse_line(f"{line}\n".encode(), number, crc, where)
            rows.append(row)
        answers = [row for row in rows if "record" in row]
        with _naming_damage(self.board):
            count = sum(each["count"] for each in answers)
            expected = self.evaluate["num_samples"] + self.evaluate["num_failed"]
        if count != expected:
            raise DataError(
                f"{self.board} evaluated {expected} samples, and its journal has {count}",
                where=where,
                fix="deploy again",
            )
        return answers

    @property
    def environment(self) -> Environment:
        """What ran the model there."""
        names = ("device", "runtime", "kernels", "kernels_note", "num_threads", "versions")
        with _naming_damage(self.board):
            return Environment(**{name: self.evaluate[name] for name in names})


def merged(
    bundle: PathLike, data: PathLike, num_samples: int | None, parts: Sequence[Part]
) -> EvaluateResult:
    """Return the evaluation of the whole: the parts' answers, judged here in their order.

    Raises:
        DataError: A journal is damaged.
        EdgeKitError: As for `evaluate`.
    """
    boards = ", ".join(each.board for each in parts)
    with contextlib.closing(_Boards(parts)) as pool, _naming_damage(boards):
        return evaluate(bundle, data, num_samples=num_samples, pool=pool)


@contextlib.contextmanager
def _naming_damage(boards: str) -> Iterator[None]:
    """Raise DataError for an error that only answers of another edgekit can cause."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
            "the answers cannot be added up",
            where=boards,
            why=f"they are not those of this edgekit: {type(error).__name__}: {error}",
            fix=f"install edgekit {__version__} on the boards (--install), and deploy again",
        ) from error


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
