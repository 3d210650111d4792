# SPDX-License-Identifier: Apache-2.0
"""What is sent between an evaluation and the processes that answer shards of its samples.

`edgekit.evaluate.team` sends, `edgekit.evaluate.shard_runner` answers, and a `Pool` carries it: a
cluster, or boards. Answers are the journal entries that an evaluation in one process writes, so
adding them up in the order of the samples has the same result.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Sequence

from edgekit.data.arrays import ArrayDataset
from edgekit.data.dataset import Batch, identity_of, labels_of
from edgekit.errors import DataError, EdgeKitError
from edgekit.evaluate.setup import Evaluation, Settings
from edgekit.protocol import Protocol
from edgekit.runtime.described import Description
from edgekit.runtime.options import RunnerOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.data import Dataset, Preprocess


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
    worker: str = ""  # its process, see `desk.whoami`; a pool replaces it by a name


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


def seen_there(data: Any, *, shares_folder: bool) -> Any:  # noqa: ANN401 - of `open_dataset`
    """Return a path as workers need it: they may have another current folder."""
    is_path = isinstance(data, (str, os.PathLike)) and Path(data).exists()
    return str(Path(data).absolute()) if is_path and not shares_folder else data


def read_there(dataset: Dataset, data: Any) -> Any:  # noqa: ANN401 - of `open_dataset`
    """Return what workers open the data with: a text, or a data set that names files.

    Workers read data that a text or path names, if any sample can be read without those before it.
    None: the samples are read here and sent.
    """
    if not hasattr(dataset, "chunk"):
        return None
    if isinstance(data, (str, os.PathLike)):
        return str(data)
    return None if isinstance(dataset, ArrayDataset) else dataset


def check_samples(
    dataset: Dataset, here: tuple[int | None, int | None], there: tuple[int | None, int | None]
) -> None:
    """Check, in a worker, that it reads the samples of the command.

    Args:
        dataset: As the worker opened it.
        here: How many samples the command has, and their identity, if it is known.
        there: The same of the worker.

    Raises:
        DataError: They differ.
    """
    if there == here:
        return
    raise DataError(
        "a worker finds other samples than the command that started it",
        where=str(dataset.describe().get("source", "")),
        why=f"{there[0]} samples on the worker, {here[0]} on the computer with the command"
        if there[0] != here[0]
        else "names, sizes or labels differ",
        fix="give a path that is the same folder on every machine, or an address such as s3://... "
        "that all of them can read",
    )


def samples_of(evaluation: Evaluation) -> tuple[int | None, int | None]:
    """Return how many samples there are, and their identity, without reading images."""
    dataset, total = evaluation.plan.dataset, evaluation.plan.total
    return total, identity_of(dataset, total)
