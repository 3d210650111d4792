# SPDX-License-Identifier: Apache-2.0
"""Measure on some samples how far a model is from the float network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgekit.formats.model_file import ModelFile
from edgekit.runtime import Runner
from edgekit.runtime.agreement import OutputSums

Batch = Sequence[NDArray[Any]]
_HIGHEST_DB = 40.0  # above this an output is as good as float


@dataclass(frozen=True)
class Trial:
    """How far the outputs of a model are from those of the float network, in dB by output."""

    snr_db: tuple[float | None, ...]  # None: no difference, or no signal
    centred_snr_db: tuple[float | None, ...]  # about each element's mean over the samples

    @property
    def score(self) -> float:
        """The mean of the centred ratios, where everything above 40 dB counts as 40 dB."""
        known = [min(each, _HIGHEST_DB) for each in self.centred_snr_db if each is not None]
        return sum(known) / len(known) if known else _HIGHEST_DB


def try_model(reference: ModelFile, model: ModelFile, batches: Iterable[Batch]) -> Trial:
    """Compare ``model`` with the float network ``reference`` on ``batches`` of real values."""
    with contextlib.ExitStack() as stack:
        before, after = (stack.enter_context(Runner(each)) for each in (reference, model))
        sums = [OutputSums(info) for info in after.outputs]
        for arrays in batches:
            expected = before.invoke(*before.to_raw(*arrays))
            actual = after.invoke(*after.to_raw(*arrays))
            for each, *values in zip(
                sums, before.to_real(*expected), after.to_real(*actual), strict=True
            ):
                each.add(*values)
    records = [each.record() for each in sums]
    return Trial(
        tuple(each.snr_db for each in records), tuple(each.centred_snr_db for each in records)
    )
