# SPDX-License-Identifier: Apache-2.0
"""What `split` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.result import Result


@dataclass(frozen=True)
class SplitTensor(Result):
    """A tensor at an end of head or tail."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class SplitPart(Result):
    """Head or tail."""

    path: str
    sha256: str
    num_operators: int
    num_mapped: int
    macs: int
    inputs: tuple[SplitTensor, ...]
    outputs: tuple[SplitTensor, ...]


@dataclass(frozen=True)
class SplitResult(Result):
    """The two parts, and what goes from one to the other.

    ``outputs`` says for each output of the model which part makes it: ("tail", 0) is the first
    output of the tail. ``identical`` is measured; None where the model could not be run.
    """

    schema: ClassVar[str] = "edgekit.split/1"
    model: str
    sha256: str
    head: SplitPart
    tail: SplitPart | None  # None where nothing is left for it
    crossing: tuple[SplitTensor, ...]
    crossing_bytes: int
    macs_share: float | None  # of the head; None where nothing multiplies
    outputs: tuple[tuple[str, int], ...]
    identical: bool | None
    num_samples: int
    kernels: str
    note: str
