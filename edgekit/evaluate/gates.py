# SPDX-License-Identifier: Apache-2.0
"""How close a model must be to the one that it is compared with, often its float original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator

from edgekit.errors import GateError, UsageError

if TYPE_CHECKING:
    from edgekit.evaluate.outputs import Agreement


@dataclass(frozen=True)
class Gates:
    """The gates; None for a gate that is not set."""

    min_agreement: float | None = None  # a share
    min_snr_db: float | None = None  # of every output, about each element's mean

    def __post_init__(self) -> None:
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise UsageError(
                f"--min-agreement is {self.min_agreement:g}",
                fix="give a share from 0 to 1: 0.95 is 95 %",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The options that are set."""
        given = {"--min-agreement": self.min_agreement, "--min-snr-db": self.min_snr_db}
        return tuple(name for name, value in given.items() if value is not None)

    def check(self, agreement: Agreement, where: str) -> None:
        """Check the gates; ``where`` names the model.

        Raises:
            GateError: A gate is not met, or nothing was measured for it.
        """
        failures = list(self.failures(agreement))
        if not failures:
            return
        causes = agreement.causes
        raise GateError(
            "; ".join(failures),
            where=where,
            why="; ".join([*(f.text for f in agreement.findings), *(c.text for c in causes)]),
            fix=f"{causes[0].fix if causes else 'lower the gate'}; without "
            f"{' and '.join(self.names)} the model is written anyway",
        )

    def failures(self, agreement: Agreement) -> Iterator[str]:
        """Yield for each gate that is not met what was measured."""
        if self.min_agreement is not None:
            share = agreement.share
            if share is None:
                yield (
                    f"--min-agreement {self.min_agreement:g}: no output contains classes, scores, "
                    "masks or objects to count; --min-snr-db judges any output"
                )
            elif share < self.min_agreement:
                yield f"agreement {share:.4f}, --min-agreement is {self.min_agreement:g}"
        for output in agreement.outputs if self.min_snr_db is not None else ():
            ratio = output.record.centred_snr_db
            if output.record.identical or self.min_snr_db is None:
                continue
            if ratio is None or ratio < self.min_snr_db:
                shown = "no signal" if ratio is None else f"{ratio:.2f} dB"
                yield f"{output.record.name}: {shown}, --min-snr-db is {self.min_snr_db:g}"
