# SPDX-License-Identifier: Apache-2.0
"""Calibration samples: checked one by one while they stream, never all in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data import Dataset, InputSpec, Sample, Unreadable
from edgekit.data.folders import name_some
from edgekit.data.random_samples import RANDOM
from edgekit.errors import DataError

Progress = Callable[[int, int | None], None]
Arrays = list[NDArray[Any]]
# Rounding in a resize filter may leave the promised range by this share of its width.
_RANGE_SLACK = 1e-3


class Calibration:
    """The first ``num_samples`` samples of a data set, in the types and shapes of the inputs.

    ``batches`` can be gone through again and again; what was learnt (``count``, ``ranges``,
    ``warnings``) is that of the last time.
    """

    def __init__(
        self, dataset: Dataset, inputs: Sequence[InputSpec], dtypes: Sequence[str], num_samples: int
    ) -> None:
        self._dataset, self._inputs, self._dtypes = dataset, tuple(inputs), tuple(dtypes)
        self._wanted = num_samples
        self.count = 0
        self.ranges: list[tuple[float, float]] = []

    @property
    def total(self) -> int:
        """How many samples to expect."""
        known = self._dataset.num_samples
        return self._wanted if known is None else min(known, self._wanted)

    @property
    def unreadable(self) -> list[Unreadable]:
        """The samples that could not be read."""
        return list(self._dataset.unreadable)

    @property
    def warnings(self) -> list[str]:
        """What a user should know about the samples although they can be used."""
        notes = []
        if self._dataset.describe().get("kind") == RANDOM:
            notes.append("calibrated with random numbers: the model's answers are worth nothing")
        if self.count < self._wanted:
            notes.append(f"calibrated with {self.count} samples, {self._wanted} were asked for")
        if self.unreadable:
            named = name_some(self.unreadable)
            notes.append(f"{len(self.unreadable)} samples could not be read: {named}")
        return notes

    def batches(self, progress: Progress) -> Iterator[Arrays]:
        """Samples in batches of the inputs' batch size, each checked; the last is filled up.

        Raises:
            DataError: A sample has another shape or number of inputs, holds NaN or infinity, or
                leaves the range that the preprocessing promises; there are no samples, or they are
                all equal; half of the files or more cannot be read.
        """
        self.count, self.ranges = 0, [(np.inf, -np.inf)] * len(self._inputs)
        sizes = {spec.shape[0] if spec.shape else 1 for spec in self._inputs}
        size = max(sizes)
        first: Arrays | None = None
        all_equal = True
        pending: list[Arrays] = []
        for sample in itertools.islice(self._dataset, self._wanted):
            arrays = self._checked(sample)
            first = arrays if first is None else first
            all_equal = all_equal and all(map(np.array_equal, arrays, first))
            pending.append(arrays)
            self.count += 1
            progress(self.count, self.total)
            if len(pending) == size:
                yield self._stack(pending)
                pending = []
        self._check_set(all_equal)
        if pending:
            yield self._stack(pending + [pending[-1]] * (size - len(pending)))

    def _checked(self, sample: Sample) -> Arrays:
        if len(sample.inputs) != len(self._inputs):
            raise DataError(
                f"a sample has {len(sample.inputs)} arrays, expected {len(self._inputs)}",
                where=sample.source,
            )
        arrays = []
        for index, (values, spec) in enumerate(zip(sample.inputs, self._inputs, strict=True)):
            where = f"{sample.source}, input {spec.name}"
            array = np.asarray(values)
            if array.shape != spec.shape[1:]:
                raise DataError(
                    f"a sample has shape {array.shape}, expected {spec.shape[1:]}", where=where
                )
            low, high = self._range(array, where)
            seen = self.ranges[index]
            self.ranges[index] = (min(seen[0], low), max(seen[1], high))
            arrays.append(array.astype(self._dtypes[index]))
        return arrays

    def _range(self, array: NDArray[Any], where: str) -> tuple[float, float]:
        if array.size == 0:
            raise DataError("a sample is empty", where=where)
        low, high = float(array.min()), float(array.max())
        if not np.isfinite(low + high):
            raise DataError(
                "a sample holds NaN or infinity",
                where=where,
                why=f"{int((~np.isfinite(array)).sum())} of {array.size} values; one is enough to "
                "spoil the ranges of every layer",
                fix="find where it comes from and leave the sample out",
            )
        promised = self._dataset.promised_range
        if promised is not None:
            slack = (promised[1] - promised[0]) * _RANGE_SLACK
            if low < promised[0] - slack or high > promised[1] + slack:
                raise DataError(
                    f"values from {low:g} to {high:g}, the preprocessing promises {promised[0]:g} "
                    f"to {promised[1]:g}",
                    where=where,
                    fix="check --preprocess against what the network was trained on",
                )
        return low, high

    def _check_set(self, all_equal: bool) -> None:
        where = str(self._dataset.describe().get("source", ""))
        bad = len(self.unreadable)
        if bad and bad >= self.count:
            raise DataError(
                f"{bad} of {bad + self.count} samples cannot be read",
                where=where,
                why=name_some(self.unreadable),
                fix="mend or remove these files",
            )
        if not self.count:
            raise DataError("there is no sample", where=where, fix="give data with --data")
        if all_equal and self.count > 1:
            raise DataError(
                f"all {self.count} samples are equal",
                where=where,
                why="the range of each layer would be that of one example",
                fix="give real examples, as varied as those to come",
            )

    def _stack(self, samples: list[Arrays]) -> Arrays:
        return [
            np.stack([arrays[index] for arrays in samples]).reshape(spec.shape)
            for index, spec in enumerate(self._inputs)
        ]
