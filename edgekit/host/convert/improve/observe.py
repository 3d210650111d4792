# SPDX-License-Identifier: Apache-2.0
"""The values of inner tensors of a float network on the calibration samples, by channel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.formats.model_file import ModelFile
from edgekit.formats.tflite import Model
from edgekit.runtime import Runner

Values = NDArray[np.float64]


@dataclass
class ChannelRange:
    """The lowest and highest value of each channel (the last axis), and the mean square."""

    low: Values
    high: Values
    power: Values

    @property
    def reach(self) -> Values:
        """(channels,) the largest absolute value."""
        return np.maximum(self.high, -self.low)


class Observer:
    """Runs a float network on samples, and gathers the range of each channel of some tensors."""

    def __init__(self, model: Model, tensors: Sequence[int]) -> None:
        """Observe ``tensors``, by index; they are float activations of the main subgraph."""
        self._tensors = tuple(tensors)
        graph = replace(model.main, outputs=self._tensors)
        watched = replace(model, subgraphs=(graph, *model.subgraphs[1:]), signature_defs=())
        self._file = ModelFile.of(watched)
        self._count = 0
        self._ranges: dict[int, ChannelRange] = {}

    @property
    def ranges(self) -> dict[int, ChannelRange]:
        """The range of each tensor, by index."""
        return {
            index: replace(each, power=each.power / self._count)
            for index, each in self._ranges.items()
        }

    def watch(self, batches: Iterator[list[NDArray[Any]]]) -> Iterator[list[NDArray[Any]]]:
        """Yield ``batches`` unchanged, and run the network on each."""
        self._count, self._ranges = 0, {}
        with contextlib.ExitStack() as stack:
            runner = stack.enter_context(Runner(self._file)) if self._tensors else None
            for arrays in batches:
                yield arrays
                if runner is not None:
                    self._add(runner.invoke(*arrays))

    def _add(self, outputs: Sequence[NDArray[Any]]) -> None:
        self._count += 1
        for index, values in zip(self._tensors, outputs, strict=True):
            rows = values.reshape(-1, values.shape[-1])
            low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
            power = np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows)
            old = self._ranges.get(index)
            if old is not None:
                low, high = np.minimum(old.low, low), np.maximum(old.high, high)
                power = old.power + power
            self._ranges[index] = ChannelRange(low, high, power)
