# SPDX-License-Identifier: Apache-2.0
"""Calibration samples: each is checked when it is read; they are never all in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data import Dataset, InputSpec, Sample, Unreadable
from edgekit.data.dataset import has_batch, remarks_of, sample_specs
from edgekit.data.drawing import Drawing
from edgekit.data.folders import name_some
from edgekit.data.label_kinds import class_of
from edgekit.data.network_start import is_picture
from edgekit.data.random_samples import RANDOM
from edgekit.data.spread import classes_of
from edgekit.errors import DataError
from edgekit.evaluate.far_samples import find_far, largest_sizes
from edgekit.host.convert.clipped import ClippedValues
from edgekit.progress import Progress
from edgekit.runtime.quality import NOT_SHOWN, Finding

Arrays = list[NDArray[Any]]
Range = tuple[float, float]  # lowest and highest value
# Rounding in a resize filter may exceed the preprocessing's range by this share of its width.
_RANGE_SLACK = 1e-3
_LEAST_SHARE = 0.7  # of the range of pixels that the samples should reach
_LEAST_SCALED = 0.02  # dark pictures reach more; those of 0..1 reach less of 0..255
# Of pixels that are scaled: 0..1; others are -1..1, a mean and deviation (4.5 wide) or 0..255.
_NARROWEST = (0.0, 1.0)
_LEAST_SAMPLES = 16  # fewer real numbers may all be dark by chance
_MOST_HELD_OUT, _LEAST_HELD_OUT = 256, 100
# Multiply-accumulates of all judged samples, about two seconds of a core: large networks are
# judged on fewer samples, so that judging never takes much longer than calibration.
_JUDGED_MACS = 25_000_000_000
_MOST_TRIALS, _LEAST_TRIALS, _TRIAL_MACS = 32, 8, 10_000_000_000
_MANY_OF_A_CLASS = 10  # samples on average: others would have been seen in data that are shuffled


def num_held_out(macs: int) -> int:
    """Return how many samples to judge a network on: 256, fewer for many ``macs``, at least 100.

    Args:
        macs: Multiply-accumulates of one sample.
    """
    return min(_MOST_HELD_OUT, max(_LEAST_HELD_OUT, _JUDGED_MACS // max(1, macs)))


def num_trials(macs: int) -> int:
    """Return how many samples to choose between models by: 32, fewer for many ``macs``.

    Args:
        macs: Multiply-accumulates of one sample.
    """
    return min(_MOST_TRIALS, max(_LEAST_TRIALS, _TRIAL_MACS // max(1, macs)))


class Calibration:
    """Samples spread over a data set, in the types and shapes of a network's inputs.

    ``batches`` are for calibration; ``judging_batches`` are other samples, to judge the result on.
    Both can be read several times; ``count``, ``ranges``, ``samples_per_class`` and ``warnings``
    are those of the last time.
    """

    def __init__(
        self,
        dataset: Dataset,
        inputs: Sequence[InputSpec],
        dtypes: Sequence[str],
        num_samples: int,
        sample_set: int = 0,
    ) -> None:
        """Choose samples.

        Args:
            dataset: The samples to choose from.
            inputs: The network's inputs.
            dtypes: Their types.
            num_samples: How many to calibrate with.
            sample_set: Which of the disjoint choices of so many samples, counted from 0.
        """
        self._dataset, self._inputs, self._dtypes = dataset, tuple(inputs), tuple(dtypes)
        self._sample_shapes = [spec.shape[1:] for spec in sample_specs(self._inputs)]
        self._wanted, self._set = num_samples, sample_set
        self._drawing = Drawing(dataset)
        self._labels: Counter[int] = Counter()
        self.count = 0
        self.ranges: list[Range] = []
        self._sizes: list[list[float]] = []  # of each input: those of the largest samples
        self._clipped: list[ClippedValues] = []  # of each input
        self.num_judged = 0  # samples that ``judging_batches`` yielded
        self.is_held_out = False  # whether none of them was used for calibration
        # The range of pixels that the network itself shows, for samples that are real numbers.
        self.made_for: Range | None = None
        # Whether the network's statistics show that the samples are like the training data: then
        # narrow or clipped ones are too, if only their values speak against them.
        self.is_like_training = False
        self.judged_labels: list[Any] = []  # of the samples that ``judging_batches`` has yielded

    @property
    def total(self) -> int:
        """The expected number of samples."""
        known = self._dataset.num_samples
        return self._wanted if known is None else min(known, self._wanted)

    @property
    def unreadable(self) -> list[Unreadable]:
        """The samples that could not be read."""
        return self._drawing.unreadable

    @property
    def promised_range(self) -> Range | None:
        """The range of the values that the preprocessing makes of pixels; None if it is open."""
        return self._dataset.promised_range

    @property
    def samples_per_class(self) -> dict[str, int]:
        """The number of calibration samples by class; includes classes without any."""
        known = classes_of(self._dataset)
        labels = sorted({*(() if known is None else known), *self._labels})
        names = self._dataset.class_names
        return {
            names[each] if 0 <= each < len(names) else str(each): self._labels[each]
            for each in labels
        }

    @property
    def warnings(self) -> list[str]:
        """Remarks for the user on samples that can be used."""
        notes = list(remarks_of(self._dataset))
        if self._dataset.describe().get("kind") == RANDOM:
            notes.append("calibrated with random numbers: the model's answers are meaningless")
        if self.count < self._wanted:
            notes.append(f"calibrated with {self.count} samples, fewer than {self._wanted}")
        if self._dataset.num_samples is None:
            notes.append(
                f"the number of samples in the data is unknown, so the first {self.count} were "
                "used to calibrate; give a list, an .npz or a folder to spread them over the data"
            )
        if self.unreadable:
            named = name_some(self.unreadable)
            notes.append(f"{len(self.unreadable)} samples could not be read: {named}")
        narrow = [each.text for each in (*self.narrow, *self.clipped)]
        return notes + self._classes_unseen() + narrow + self._far_samples()

    @property
    def judged_warnings(self) -> list[str]:
        """Remarks on classes of a source of unknown length that come after the calibration.

        If each class of the calibration has many samples, the source is sorted, not shuffled.
        """
        seen = len(self._labels)
        is_first = self._dataset.num_samples is None
        if not is_first or not seen or self.count < _MANY_OF_A_CLASS * seen:
            return []
        judged = {class_of(each) for each in self.judged_labels} - {None}
        unseen = sorted(each for each in judged if each is not None and not self._labels[each])
        if not unseen:
            return []
        named = ", ".join(map(str, unseen[:5])) + (", ..." if len(unseen) > 5 else "")
        return [
            f"{len(unseen)} of the classes that follow (labels {named}) have no sample among the "
            f"first {self.count}, which calibrated: larger values in them are cut off; shuffle the "
            "data, or give a list, an .npz or a folder, whose samples are spread over the classes"
        ]

    def batches(self, progress: Progress) -> Iterator[Arrays]:
        """Yield checked samples in batches of the inputs' batch size; fill up the last batch.

        Raises:
            DataError: A sample has another shape or number of inputs, contains NaN or infinity,
                or exceeds the range of the preprocessing; there are no samples, or they are
                all equal; half of the files or more cannot be read.
        """
        self._drawing = self._first_drawing()
        yield from self._stacked(self._calibrating(progress))

    def trial_batches(self, most: int) -> list[Arrays]:
        """Return up to ``most`` samples to choose between models by.

        If the data have enough, they were not used for calibration, and will not be judged. Call
        it after ``batches``.
        """
        left = (self._dataset.num_samples or 0) - self.count
        is_rich = left >= most + _LEAST_HELD_OUT and self._dataset.describe().get("kind") != RANDOM
        drawing = self._drawing if is_rich else Drawing(self._dataset)
        return list(self._stacked(self._checked(each)[0] for each in drawing.draw(most)))

    def same_batches(self) -> Iterator[Arrays]:
        """Yield the batches of ``batches`` again."""
        drawing = self._first_drawing()
        return self._stacked(self._checked(each)[0] for each in drawing.draw(self._wanted))

    def judging_batches(self, most: int = _MOST_HELD_OUT) -> Iterator[Arrays]:
        """Yield batches of up to ``most`` samples that were not used for calibration.

        If calibration used every sample, they are yielded again, and ``is_held_out`` is false.
        Call it after ``batches``; ``num_judged`` counts the samples.

        Raises:
            DataError: As ``batches``.
        """
        self.num_judged, self.is_held_out = 0, False
        self.judged_labels.clear()
        if self._dataset.describe().get("kind") != RANDOM:
            yield from self._stacked(self._held_out(most))
        if not self.num_judged:
            yield from self.batches(lambda _done, _total: None)
            self.num_judged = self.count

    def _first_drawing(self) -> Drawing:
        """Return a drawing whose next samples are those of the chosen set."""
        drawing = Drawing(self._dataset)
        for _ in range(self._set):
            for _sample in drawing.draw(self._wanted):
                pass
        return drawing

    def _calibrating(self, progress: Progress) -> Iterator[Arrays]:
        self.count, self.ranges = 0, [(np.inf, -np.inf)] * len(self._inputs)
        self._sizes = [[] for _ in self._inputs]
        self._clipped = [ClippedValues() for _ in self._inputs]
        self._labels = Counter()
        first: Arrays | None = None
        all_equal = True
        for sample in self._drawing.draw(self._wanted):
            arrays, ranges = self._checked(sample)
            self._add_ranges(ranges)
            reaches = [max(high, -low) for low, high in ranges]
            self._sizes = list(map(largest_sizes, self._sizes, reaches))
            for place in self._open_inputs:
                self._clipped[place].add(arrays[place])
            first = arrays if first is None else first
            all_equal = all_equal and all(map(np.array_equal, arrays, first))
            self.count += 1
            self.judged_labels.append(sample.label)
            label = class_of(sample.label)
            if label is not None:
                self._labels[label] += 1
            progress(self.count, self.total)
            yield arrays
        self._check_set(all_equal)

    def _held_out(self, most: int) -> Iterator[Arrays]:
        for sample in self._drawing.draw(most):
            self.num_judged, self.is_held_out = self.num_judged + 1, True
            self.judged_labels.append(sample.label)
            yield self._checked(sample)[0]

    def _stacked(self, samples: Iterable[Arrays]) -> Iterator[Arrays]:
        shapes = [spec.shape for spec in self._inputs]
        size = shapes[0][0] if shapes[0] and has_batch(shapes) else 1
        pending: list[Arrays] = []
        for arrays in samples:
            typed = zip(arrays, self._dtypes, strict=True)
            pending.append([array.astype(dtype) for array, dtype in typed])
            if len(pending) == size:
                yield self._stack(pending)
                pending = []
        if pending:
            yield self._stack(pending + [pending[-1]] * (size - len(pending)))

    def _checked(self, sample: Sample) -> tuple[Arrays, list[Range]]:
        """Return the arrays of ``sample``, and the lowest and highest value of each."""
        if len(sample.inputs) != len(self._inputs):
            raise DataError(
                f"a sample has {len(sample.inputs)} arrays, expected {len(self._inputs)}",
                where=sample.source,
            )
        arrays, ranges = [np.asarray(values) for values in sample.inputs], []
        for array, spec, shape in zip(arrays, self._inputs, self._sample_shapes, strict=True):
            where = f"{sample.source}, input {spec.name}"
            if array.shape != shape:
                raise DataError(f"a sample has shape {array.shape}, expected {shape}", where=where)
            ranges.append(self._range(array, where))
        return arrays, ranges

    def _range(self, array: NDArray[Any], where: str) -> Range:
        if array.size == 0:
            raise DataError("a sample is empty", where=where)
        low, high = float(array.min()), float(array.max())
        if not np.isfinite(low + high):
            raise DataError(
                "a sample contains NaN or infinity",
                where=where,
                why=f"{int((~np.isfinite(array)).sum())} of {array.size} values; a single one "
                "makes the ranges of all layers useless",
                fix="leave the sample out, or find and remove the cause",
            )
        promised = self.promised_range
        if promised is not None:
            slack = (promised[1] - promised[0]) * _RANGE_SLACK
            if low < promised[0] - slack or high > promised[1] + slack:
                raise DataError(
                    f"values from {low:g} to {high:g} are outside the range of the "
                    f"preprocessing, {promised[0]:g} to {promised[1]:g}",
                    where=where,
                    fix="check that --preprocess is the one that the network was trained with",
                )
        return low, high

    def _add_ranges(self, ranges: Sequence[Range]) -> None:
        both = zip(self.ranges, ranges, strict=True)
        self.ranges = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in both]

    def _check_set(self, all_equal: bool) -> None:
        where = str(self._dataset.describe().get("source", ""))
        bad = len(self.unreadable)
        if bad and bad >= self.count:
            raise DataError(
                f"{bad} of {bad + self.count} samples cannot be read",
                where=where,
                why=name_some(self.unreadable),
                fix="; ".join(remarks_of(self._dataset)) or "repair or remove these files",
            )
        if not self.count:
            raise DataError("there are no samples", where=where, fix="give data with --data")
        if all_equal and self.count > 1:
            raise DataError(
                f"all {self.count} samples are equal",
                where=where,
                why="each layer would get the range of one single example",
                fix="give real examples, as varied as those that the model will get",
            )

    def _classes_unseen(self) -> list[str]:
        found = self.samples_per_class
        unseen = [name for name, count in found.items() if not count]
        if not unseen:
            return []
        named = ", ".join(unseen[:5]) + (", ..." if len(unseen) > 5 else "")
        return [
            f"{len(unseen)} of {len(found)} classes have no calibration sample ({named}): larger "
            f"values in them are cut off; --num-samples {len(found)} uses one of each"
        ]

    @property
    def narrow(self) -> tuple[Finding, ...]:
        """The inputs of which the samples use less than 70 % of the range of pixels."""
        if not self.count:
            return ()
        found = []
        for spec, (low, high) in zip(self._inputs, self.ranges, strict=True):
            expected = self._expected_range(spec)
            if expected is None:
                continue
            (first, last), why = expected
            share = (high - low) / (last - first)
            if share < _LEAST_SHARE:
                text = (
                    f"the samples reach {low:g} to {high:g} in {spec.name}, {share:.0%} of the "
                    f"{first:g} to {last:g} that {why}: values outside are cut off; "
                    f"{self._more(share)}"
                )
                found.append(Finding("quality.narrow_range", NOT_SHOWN, "", text))
        return tuple(found)

    @property
    def _open_inputs(self) -> list[int]:
        """The inputs of real numbers that are not pictures: nothing shows their range."""
        if self.promised_range is not None:
            return []
        return [place for place, each in enumerate(self._inputs) if not is_picture(each.shape)]

    @property
    def clipped(self) -> tuple[Finding, ...]:
        """The inputs of which many values are exactly the lowest or the highest one."""
        found: list[Finding] = []
        if self.is_like_training:
            return ()
        for spec, values in zip(self._inputs, self._clipped, strict=True):
            limits = values.limits
            if limits is not None:
                text = (
                    f"many values of {spec.name} are exactly {limits[0]:.6g} or {limits[1]:.6g}: "
                    "the samples seem to be clipped; if those of real use are not, the int8 model "
                    "cuts off what is outside; give samples that are not clipped, or clip in use "
                    "too"
                )
                found.append(Finding("quality.clipped_samples", NOT_SHOWN, "", text))
        return tuple(found)

    def _expected_range(self, spec: InputSpec) -> tuple[Range, str] | None:
        """Return the range of the pixels of an input, and who makes it; None if it is open."""
        if self.promised_range is not None:
            return self.promised_range, "the preprocessing can make"
        if self.made_for is not None and spec is self._inputs[0]:
            return self.made_for, "the network was made for"
        if self.is_like_training:
            return None
        if self.count >= _LEAST_SAMPLES and is_picture(spec.shape):
            return _NARROWEST, "pixels usually have, if they are scaled"
        return None

    def _far_samples(self) -> list[str]:
        if not self.is_held_out:
            return []  # they take part in the comparison, which reports them
        far_ones = [find_far(each, self.count) for each in self._sizes]
        return [
            f"{far.text(spec.name, self.count)}: the range of calibration includes them, and all "
            "others lose precision; leave such samples out, or limit the values to about "
            f"{far.next_largest:.4g} before the network"
            for spec, far in zip(self._inputs, far_ones, strict=True)
            if far is not None
        ]

    def _more(self, share: float) -> str:
        """Return how to get samples of more than this share of the range."""
        if share < _LEAST_SCALED:
            return "the samples seem to be scaled in another way than the network's: check that"
        available = self._dataset.num_samples
        if available is not None and available > self.count + len(self.unreadable):
            return f"calibrate with more of the data: --num-samples {available}"
        return "give --data with samples as dark and as bright as those that the model will get"

    def _stack(self, samples: list[Arrays]) -> Arrays:
        return [
            np.stack([arrays[index] for arrays in samples]).reshape(spec.shape)
            for index, spec in enumerate(self._inputs)
        ]
