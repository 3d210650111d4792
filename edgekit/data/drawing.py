# SPDX-License-Identifier: Apache-2.0
"""Draw samples spread over a data set, in several rounds, each sample at most once."""

from __future__ import annotations

import itertools
from array import array
from collections import Counter
from typing import AbstractSet, Iterator

from edgekit.data.dataset import Dataset, Sample, Unreadable, digest_of
from edgekit.data.label_kinds import class_of
from edgekit.data.spread import classes_of, spread_indices, subset


class Drawing:
    """Draws samples from a data set; each ``draw`` returns samples that no earlier one returned.

    They are spread over the data set and its classes, and others replace those that cannot be read.
    From a data set of unknown length the first samples are drawn. If the order may change with each
    pass, samples are recognized by their content.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._classes = dataset, classes_of(dataset)
        self._tried: set[int] = set()
        self._position = 0  # after the last drawn sample, if the length is unknown
        self._may_reorder = bool(getattr(dataset, "may_reorder", False))
        self._digests = array("I")  # of all drawn samples, if their order may change
        self.unreadable: list[Unreadable] = []

    def draw(self, wanted: int) -> Iterator[Sample]:
        """Return ``wanted`` samples, or fewer if there are no more."""
        count = self._dataset.num_samples
        if count is None:
            yield from itertools.islice(self._from_front(wanted), wanted)
            self.unreadable = list(self._dataset.unreadable)
            return
        have: Counter[int] = Counter()
        while wanted > 0:
            chosen = spread_indices(count, wanted, self._classes, without=self._tried, have=have)
            if not chosen:
                return
            self._tried.update(chosen)
            part, before = subset(self._dataset, chosen), frozenset(self._digests)
            for sample in part:
                if not self._is_new(sample, before):
                    continue
                label = class_of(sample.label)
                if label is not None:
                    have[label] += 1
                wanted -= 1
                yield sample
            self.unreadable += part.unreadable

    def _from_front(self, wanted: int) -> Iterator[Sample]:
        before = frozenset(self._digests)
        # Read only as many more as may be old ones: an endless source may have no new ones.
        end = self._position + wanted + len(before)
        for sample in itertools.islice(self._dataset, self._position, end):
            self._position += 1
            if self._is_new(sample, before):
                yield sample

    def _is_new(self, sample: Sample, before: AbstractSet[int]) -> bool:
        if not self._may_reorder:
            return True
        digest = digest_of(sample)
        self._digests.append(digest)
        return digest not in before
