# SPDX-License-Identifier: Apache-2.0
"""A data set whose samples are made in the worker's process, some of which harm it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.data.dataset import Batch, Sample


@dataclass
class Harmful:
    """Samples of a classifier with 4 classes; the one at ``place`` does ``harm`` when it is read.

    ``home`` is the process that must not be harmed: the one that runs the tests.
    """

    place: int
    harm: str  # "kill", "raise"
    num_samples: int = 300
    home: int = 0
    class_names: tuple[str, ...] = ()
    promised_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        self.home = self.home or os.getpid()
        self.unreadable: list[Any] = []
        self.label_rows = np.arange(self.num_samples) % 4

    def describe(self) -> dict[str, Any]:
        return {"kind": "test", "source": "harmful", "preprocess": "unit"}

    def chunk(self, start: int, stop: int) -> Batch:
        if start <= self.place < stop and os.getpid() != self.home:
            if self.harm == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError(f"sample {self.place} is poison")
        numbers = np.arange(start, stop)
        rows = np.eye(4, dtype=np.float32)[numbers % 4]
        labels = self.label_rows[start:stop].tolist()
        return Batch((rows,), labels, [f"sample {number}" for number in numbers])

    def __iter__(self) -> Iterator[Sample]:
        return iter(())


def other_versions() -> dict[str, str]:
    """Return versions of packages that differ in a worker, a child process, from the tests'."""
    return {"numpy": "1" if multiprocessing.parent_process() else "2", "pillow": "3"}
