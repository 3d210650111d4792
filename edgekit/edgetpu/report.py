# SPDX-License-Identifier: Apache-2.0
"""The result of `edgekit check`: verdicts, the first blocker, memory, crossings, issues."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, Sequence

from edgekit.edgetpu.activations import Activations, Crossings
from edgekit.edgetpu.blocker import Blocker
from edgekit.edgetpu.chip import ACTIVATION_BYTES, PARAMETER_CACHE_BYTES
from edgekit.edgetpu.issues import Issue
from edgekit.edgetpu.limits import TPU, UNKNOWN
from edgekit.edgetpu.support import OperatorVerdict
from edgekit.errors import GateError
from edgekit.result import Result

NOT_KNOWN = "Not known: see the rule"


@dataclass(frozen=True)
class StatusCount(Result):
    """A row of the compiler's table."""

    opcode: str
    count: int
    status: str


@dataclass(frozen=True)
class CheckReport(Result):
    """Which operators of one model map to the Edge TPU; ``edgekit.check/1``."""

    schema: ClassVar[str] = "edgekit.check/1"
    model: str
    sha256: str
    bytes: int
    converted_from: str | None  # the float or Keras source, where ``model`` is its conversion
    notes: tuple[str, ...]  # how that conversion was made
    target: int  # runtime version
    refused: bool  # the compiler refuses the whole file
    operators: tuple[OperatorVerdict, ...]
    num_operators: int
    num_mapped: int
    num_unknown: int
    num_mapped_if_read: int  # num_mapped if the compiler accepted the file
    macs: int  # of one inference
    mapped_macs: int
    first_blocker: int | None
    blocker: Blocker | None
    on_chip_bytes: int  # parameters kept on the chip
    streamed_bytes: int  # parameters sent with every inference
    cache_bytes: int  # approximate room for parameters on the chip
    parameters_exact: bool  # whether compiled models confirm the formulas of all layers to the byte
    activations: Activations
    activation_bytes: int  # room for activations on the chip
    crossings: Crossings
    table: tuple[StatusCount, ...]  # the compiler's Operator, Count, Status
    issues: tuple[Issue, ...]

    @property
    def mapped_macs_share(self) -> float | None:
        """Mapped multiply-accumulates divided by all; None for a model without any."""
        return self.mapped_macs / self.macs if self.macs else None

    @property
    def mapped_share(self) -> float:
        """Mapped operators divided by all."""
        return self.num_mapped / self.num_operators if self.num_operators else 0.0

    def json_fields(self) -> dict[str, Any]:
        """The fields, and the shares ``mapped_share`` and ``mapped_macs_share``."""
        shares = {"mapped_share": self.mapped_share, "mapped_macs_share": self.mapped_macs_share}
        return {**super().json_fields(), **shares}


@dataclass(frozen=True)
class CheckReports(Result):
    """Several models, in the given order; ``edgekit.checks/1``."""

    schema: ClassVar[str] = "edgekit.checks/1"
    models: tuple[CheckReport, ...]


class NotMappedError(GateError):
    """Too few operators of a model map; ``result`` is the report."""

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.result: Result | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return `edgekit.error/1` with the whole report as ``result``."""
        result = self.result.to_dict() if self.result is not None else None
        return {**super().to_dict(), "result": result}


def count_statuses(verdicts: tuple[OperatorVerdict, ...]) -> tuple[StatusCount, ...]:
    """Return the compiler's table: a row for each operator and status, mapped ones first."""
    counts = Counter((each.opcode, _status(each)) for each in verdicts)
    mapped = {_status(each) for each in verdicts if each.verdict == TPU}
    rows = sorted(counts.items(), key=lambda item: (item[0][1] not in mapped, item[0]))
    return tuple(StatusCount(opcode, number, status) for (opcode, status), number in rows)


def require_mapped(reports: Sequence[CheckReport], share: float) -> None:
    """Check that enough operators map.

    Args:
        reports: The reports of one or more models.
        share: The smallest allowed share of mapped operators, 0 to 1; unknown ones do not count.

    Raises:
        NotMappedError: A smaller share maps in one of them.
    """
    failed = [report for report in reports if report.mapped_share < share]
    if not failed:
        return
    first = failed[0]
    blocker = first.blocker
    errors = [issue for issue in first.issues if issue.severity == "error"]
    why = f"operator {blocker.index} {blocker.opcode}: {blocker.reason}" if blocker else ""
    fix = blocker.fix if blocker else ""
    others = f"; and too few of {len(failed) - 1} more" if len(failed) > 1 else ""
    error = NotMappedError(
        f"{first.num_mapped} of {first.num_operators} operators map ({first.mapped_share:.1%}), "
        f"--min-mapped requires {share:.1%}{others}",
        where=first.model,
        why=str(errors[0]) if errors else why,
        fix=errors[0].fix if errors else fix,
    )
    error.result = reports[0] if len(reports) == 1 else CheckReports(tuple(reports))
    raise error


def _status(verdict: OperatorVerdict) -> str:
    return NOT_KNOWN if verdict.verdict == UNKNOWN else verdict.status


def refused_report(name: str, target: int, issues: tuple[Issue, ...]) -> CheckReport:
    """Return the report on a network that cannot become a .tflite: it contains only the issues."""
    return CheckReport(
        model=name,
        sha256="",
        bytes=0,
        converted_from=None,
        notes=(),
        target=target,
        refused=True,
        operators=(),
        num_operators=0,
        num_mapped=0,
        num_unknown=0,
        num_mapped_if_read=0,
        macs=0,
        mapped_macs=0,
        first_blocker=None,
        blocker=None,
        on_chip_bytes=0,
        streamed_bytes=0,
        cache_bytes=PARAMETER_CACHE_BYTES,
        parameters_exact=True,
        activations=Activations(0, None, 0, 0, 0),
        activation_bytes=ACTIVATION_BYTES,
        crossings=Crossings(0, 0, 0, 0),
        table=(),
        issues=issues,
    )
