# SPDX-License-Identifier: Apache-2.0
"""The result of `split`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgekit.result import Result


@dataclass(frozen=True)
class SplitTensor(Result):
    """An input or output tensor of head or tail."""

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
    """The two parts, and the tensors that go from one to the other.

    ``outputs`` names for each output of the model the part that computes it: ("tail", 0) is the
    first output of the tail. ``identical`` is measured; None if the model could not be run.
    """

    schema: ClassVar[str] = "edgekit.split/1"
    model: str
    sha256: str
    head: SplitPart
    tail: SplitPart | None  # None if there is nothing after the cut
    crossing: tuple[SplitTensor, ...]
    crossing_bytes: int
    macs_share: float | None  # of the head; None if nothing multiplies
    outputs: tuple[tuple[str, int], ...]
    identical: bool | None
    num_samples: int
    kernels: str
    note: str
