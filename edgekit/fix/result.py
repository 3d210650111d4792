# SPDX-License-Identifier: Apache-2.0
"""The result of `fix`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Mapping

from edgekit.fix.certificate import Certificate
from edgekit.result import Result


@dataclass(frozen=True)
class FixResult(Result):
    """The rewrites, and the difference between the new model and the old one."""

    schema: ClassVar[str] = "edgekit.fix/1"
    model: str
    sha256: str
    output: str
    output_sha256: str
    changed: bool
    certificates: tuple[Certificate, ...]  # of the accepted rewrites, in order
    whole: Certificate | None  # the old model compared with the new one; None if nothing changed
    rejected: tuple[Certificate, ...]  # of exact rules whose outputs differed; not applied
    operators_before: Mapping[str, int]
    operators_after: Mapping[str, int]
    mapped_before: int  # operators that map; 0 if the compiler would refuse the file
    mapped_after: int
    runtime: str
    versions: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    # Middle of the estimated latency on a USB Accelerator; None if the compiler would refuse the
    # file, or it contains only real numbers.
    estimated_ms_before: float | None = None
    estimated_ms_after: float | None = None
