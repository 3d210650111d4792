# SPDX-License-Identifier: Apache-2.0
"""The evidence for a rewrite: outputs before and after, on the same inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Mapping

import numpy as np

from edgekit.result import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class OutputAgreement(Result):
    """One output before and after, in real values.

    ``snr_db`` is 10 log10 of the power of the output before, divided by that of the difference;
    None if there is no difference or no signal. ``largest_step`` is the largest difference in steps
    of the scale before; None if that output was float. ``argmax`` is the share of positions whose
    largest value along the last dimension is the same; None if there is only one value.
    """

    name: str
    identical: bool
    snr_db: float | None
    largest_difference: float
    largest_step: float | None
    argmax: float | None


@dataclass(frozen=True)
class Certificate(Result):
    """A rewrite, and the difference between its outputs and those before it.

    ``identical`` is measured: whether every output was equal bit for bit. It is None if nothing
    could be run; ``note`` then contains the reason.
    """

    rule: str
    exact_by_construction: bool
    identical: bool | None
    outputs: tuple[OutputAgreement, ...]
    operators: Mapping[str, int]  # opcode -> how many more than before
    num_random: int
    num_data: int
    kernels: str  # "reference", "xnnpack", "builtin"; "" if nothing was run
    note: str = ""


LEAST_SNR_DB = 20.0  # a difference of a tenth: below it, warn about a rewrite's outputs


def warnings_of(certificate: Certificate) -> Iterator[str]:
    """Yield a warning, with a way to check, if outputs differ much from those before.

    With random inputs an output is often nearly empty (a mask without a person); then the ratio is
    one of rounding errors.
    """
    ratios = [each.snr_db for each in certificate.outputs if not each.identical]
    if all(ratio is not None and ratio >= LEAST_SNR_DB for ratio in ratios):
        return
    worst = min((each for each in ratios if each is not None), default=None)
    shown = "no signal to measure" if worst is None else f"SNR {worst:.1f} dB"
    if certificate.num_data:
        yield (
            f"the outputs differ from those before ({shown}), also on your {certificate.num_data} "
            "samples: compare the two models with edgekit evaluate NEW --data DATA --against OLD"
        )
    else:
        yield (
            f"the outputs differ from those before ({shown}), on random inputs only, which may "
            "leave an output nearly empty: measure it on real samples with --data DATA"
        )


class OutputComparison:
    """Running sums over the samples of one output."""

    def __init__(self, name: str, scale: float | None) -> None:
        self._name, self._scale = name, scale
        self._same = self._positions = 0
        self._signal = self._noise = self._largest = 0.0
        self._identical = True

    def add(self, before: NDArray[Any], after: NDArray[Any]) -> None:
        """Add the output of one sample, before and after: real values of equal shape or size."""
        if before.size == after.size and before.shape != after.shape:
            after = after.reshape(before.shape)
        if before.shape != after.shape:
            raise ValueError(f"{self._name}: shapes {before.shape} and {after.shape}")
        self._identical &= bool(np.array_equal(before, after))
        old, new = before.astype(np.float64), after.astype(np.float64)
        difference = np.abs(new - old)
        self._signal += float((old**2).sum())
        self._noise += float((difference**2).sum())
        self._largest = max(self._largest, float(difference.max()) if difference.size else 0.0)
        if old.ndim and old.shape[-1] > 1:
            same = old.argmax(-1) == new.argmax(-1)
            self._same += int(same.sum())
            self._positions += same.size

    def result(self) -> OutputAgreement:
        """Return the totals of all samples."""
        snr_db = None
        if self._noise and self._signal and np.isfinite(self._noise + self._signal):
            snr_db = float(10 * np.log10(self._signal / self._noise))
        step = None if self._scale is None else round(self._largest / self._scale, 3)
        return OutputAgreement(
            name=self._name,
            identical=self._identical,
            snr_db=snr_db,
            largest_difference=self._largest,
            largest_step=step,
            argmax=self._same / self._positions if self._positions else None,
        )
