# SPDX-License-Identifier: Apache-2.0
"""What `serve` says when it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.result import Result


@dataclass(frozen=True)
class Served(Result):
    """One model of a server."""

    name: str  # in the addresses of the API
    task: str
    device: str
    sha256: str


@dataclass(frozen=True)
class ServeResult(Result):
    """A server that listens."""

    schema: ClassVar[str] = "edgekit.serve/1"
    address: str  # of the page; the token is behind its #
    models: tuple[Served, ...]
    warnings: tuple[str, ...] = ()
