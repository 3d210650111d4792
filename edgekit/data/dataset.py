# SPDX-License-Identifier: Apache-2.0
"""The protocol of a data set: samples that can be read several times."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data.label_kinds import all_labels, stack_labels
from edgekit.data.placement import Placement
from edgekit.protocol import Protocol

_PEEKED = 64  # samples whose labels are used to find the kind


@dataclass(frozen=True)
class InputSpec:
    """One input of a network: ``shape`` with the batch dimension, NHWC for images."""

    name: str
    shape: tuple[int, ...]
    channels_first: bool = False  # samples may be arrays in NCHW, which are turned


@dataclass(frozen=True)
class Sample:
    """One example, preprocessed: real values, one array per input, without the batch dimension."""

    inputs: tuple[NDArray[Any], ...]
    label: Any = None  # a number or an array of numbers, see `edgekit.data.label_kinds`
    source: str = ""  # a file, or an index into one


@dataclass(frozen=True)
class Unreadable:
    """A sample that could not be read, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Several samples: each input with the number of samples as its first dimension.

    An input is an array of real values, or `Pixels`, which numpy converts to such an array.
    """

    inputs: tuple[Any, ...]
    labels: list[Any] | None  # one per sample, see `Sample`
    sources: list[str]
    unreadable: tuple[Unreadable, ...] = ()  # unreadable samples among these
    placements: tuple[Placement, ...] = ()  # the place of each image in its input; () for arrays
    targets: tuple[Any, ...] = ()  # other than labels: a mask, an image's id
    digests: tuple[int, ...] = ()  # CRC-32 of each sample as stored, unless the data set has it


@dataclass(frozen=True)
class Chunk:
    """Some samples that are not read yet; ``load`` may run in any thread."""

    start: int  # the first one's index in the data set, unreadable ones counted
    count: int  # how many, unreadable ones included
    load: Callable[[], Batch]


class Dataset(Protocol):
    """Samples in a fixed order; each ``iter`` starts again, and nothing is kept in memory."""

    @property
    def num_samples(self) -> int | None:
        """How many there are, unreadable ones included; None if that needs reading them."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each label, if the data set has names."""

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The range of all values after preprocessing; None if unknown."""

    @property
    def unreadable(self) -> list[Unreadable]:
        """The samples that the last iteration could not read so far."""

    def describe(self) -> dict[str, Any]:
        """What produced the samples, for a result: kind, source, preprocessing."""

    def __iter__(self) -> Iterator[Sample]: ...


class DerivedDataset:
    """What a data set made of another one shares with it; subclasses say which samples it has."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each label."""
        return self._dataset.class_names

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The range of all values after preprocessing."""
        return self._dataset.promised_range

    def describe(self) -> dict[str, Any]:
        """What produced the samples."""
        return self._dataset.describe()


def has_batch(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether the first dimension of a network's inputs is a batch: it is the same in all.

    If it is not, as for a state (layers, batch, units) with (batch, features), one inference uses
    one sample, and each input's whole shape is the sample's.
    """
    return len({tuple(shape[:1]) or (1,) for shape in shapes}) <= 1


def sample_specs(inputs: Sequence[InputSpec]) -> list[InputSpec]:
    """Return ``inputs`` for single samples: the shape of a sample follows the first dimension."""
    if has_batch([spec.shape for spec in inputs]):
        return list(inputs)
    return [
        spec if spec.shape[:1] in ((), (1,)) else replace(spec, shape=(1, *spec.shape))
        for spec in inputs
    ]


def remarks_of(dataset: Dataset) -> tuple[str, ...]:
    """Remarks about ``dataset`` as a whole; empty for most."""
    found: tuple[str, ...] = getattr(dataset, "remarks", ())
    return found


class Selectable(Dataset, Protocol):
    """A data set that can read some samples without reading the others."""

    @property
    def classes(self) -> Sequence[int] | None:
        """The class of each sample, known without reading any; None without classes."""

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The samples ``indices``, in this order."""


def identity_of(dataset: Dataset, total: int | None) -> int | None:
    """Return a number that changes with samples or labels; None if that needs reading them.

    Args:
        dataset: The samples.
        total: How many of them count, from the first on; None if unknown.
    """
    if total is None or not hasattr(dataset, "identity"):
        return None
    return int(dataset.identity(total))


def as_real(values: Any) -> NDArray[Any]:  # noqa: ANN401 - anything that numpy accepts
    """Return ``values`` as an array of numbers; float64 becomes float32, other types stay."""
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def iter_batches(dataset: Dataset, size: int) -> Iterator[Batch]:
    """Iterate over ``dataset`` in batches of ``size`` (the last may be smaller).

    Use the faster method ``batches`` if the data set has it. Labels are None unless every
    sample of the batch has one.
    """
    if hasattr(dataset, "batches"):
        yield from dataset.batches(size)
        return
    samples = iter(dataset)
    while True:
        chunk = list(itertools.islice(samples, size))
        if not chunk:
            return
        yield stack_samples(chunk)


def iter_chunks(
    dataset: Dataset, size: int, start: int = 0, stop: int | None = None
) -> Iterator[Chunk]:
    """Samples ``start`` to ``stop`` of ``dataset``, ``size`` at a time, to be read later.

    ``load`` reads files in its caller's thread; samples of a Python iterable are drawn here.
    """
    if hasattr(dataset, "chunk"):
        total = dataset.num_samples or 0
        end = total if stop is None else min(stop, total)
        for first in range(start, end, size):
            last = min(first + size, end)
            yield Chunk(first, last - first, _loader(dataset, first, last))
        return
    samples = itertools.islice(iter(dataset), start, stop)
    while True:
        drawn = list(itertools.islice(samples, size))
        if not drawn:
            return
        batch = stack_samples(drawn, [digest_of(sample) for sample in drawn])
        yield Chunk(start, len(drawn), lambda batch=batch: batch)  # type: ignore[misc] # bound now
        start += len(drawn)


def stack_samples(samples: Sequence[Sample], digests: Sequence[int] = ()) -> Batch:
    """Return ``samples`` (at least one) as a batch; labels are None unless every sample has one."""
    return Batch(
        inputs=tuple(np.stack(arrays) for arrays in zip(*(each.inputs for each in samples))),
        labels=all_labels([sample.label for sample in samples]),
        sources=[sample.source for sample in samples],
        digests=tuple(digests),
    )


def _loader(dataset: Any, first: int, last: int) -> Callable[[], Batch]:  # noqa: ANN401 - has chunk
    def load() -> Batch:
        batch: Batch = dataset.chunk(first, last)
        return batch

    return load


def digest_of(sample: Sample) -> int:
    """CRC-32 of a sample's inputs."""
    digest = 0
    for array in sample.inputs:
        digest = zlib.crc32(np.ascontiguousarray(array).tobytes(), digest)
    return digest


def labels_of(dataset: Dataset) -> NDArray[Any] | None:
    """Return the labels of ``dataset``, or of its first 64 samples if it has no ``label_rows``.

    Return None if a sample has no label.
    """
    if hasattr(dataset, "label_rows"):
        rows: NDArray[Any] | None = dataset.label_rows
        return rows
    first = [sample.label for sample in itertools.islice(iter(dataset), _PEEKED)]
    return stack_labels(first, str(dataset.describe().get("source", "")))
