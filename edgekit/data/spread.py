# SPDX-License-Identifier: Apache-2.0
"""Choose samples that represent a data set: spread over all of it, evenly over its classes.

Calibration, ``--num-samples`` and proofs all use this. The choice depends only on the data set.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any, Collection, Iterator, Mapping, Sequence

from edgekit.data.dataset import Dataset, DerivedDataset, Sample, Selectable

if TYPE_CHECKING:
    import random

    from typing_extensions import TypeGuard

_SEED = 20210721  # any number; fixed, so that the same data result in the same model


def spread_indices(
    count: int,
    wanted: int,
    classes: Sequence[int] | None = None,
    *,
    without: Collection[int] = (),
    have: Mapping[int, int] | None = None,
) -> list[int]:
    """Choose ``wanted`` of ``count`` samples, in ascending order; all if there are no more.

    Within a class (or the whole) one sample is drawn from each of as many equal stretches: an even
    stride, with jitter against periods in the data.

    Args:
        count: How many samples there are.
        wanted: How many to choose.
        classes: The class of each sample: all classes get the same number, if they have enough.
            None treats the data set as one class.
        without: Indices that must not be chosen.
        have: How many samples of each class were chosen before; new ones make the numbers even.
    """
    import random  # noqa: PLC0415 - loads hashlib too, and most evaluations take every sample

    members: dict[int, list[int]] = {}
    left_out = frozenset(without)
    for index in range(count):
        if index not in left_out:
            members.setdefault(0 if classes is None else classes[index], []).append(index)
    draw = random.Random(_SEED)  # noqa: S311 - nothing secret
    sizes = {label: len(members[label]) for label in sorted(members)}
    quotas = _quotas(sizes, have or {}, wanted, draw)
    return sorted(
        index for label, quota in quotas.items() for index in _stride(members[label], quota, draw)
    )


def spread(dataset: Dataset, wanted: int | None) -> Dataset:
    """Return ``wanted`` samples spread over ``dataset``; all if it has no more, or wanted is None.

    A data set of unknown length is returned unchanged: only its first samples can be used.
    """
    count = dataset.num_samples
    if wanted is None or count is None or wanted >= count:
        return dataset
    return subset(dataset, spread_indices(count, wanted, classes_of(dataset)))


def subset(dataset: Dataset, indices: Sequence[int]) -> Dataset:
    """Return the samples ``indices`` of ``dataset``, in this (ascending) order, as a data set."""
    if is_selectable(dataset):
        return dataset.subset(indices)
    return _Chosen(dataset, indices)


def classes_of(dataset: Dataset) -> Sequence[int] | None:
    """Return the class of each sample; None without classes, or if samples must be read."""
    return dataset.classes if is_selectable(dataset) else None


class _Chosen(DerivedDataset):
    """Some samples of a data set that can only be read in order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        super().__init__(copy.copy(dataset))
        self._indices = frozenset(indices)

    @property
    def num_samples(self) -> int | None:
        return len(self._indices)

    @property
    def unreadable(self) -> Any:  # noqa: ANN401 - a list of Unreadable
        return self._dataset.unreadable

    def __iter__(self) -> Iterator[Sample]:
        last = max(self._indices, default=-1)
        for index, sample in enumerate(self._dataset):
            if index in self._indices:
                yield sample
            if index >= last:
                return


def is_selectable(dataset: Any) -> TypeGuard[Selectable]:  # noqa: ANN401
    """Whether any samples can be read without the others."""
    return hasattr(dataset, "subset")


def _quotas(
    sizes: Mapping[int, int], have: Mapping[int, int], wanted: int, draw: random.Random
) -> dict[int, int]:
    """Return how many samples to choose per class: classes with the fewest so far come first."""
    quotas = dict.fromkeys(sizes, 0)
    while wanted > 0:
        totals = Counter({c: have.get(c, 0) + quotas[c] for c in sizes if quotas[c] < sizes[c]})
        if not totals:
            break
        levels = sorted(set(totals.values()))
        lowest = [label for label, total in totals.items() if total == levels[0]]
        if len(lowest) > wanted:
            lowest = _stride(lowest, wanted, draw)
        step = min(wanted // len(lowest), *(sizes[label] - quotas[label] for label in lowest))
        if len(levels) > 1:
            step = min(step, levels[1] - levels[0])
        for label in lowest:
            quotas[label] += step
        wanted -= step * len(lowest)
    return quotas


def _stride(members: Sequence[int], wanted: int, draw: random.Random) -> list[int]:
    """Choose one from each of ``wanted`` equal stretches of ``members``."""
    count = len(members)
    ends = [number * count // wanted for number in range(wanted + 1)] if wanted else [0]
    return [
        members[low + int(draw.random() * (high - low))] for low, high in zip(ends[:-1], ends[1:])
    ]
