# SPDX-License-Identifier: Apache-2.0
"""A data set whose samples are made in the worker's process, some of which harm it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def process_and_folder(dask_worker: Any) -> tuple[int, str]:  # noqa: ANN401
    """Return the process and the folder of the worker that runs this; Dask gives the argument."""
    return os.getpid(), dask_worker.local_directory


def deadly_five(number: int) -> int:
    """Return the square of ``number``; 5 ends a worker's process."""
    if number == 5 and multiprocessing.parent_process():
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


class DeadlyRows:
    """Calibration samples: a worker that reads row ``deadly`` dies."""

    def __init__(self, rows: NDArray[Any], deadly: int) -> None:
        self.rows, self.deadly = rows, deadly
        self.num_samples = len(rows)
        self.class_names: tuple[str, ...] = ()
        self.promised_range: tuple[float, float] | None = None
        self.unreadable: list[Any] = []
        self.classes = None
        self.may_reorder = True

    def describe(self) -> dict[str, Any]:
        return {"kind": "test", "source": "deadly", "preprocess": "unit"}

    def chunk(self, start: int, stop: int) -> Batch:
        rows = self.rows[start:stop]
        return Batch((rows,), [None] * len(rows), [f"row {i}" for i in range(start, stop)])

    def subset(self, indices: Sequence[int]) -> DeadlyRows:
        if list(indices) == [self.deadly] and multiprocessing.parent_process():
            os.kill(os.getpid(), signal.SIGKILL)
        return DeadlyRows(self.rows[list(indices)], self.deadly)

    def __iter__(self) -> Iterator[Sample]:
        return (Sample((row,), None, f"row {i}") for i, row in enumerate(self.rows))
