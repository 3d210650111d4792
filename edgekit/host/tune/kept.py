# SPDX-License-Identifier: Apache-2.0
"""A data set whose samples stay in memory: each trial reads the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.data import Dataset, Sample, Unreadable
from edgekit.data.dataset import DerivedDataset
from edgekit.data.spread import classes_of, is_selectable, subset

_MOST_BYTES = 1 << 30


class KeptDataset(DerivedDataset):
    """The samples of a data set of known length, read when they are needed first.

    Samples beyond 1 GiB are read again each time.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._indices: Sequence[int] = range(dataset.num_samples or 0)
        self._store = _Store(dataset)
        self.unreadable: list[Unreadable] = []

    @property
    def num_samples(self) -> int | None:
        """How many there are."""
        return len(self._indices)

    @property
    def classes(self) -> Sequence[int] | None:
        """The class of each sample, if it is known without reading any."""
        known = classes_of(self._dataset)
        return None if known is None else [known[index] for index in self._indices]

    def subset(self, indices: Sequence[int]) -> KeptDataset:
        """Return the samples ``indices``, in this order."""
        chosen = KeptDataset(self._dataset)
        chosen._store = self._store
        chosen._indices = [self._indices[index] for index in indices]
        return chosen

    def __iter__(self) -> Iterator[Sample]:
        self.unreadable = []
        for index in self._indices:
            found = self._store.read(index)
            if isinstance(found, Sample):
                yield found
            else:
                self.unreadable.extend(found)


class _Store:
    """The samples that were read so far, by index; unreadable ones as what is wrong with them."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._bytes = dataset, 0
        self._found: dict[int, Sample | list[Unreadable]] = {}

    def read(self, index: int) -> Sample | list[Unreadable]:
        known = self._found.get(index)
        if known is not None:
            return known
        part = subset(self._dataset, [index])
        found: Sample | list[Unreadable] = next(iter(part), None) or list(part.unreadable)
        size = sum(each.nbytes for each in found.inputs) if isinstance(found, Sample) else 0
        if self._bytes + size <= _MOST_BYTES:
            self._found[index] = found
            self._bytes += size
        return found


def kept(dataset: Dataset) -> Dataset:
    """Return ``dataset`` with its samples in memory, if they can be read one by one."""
    can_choose = is_selectable(dataset) and dataset.num_samples is not None
    return KeptDataset(dataset) if can_choose else dataset
