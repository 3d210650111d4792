# SPDX-License-Identifier: Apache-2.0
"""The result of `build`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.result import Result

DONE, KEPT, NOT_DONE = "done", "kept", "not done"


@dataclass(frozen=True)
class BuildStep(Result):
    """One step of a build."""

    name: str
    status: str  # done | kept: nothing changed since it was done | not done
    says: str  # its result in a line; why, if it is not done
    time_s: float  # of a kept step: what it took when it was done
    outputs: tuple[str, ...]  # files in the folder
    fix: str = ""  # of a step that is not done: what would change that


@dataclass(frozen=True)
class BuildResult(Result):
    """A finished build."""

    schema: ClassVar[str] = "edgekit.building/1"
    folder: str
    source: str
    again: str  # the command that repeats the build
    steps: tuple[BuildStep, ...]
    failures: tuple[str, ...]  # gates that are not met
    warnings: tuple[str, ...]  # of all steps
    time_s: float
