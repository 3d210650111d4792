# SPDX-License-Identifier: Apache-2.0
"""The evidence for a rewrite: outputs before and after, on the same inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Mapping

from edgekit.result import Result

if TYPE_CHECKING:
    from edgekit.runtime.agreement import OutputDifference


@dataclass(frozen=True)
class Certificate(Result):
    """A rewrite, and the difference between its outputs and those before it.

    ``identical`` is measured: whether every output was equal bit for bit. It is None if nothing
    could be run; ``note`` then contains the reason.
    """

    rule: str
    exact_by_construction: bool
    identical: bool | None
    outputs: tuple[OutputDifference, ...]  # steps are those of the output before
    operators: Mapping[str, int]  # opcode -> how many more than before
    num_random: int
    num_data: int
    kernels: str  # "reference", "xnnpack", "builtin"; "" if nothing was run
    note: str = ""
    # On a USB Accelerator, by formulas; None for a model of real numbers.
    estimated_ms_before: float | None = None
    estimated_ms_after: float | None = None


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
