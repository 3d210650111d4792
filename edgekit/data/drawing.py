# SPDX-License-Identifier: Apache-2.0
"""Draw samples from all over a data set, in several goes, none twice."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Iterator

from edgekit.data.dataset import Dataset, Sample, Unreadable
from edgekit.data.label_kinds import class_of
from edgekit.data.spread import classes_of, spread_indices, subset


class Drawing:
    """What is drawn from a data set; each ``draw`` gives samples that no other gave.

    They are spread over the data set and its classes, and others take the place of those that
    cannot be read. A data set of unknown length is taken from its front.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._classes = dataset, classes_of(dataset)
        self._tried: set[int] = set()
        self._position = 0  # behind the last sample drawn, where the length is unknown
        self.unreadable: list[Unreadable] = []

    def draw(self, wanted: int) -> Iterator[Sample]:
        """Up to ``wanted`` samples, fewer if there are no more."""
        count = self._dataset.num_samples
        if count is None:
            yield from self._next(wanted)
            return
        have: Counter[int] = Counter()
        while wanted > 0:
            chosen = spread_indices(count, wanted, self._classes, without=self._tried, have=have)
            if not chosen:
                return
            self._tried.update(chosen)
            part = subset(self._dataset, chosen)
            for sample in part:
                label = class_of(sample.label)
                if label is not None:
                    have[label] += 1
                wanted -= 1
                yield sample
            self.unreadable += part.unreadable

    def _next(self, wanted: int) -> Iterator[Sample]:
        start = self._position
        for sample in itertools.islice(self._dataset, start, start + wanted):
            self._position += 1
            yield sample
        self.unreadable = list(self._dataset.unreadable)
