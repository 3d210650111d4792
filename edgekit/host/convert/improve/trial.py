# SPDX-License-Identifier: Apache-2.0
"""Measure on some samples how far a model is from the float network."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgekit.evaluate.causes import has_wide_logits
from edgekit.formats.model_file import ModelFile
from edgekit.runtime import Runner
from edgekit.runtime.agreement import OutputRecord, OutputSums

Batch = Sequence[NDArray[Any]]
_HIGHEST_DB = 40.0  # above this an output is as good as float
_LEAST_GAIN_DB = 0.2
# Outputs that are good already: a smaller gain is of no use, and depends on the samples.
_GOOD_DB, _LEAST_GAIN_OF_GOOD_DB = 30.0, 3.0
_CLEAR_LOSS_DB = 0.5  # of one output, whatever the others gain
_LEAST_HITS, _CLEAR_LOSS_OF_HITS = 20, 0.1  # scores above the decision; of their F1


@dataclass(frozen=True)
class Trial:
    """How far the outputs of a model are from those of the float network.

    ``scores`` are centred SNRs in dB: about each element's mean over the samples. For an output of
    few numbers it is the mean of theirs, so that small numbers count beside large ones.
    """

    snr_db: tuple[float | None, ...]  # None: no difference; -inf: a difference without a signal
    scores: tuple[float, ...]  # everything above 40 dB, as good as float, counts as 40 dB
    # F1 of the scores above the decision, of each output that has enough of them; else None
    hits: tuple[float | None, ...] = ()

    def is_better_than(self, other: Trial) -> bool:
        """Whether the outputs are better on average, and none of them is clearly worse.

        An output that is still good does not count as worse. Found objects count apart: a network
        whose scores are mostly far below the decision can have a better ratio and find less.
        """
        for own, before in zip(self.hits, other.hits, strict=False):
            if own is not None and before is not None and own < before - _CLEAR_LOSS_OF_HITS:
                return False
        mine, others = self.scores, other.scores
        gain = (sum(mine) - sum(others)) / len(others)
        least = _LEAST_GAIN_DB if min(others) < _GOOD_DB else _LEAST_GAIN_OF_GOOD_DB
        if gain < least or min(mine) < min(others) - _LEAST_GAIN_DB:
            return False
        pairs = zip(mine, others, strict=True)
        return all(own >= min(before - _CLEAR_LOSS_DB, _GOOD_DB) for own, before in pairs)


def try_model(reference: ModelFile, model: ModelFile, batches: Iterable[Batch]) -> Trial:
    """Compare ``model`` with the float network ``reference`` on ``batches`` of real values."""
    records = _records(reference, model, batches)
    return Trial(
        tuple(_snr_db(each) for each in records),
        tuple(_score(each) for each in records),
        tuple(_hits(each) for each in records),
    )


def _hits(record: OutputRecord) -> float | None:
    found = [each.hits for each in record.parts if each.hits is not None]
    known = found or ([] if record.hits is None else [record.hits])
    sparse = [each for each in known if each.is_sparse]
    if sum(each.reference for each in sparse) < _LEAST_HITS:
        return None
    total = sum(each.reference + each.found + each.false for each in sparse)
    return 2 * sum(each.found for each in sparse) / total


def _snr_db(record: OutputRecord) -> float | None:
    return -math.inf if record.snr_db is None and not record.identical else record.snr_db


def _score(record: OutputRecord) -> float:
    whole = record.centred_snr_db
    if whole is None:  # an output that does not vary: as good as float only if nothing differs
        whole = _HIGHEST_DB if record.identical else 0.0
    found = [each for each in record.elements_snr_db if each is not None] or [whole]
    return round(sum(min(each, _HIGHEST_DB) for each in found) / len(found), 2)


def wide_outputs(network: ModelFile, batches: Iterable[Batch]) -> list[int]:
    """Return the outputs of a float network that are logits far beyond a sigmoid's range."""
    records = _records(network, network, batches)
    return [place for place, record in enumerate(records) if has_wide_logits(record)]


def _records(
    reference: ModelFile, model: ModelFile, batches: Iterable[Batch]
) -> list[OutputRecord]:
    with contextlib.ExitStack() as stack:
        before, after = (stack.enter_context(Runner(each)) for each in (reference, model))
        sums = [OutputSums(info) for info in after.outputs]
        for arrays in batches:
            expected = before.invoke(*before.to_raw(*arrays))
            actual = after.invoke(*after.to_raw(*arrays))
            pairs = zip(before.to_real(*expected), after.to_real(*actual), strict=True)
            for each, values in zip(sums, pairs, strict=True):
                each.add(*values)
    return [each.record() for each in sums]
