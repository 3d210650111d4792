# SPDX-License-Identifier: Apache-2.0
"""How regular a network's answers are: how well the answers to other samples predict each of them.

A network that was trained on noisy targets, or that is not exact, has answers which vary by its own
error from one sample to the next, and nothing predicts that part. If an int8 model differs by less,
its error is lost in that of the float model. If other samples predict the answers better than the
int8 model returns them, the float model may be exact, and the difference is a loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SAMPLES = 64  # fewer do not predict an answer, regular or not
MOST_SAMPLES = 256
MOST_INPUTS = 4096  # numbers of each input: others of a picture are close to these
# Of the kernel: how far a sample's answer reaches, in medians of the squared distance between two
# samples, and the power of what is not predicted, in that of the answers.
_REACHES = (0.3, 1.0, 3.0, 10.0)
_RIDGES = (1e-6, 1e-4, 1e-2, 1e-1)


def unpredicted(inputs: NDArray[np.floating], answers: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean absolute part of each answer that the other samples do not predict.

    The prediction of a sample is that of a ridge regression, with a constant, a linear and a
    Gaussian kernel, from all other samples; of 16 such regressions the best one counts.

    Args:
        inputs: (samples, inputs) what the network is given.
        answers: (samples, answers) what it returns.

    Returns:
        (answers,) in the unit of the answers.

    Source:
        Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 5.4.2: all
        errors of leaving one sample out, from one inverse.
    """
    deviation = inputs.std(axis=0)
    columns = deviation > 0
    scaled = (inputs[:, columns] - inputs[:, columns].mean(axis=0)) / deviation[columns]
    products = (scaled @ scaled.T).astype(np.float64)
    powers = np.diag(products)
    distances = np.maximum(powers[:, None] + powers - 2 * products, 0.0)
    apart = distances[distances > 0]
    unit = float(np.median(apart)) if apart.size else 1.0
    fixed = 1.0 + products / max(1, scaled.shape[1])
    size = answers.std(axis=0)
    centred = (answers - answers.mean(axis=0)) / np.where(size > 0, size, 1.0)
    best = np.full(answers.shape[1], np.inf)
    for reach in _REACHES:
        values, vectors = np.linalg.eigh(fixed + np.exp(-distances / (reach * unit)))
        turned = vectors.T @ centred
        for ridge in _RIDGES:
            inverse = 1.0 / (np.maximum(values, 0.0) + ridge)
            errors = (vectors @ (inverse[:, None] * turned)) / (vectors**2 @ inverse)[:, None]
            best = np.minimum(best, np.abs(errors).mean(axis=0))
    found: NDArray[np.float64] = best * size
    return found


def thinned(inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return (samples, numbers) of each input: `MOST_INPUTS` numbers from all over it, or all."""
    rows = [np.asarray(each) for each in inputs]
    flat = [each.reshape(len(each) if each.ndim else 1, -1) for each in rows]
    return [
        each[:, np.linspace(0, each.shape[1] - 1, MOST_INPUTS).astype(int)]
        if each.shape[1] > MOST_INPUTS
        else each
        for each in flat
    ]


class Regularity:
    """Gathers samples, to compare a model's errors with what other samples do not predict."""

    def __init__(self) -> None:
        """Begin without samples."""
        self._rows: list[tuple[NDArray[np.float32], ...]] = []  # inputs, expected, actual
        self._count = 0

    def add(
        self,
        inputs: NDArray[np.floating],
        expected: NDArray[np.floating],
        actual: NDArray[np.floating],
    ) -> None:
        """Add samples: rows of what a network is given, of the reference's answers and the model's.

        Those with NaN or infinity and those beyond `MOST_SAMPLES` are left out.
        """
        rows = [np.asarray(each, np.float32) for each in (inputs, expected, actual)]
        finite = np.logical_and.reduce([np.isfinite(each).all(axis=1) for each in rows])
        kept = np.flatnonzero(finite)[: MOST_SAMPLES - self._count]
        self._count += len(kept)
        self._rows.append(tuple(each[kept] for each in rows))

    def ratio(self) -> float | None:
        """Return what the other samples do not predict of the reference, by the model's error.

        Of several answers, the lowest ratio counts. None with too few samples, or if no answer
        varies.
        """
        if self._count < LEAST_SAMPLES:
            return None
        inputs, expected, actual = (
            np.concatenate(each).astype(np.float64) for each in zip(*self._rows)
        )
        errors = np.abs(actual - expected).mean(axis=0)
        varies = (errors > 0) & (np.ptp(expected, axis=0) > 0)
        if not varies.any():
            return None
        return float((unpredicted(inputs, expected[:, varies]) / errors[varies]).min())
