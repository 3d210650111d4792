# SPDX-License-Identifier: Apache-2.0
"""How far the converted model's answers are from the float model's, on the same samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.result import Result
from edgekit.runtime import Runner


@dataclass(frozen=True)
class Agreement(Result):
    """One entry an output, in the order of the outputs.

    ``argmax`` is the share of positions whose largest value along the last dimension is the same;
    None for an output with a single value there. ``snr_db`` is 10 log10 of the float output's power
    over the power of the difference; None if there is no difference, or no signal.
    """

    argmax: tuple[float | None, ...]
    snr_db: tuple[float | None, ...]


def measure_agreement(
    float_model: bytes, model: bytes, batches: Iterable[Sequence[NDArray[Any]]]
) -> Agreement:
    """Run both models on ``batches``, each in a thread of its own.

    Args:
        float_model: The .tflite before quantization.
        model: The .tflite after it.
        batches: Inputs in the shapes of the models, real values.
    """
    sums: list[_Sums] = []
    with (
        Runner(float_model) as float_runner,
        Runner(model) as runner,
        ThreadPoolExecutor(1) as pool,
    ):
        for arrays in batches:
            pending = pool.submit(float_runner.predict, *arrays)
            actual = runner.predict(*arrays)
            expected = pending.result()
            sums = sums or [_Sums() for _ in expected]
            for each, real, other in zip(sums, expected, actual, strict=True):
                each.add(np.asarray(real, np.float64), np.asarray(other, np.float64))
    return Agreement(tuple(each.argmax for each in sums), tuple(each.snr_db for each in sums))


class _Sums:
    """Running sums over the samples of one output."""

    def __init__(self) -> None:
        self._same = self._positions = 0
        self._signal = self._noise = 0.0

    def add(self, expected: NDArray[np.float64], actual: NDArray[np.float64]) -> None:
        self._signal += float((expected**2).sum())
        self._noise += float(((actual - expected) ** 2).sum())
        if expected.ndim and expected.shape[-1] > 1:
            same = expected.argmax(-1) == actual.argmax(-1)
            self._same += int(same.sum())
            self._positions += same.size

    @property
    def argmax(self) -> float | None:
        return self._same / self._positions if self._positions else None

    @property
    def snr_db(self) -> float | None:
        if not self._noise or not self._signal or not np.isfinite(self._noise + self._signal):
            return None
        return float(10 * np.log10(self._signal / self._noise))
