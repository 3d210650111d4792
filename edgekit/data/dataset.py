# SPDX-License-Identifier: Apache-2.0
"""What a data set is to edgekit: samples that can be gone through again and again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Protocol
else:
    Protocol = object  # typing has no Protocol on Python 3.7


@dataclass(frozen=True)
class InputSpec:
    """One input of a network: ``shape`` with the batch dimension, NHWC for images."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Sample:
    """One example, preprocessed: real values, one array an input, without the batch dimension."""

    inputs: tuple[NDArray[Any], ...]
    label: int | None = None
    source: str = ""  # a file, or an index into one


@dataclass(frozen=True)
class Batch:
    """Several samples: each input with the number of samples as its first dimension."""

    inputs: tuple[NDArray[Any], ...]
    labels: list[int] | None
    sources: list[str]


@dataclass(frozen=True)
class Unreadable:
    """A sample that could not be read, and why."""

    source: str
    reason: str


class Dataset(Protocol):
    """Samples in a fixed order; each ``iter`` starts anew and nothing is kept in memory."""

    @property
    def num_samples(self) -> int | None:
        """How many there are, unreadable ones included; None if only iterating tells."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each label, where the data set knows them."""

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The range that preprocessing promises for every value; None if it promises nothing."""

    @property
    def unreadable(self) -> list[Unreadable]:
        """What the last iteration could not read so far."""

    def describe(self) -> dict[str, Any]:
        """What produced the samples, for a result: kind, source, preprocessing."""

    def __iter__(self) -> Iterator[Sample]: ...


def as_real(values: Any) -> NDArray[Any]:  # noqa: ANN401 - anything numpy takes
    """``values`` as an array of numbers; float64 becomes float32, other types stay."""
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def iter_batches(dataset: Dataset, size: int) -> Iterator[Batch]:
    """Go through ``dataset`` in batches of ``size`` (the last may be smaller).

    Data sets that have a faster way (``batches``) are asked for it. Labels are None unless every
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
        labels = [sample.label for sample in chunk if sample.label is not None]
        yield Batch(
            inputs=tuple(np.stack(arrays) for arrays in zip(*(sample.inputs for sample in chunk))),
            labels=labels if len(labels) == len(chunk) else None,
            sources=[sample.source for sample in chunk],
        )
