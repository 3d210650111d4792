# SPDX-License-Identifier: Apache-2.0
"""The doctor's results: one for each check, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Mapping

from edgekit.doctor.machine import FAILED, WARNING
from edgekit.result import Result


@dataclass(frozen=True)
class CheckResult(Result):
    """The result of one check."""

    code: str  # "usb.speed"
    status: str  # ok | warning | failed | not_applicable
    seen: str  # what the check found
    why: str = ""  # what it means
    fix: str = ""  # the command that fixes it; a sentence if no command can
    concerns_cpu: bool = False  # whether it also matters if models run on the CPU


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
    next_step: str  # the fix of the first failed check that matters; "" if there is none
    versions: Mapping[str, str]  # of edgekit, the runtime and libedgetpu, if known

    def with_status(self, status: str) -> tuple[CheckResult, ...]:
        """Return the checks with this status."""
        return tuple(check for check in self.checks if check.status == status)


def next_step(checks: tuple[CheckResult, ...], *, cpu: bool) -> str:
    """Return the fix of the first check that failed, else of the first that warns.

    With ``cpu``, only checks that matter on the CPU count.
    """
    mine = [check for check in checks if check.fix and (check.concerns_cpu or not cpu)]
    order = [check for status in (FAILED, WARNING) for check in mine if check.status == status]
    return order[0].fix if order else ""
