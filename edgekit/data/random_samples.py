# SPDX-License-Identifier: Apache-2.0
"""Random samples: they show whether a network can be converted, but not how accurate it is."""

from __future__ import annotations

from typing import Any, Iterator, Sequence

import numpy as np

from edgekit.data.dataset import InputSpec, Sample, Unreadable
from edgekit.data.preprocess import Preprocess

RANDOM = "random"
_SEED = 1
_NUM_SAMPLES = 100


class RandomDataset:
    """Uniform random numbers over the range of the preprocessing (0 to 1 by default)."""

    def __init__(self, inputs: Sequence[InputSpec], preprocess: Preprocess) -> None:
        self._inputs, self._preprocess = tuple(inputs), preprocess
        self.unreadable: list[Unreadable] = []

    @property
    def num_samples(self) -> int | None:
        """Always 100."""
        return _NUM_SAMPLES

    @property
    def class_names(self) -> tuple[str, ...]:
        """Empty: these samples have no classes."""
        return ()

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The preprocessing's range."""
        return self._preprocess.promised_range

    def describe(self) -> dict[str, Any]:
        """Kind, source and preprocessing."""
        return {"kind": RANDOM, "source": RANDOM, "preprocess": str(self._preprocess)}

    def __iter__(self) -> Iterator[Sample]:
        random = np.random.default_rng(_SEED)
        low, high = self._preprocess.promised_range
        for index in range(_NUM_SAMPLES):
            arrays = (random.uniform(low, high, each.shape[1:]) for each in self._inputs)
            yield Sample(tuple(a.astype(np.float32) for a in arrays), None, f"{RANDOM}[{index}]")
