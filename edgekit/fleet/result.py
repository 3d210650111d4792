# SPDX-License-Identifier: Apache-2.0
"""What became of a deployment: one result a board, the error of one that failed inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgekit.errors import ExternalToolError
from edgekit.result import Result

Document = Mapping[str, Any]  # what a command printed with --json, as it is


@dataclass(frozen=True)
class CopyStats(Result):
    """What a deployment's copying came to, all attempts of this run together."""

    files: int  # the bundle, the data, the wheels
    files_same: int  # were there already
    bytes: int
    sent_bytes: int  # crossed the network in this run
    resumed_bytes: int  # had crossed it in an interrupted one
    reused_bytes: int  # were in the version that was there before


@dataclass(frozen=True)
class BoardResult(Result):
    """One board. What was not reached, or not asked for, is empty or None."""

    board: str  # as it was named
    state: str = "failed"  # deployed | failed
    exit_status: int = 0
    machine: str = ""  # aarch64, armv7l, x86_64
    python: str = ""  # the path of the Python that has edgekit
    python_version: str = ""
    edgekit: str = ""  # its version there
    installed: bool = False  # by this run
    path: str = ""  # of the bundle, there
    copied: CopyStats | None = None
    reconnects: int = 0
    device: str = ""  # what --device came to
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

    @property
    def exit_status(self) -> int:
        """0 if every board has the bundle and did what was asked, else the highest status."""
        return max(board.exit_status for board in self.boards)


class BoardError(ExternalToolError):
    """A board was reached and something failed there."""

    def __init__(
        self, what: str, *, code: str, where: str = "", why: str = "", fix: str = ""
    ) -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.code = code


class RemoteError(BoardError):
    """An error that edgekit on the board reported itself, with the status that it ended with."""

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
