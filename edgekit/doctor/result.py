# SPDX-License-Identifier: Apache-2.0
"""What the doctor found: one result a check, and what follows from all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Mapping

from edgekit.doctor.machine import FAILED, WARNING
from edgekit.result import Result


@dataclass(frozen=True)
class CheckResult(Result):
    """One thing that was looked at."""

    code: str  # "usb.speed"
    status: str  # ok | warning | failed | not_applicable
    seen: str  # what is there
    why: str = ""  # what it means
    fix: str = ""  # the command that mends it; words where no command can
    concerns_cpu: bool = False  # it also matters where models run on the CPU


@dataclass(frozen=True)
class DoctorResult(Result):
    """What a machine has, what is broken, and the next command to type."""

    schema: ClassVar[str] = "edgekit.doctor/1"
    system: str
    board: str
    python: str
    checks: tuple[CheckResult, ...]
    edge_tpu_usable: bool
    cpu_usable: bool
    next_step: str  # the fix of the first failed check that matters; "" if nothing is to be done
    versions: Mapping[str, str]  # edgekit, the runtime, libedgetpu where known

    def with_status(self, status: str) -> tuple[CheckResult, ...]:
        """The checks that ended so."""
        return tuple(check for check in self.checks if check.status == status)


def next_step(checks: tuple[CheckResult, ...], *, cpu: bool) -> str:
    """The fix of the first check that failed, else of the first that warns.

    With ``cpu`` only what matters to the CPU counts.
    """
    mine = [check for check in checks if check.fix and (check.concerns_cpu or not cpu)]
    order = [check for status in (FAILED, WARNING) for check in mine if check.status == status]
    return order[0].fix if order else ""
