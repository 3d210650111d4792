# SPDX-License-Identifier: Apache-2.0
"""What `fix` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Mapping

from edgekit.fix.certificate import Certificate
from edgekit.result import Result


@dataclass(frozen=True)
class FixResult(Result):
    """What was rewritten, and how far the new model is from the old one."""

    schema: ClassVar[str] = "edgekit.fix/1"
    model: str
    sha256: str
    output: str
    output_sha256: str
    changed: bool
    certificates: tuple[Certificate, ...]  # of the rewrites taken, in their order
    whole: Certificate | None  # the old model against the new one; None if nothing changed
    rejected: tuple[Certificate, ...]  # promised equal outputs and did not keep it; not taken
    operators_before: Mapping[str, int]
    operators_after: Mapping[str, int]
    mapped_before: int  # operators promised to map; 0 where the compiler would refuse the file
    mapped_after: int
    runtime: str
    versions: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    # Middle of the estimated latency on a USB Accelerator; None where the compiler would refuse
    # the file, or it holds real numbers only.
    estimated_ms_before: float | None = None
    estimated_ms_after: float | None = None
