# SPDX-License-Identifier: Apache-2.0
"""The outcome of a deployment: one result for each board, with its error if it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgekit.errors import ExternalToolError
from edgekit.evaluate.result import EvaluateResult
from edgekit.result import Result

Document = Mapping[str, Any]  # the unchanged output of a command with --json


@dataclass(frozen=True)
class CopyStats(Result):
    """What a deployment copied, in all attempts of this run together."""

    files: int  # the bundle, the data, the wheels
    files_same: int  # files that were already there
    bytes: int
    sent_bytes: int  # sent over the network in this run
    resumed_bytes: int  # sent earlier, in an interrupted run
    reused_bytes: int  # taken from the version that was there before


@dataclass(frozen=True)
class BoardResult(Result):
    """One board. Steps that were not reached, or not requested, are empty or None."""

    board: str  # as the user named it
    state: str = "failed"  # deployed | failed
    exit_status: int = 0
    machine: str = ""  # aarch64, armv7l, x86_64
    python: str = ""  # the path of the Python that has edgekit
    python_version: str = ""
    edgekit: str = ""  # the version of edgekit there
    installed: bool = False  # whether this run installed it
    path: str = ""  # the bundle's path there
    copied: CopyStats | None = None
    reconnects: int = 0
    device: str = ""  # the device that was used
    doctor: Document | None = None  # edgekit.doctor/1
    evaluate: Document | None = None  # edgekit.evaluate/1
    benchmark: Document | None = None  # edgekit.benchmark/1
    error: Document | None = None  # edgekit.error/1
    time_s: float = 0.0


@dataclass(frozen=True)
class DeployResult(Result):
    """A bundle on its boards, in the order in which they were named."""

    schema: ClassVar[str] = "edgekit.deploy/2"
    bundle: str
    sha256: str  # of the plain model in the bundle
    bundle_sha256: str
    boards: tuple[BoardResult, ...]
    # Of the whole data, if each board evaluated a part; None otherwise, or if a part is missing.
    evaluate: EvaluateResult | None = None

    @property
    def exit_status(self) -> int:
        """0 if every board has the bundle and finished all steps, else the highest status."""
        return max(board.exit_status for board in self.boards)


class BoardError(ExternalToolError):
    """A board was reached, but a step failed there."""

    def __init__(
        self, what: str, *, code: str, where: str = "", why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.code = code


class RemoteError(BoardError):
    """An error that edgekit on the board reported, with its exit status."""

    def __init__(self, document: Document, status: int, board: str) -> None:
        where = ", ".join(part for part in (board, document.get("where", "")) if part)
        super().__init__(
            str(document["what"]),
            code=str(document["code"]),
            where=where,
            why=str(document.get("why", "")),
            fix=str(document.get("fix", "")),
        )
        self.status = status
