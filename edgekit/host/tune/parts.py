# SPDX-License-Identifier: Apache-2.0
"""Divide the evaluation data: one part for the search, the other for the report."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from edgekit.data import Dataset, InputSpec, Preprocess, open_dataset, preprocess_or
from edgekit.data.dataset import digest_of, sample_specs
from edgekit.data.random_samples import RANDOM
from edgekit.data.spread import classes_of, spread_indices, subset
from edgekit.errors import DataError
from edgekit.formats.model_file import ModelFile
from edgekit.runtime import Runner
from edgekit.runtime.native_output import chatter_logged
from edgekit.tasks import NONE, SEGMENTATION, choose_decoder, prepare

_LEAST_SAMPLES = 16
_MOST_CALIBRATION = 5000  # samples that are compared with the evaluation data
_MOST_OPEN = 100_000  # samples of data whose number is unknown


@dataclass(frozen=True)
class Parts:
    """The two parts of the evaluation data; no sample is in both, or in the calibration data."""

    search: Dataset
    report: Dataset
    search_indices: tuple[int, ...]  # of the evaluation data
    num_report: int
    num_left_out: int  # samples that are in the calibration data too

    @property
    def num_search(self) -> int:
        """How many samples choose between the trials."""
        return len(self.search_indices)


def divide(evaluation: Dataset, calibration: Dataset) -> Parts:
    """Divide the evaluation data evenly, class by class if the classes are known.

    Samples that equal one of the (first 5,000) calibration samples are left out.

    Raises:
        DataError: There are fewer than 16 samples, or they are random numbers.
    """
    where = str(evaluation.describe().get("source", ""))
    if evaluation.describe().get("kind") == RANDOM:
        raise DataError("random numbers cannot score a model", fix="give real samples with --eval")
    is_random = calibration.describe().get("kind") == RANDOM
    known = () if is_random else itertools.islice(calibration, _MOST_CALIBRATION)
    seen = {digest_of(each) for each in known}
    digests = [digest_of(each) for each in itertools.islice(evaluation, _MOST_OPEN + 1)]
    count = evaluation.num_samples
    if count is None and len(digests) > _MOST_OPEN:
        raise DataError("the evaluation data do not end", where=where, fix="give fewer samples")
    # Digests are in order only if every sample could be read.
    is_complete = count is None or count == len(digests)
    shared = [i for i, each in enumerate(digests) if each in seen] if is_complete else []
    total = len(digests) if count is None else count
    left = total - len(shared)
    if left < _LEAST_SAMPLES:
        why = f"{len(shared)} of {total} are calibration samples" if shared else ""
        raise DataError(
            f"{left} samples are too few to search with and to report on",
            where=where,
            why=why,
            fix=f"give at least {_LEAST_SAMPLES} others with --eval; some hundred are better",
        )
    classes = classes_of(evaluation)
    first = spread_indices(total, left // 2, classes, without=shared)
    second = _others(total, {*first, *shared})
    return Parts(
        subset(evaluation, first),
        subset(evaluation, second),
        tuple(first),
        len(second),
        len(shared),
    )


def _others(total: int, taken: Collection[int]) -> list[int]:
    return [index for index in range(total) if index not in taken]


def open_data(
    data: Any,  # noqa: ANN401 - anything that open_dataset takes
    model: ModelFile,
    preprocess: str | Preprocess | None,
    split: str,
) -> Dataset:
    """Open samples for ``model``; of a segmentation network with masks, if ``split`` is test.

    Args:
        data: Anything that `open_dataset` takes.
        model: The float network.
        preprocess: How pixels become the input; None uses what the model's file says.
        split: The part of a file that contains both: ``train`` or ``test``.
    """
    prepared = prepare(model)
    with Runner(prepared.runnable) as runner:
        task = choose_decoder(prepared, runner).task if split == "test" else NONE
        specs = sample_specs([InputSpec(each.name, each.shape) for each in runner.inputs])
    inputs = [InputSpec(each.name, (1, *each.shape[1:])) for each in specs]
    how = preprocess_or(preprocess, prepared.notes.preprocess)
    with chatter_logged():
        try:
            return open_dataset(
                data, inputs=inputs, preprocess=how, split=split, masks=task == SEGMENTATION
            )
        except DataError:
            if task != SEGMENTATION:
                raise
            return open_dataset(data, inputs=inputs, preprocess=how, split=split)
