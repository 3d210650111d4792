# SPDX-License-Identifier: Apache-2.0
"""Parts of the small networks that try the verdict: data, layers, faults, and scores.

`scripts/blind_test.py` converts the networks of `blind_networks` and its successors. Each has a
score that is computed from the true answers of samples that were not used in training, and some
are calibrated or changed in a way that harms int8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]
Outputs = Sequence[NDArray[Any]]
ACCURACY, SHARE, ERROR = "accuracy", "share", "error"
NUM_HELD_OUT = 600
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CLASSES = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Scoring:
    """How answers are scored by the true ones."""

    kind: str  # accuracy, share (F1, IoU) or error
    of: Callable[[Outputs], float]
    guess: float  # the score of the best constant answer

    @classmethod
    def accuracy(cls, truth: NDArray[Any], of: Callable[[Outputs], float] | None = None) -> Scoring:
        """Score classes: the share of right ones; ``of`` replaces the largest value's place."""

        def share(out: Outputs) -> float:
            return float(np.mean(out[0].reshape(len(truth), -1).argmax(1) == truth))

        return cls(ACCURACY, of or share, float(np.bincount(truth).max() / len(truth)))

    @classmethod
    def error(cls, truth: NDArray[Any], deviation: Any = 1.0) -> Scoring:  # noqa: ANN401
        """Score numbers: the mean absolute error, divided by ``deviation``."""

        def mean(out: NDArray[Any]) -> float:
            return float(np.mean(np.abs(out.reshape(truth.shape) - truth) / deviation))

        return cls(ERROR, lambda out: mean(out[0]), mean(np.median(truth, 0) + 0 * truth))

    @classmethod
    def share(cls, of: Callable[[Outputs], float]) -> Scoring:
        """Score objects or masks by ``of``; a constant answer finds none."""
        return cls(SHARE, of, 0.0)


@dataclass(frozen=True)
class Network:
    """A trained network, its calibration samples, and how its answers are scored."""

    name: str
    task: str
    model: Any
    calibration: dict[str, Array]  # by input name
    held_out: dict[str, Array]
    scoring: Scoring
    num_samples: int = 100

    @classmethod
    def of(cls, name: str, task: str, model: Any, samples: Any, scoring: Scoring) -> Network:  # noqa: ANN401
        """Return a network; ``samples`` to calibrate and held-out ones, as arrays or by name."""
        used, others = (each if isinstance(each, dict) else {"x": each} for each in samples)
        return cls(name, task, model, used, others, scoring)

    def calibrated(self, name: str, how: str, change: Callable[[Array], NDArray[Any]]) -> Network:
        """Return the same network, calibrated on other samples."""
        changed = {key: change(each).astype(np.float32) for key, each in self.calibration.items()}
        return replace(self, name=name, task=f"{self.task}; {how}", calibration=changed)

    def changed(
        self, name: str, how: str, change: Callable[[dict[str, list[Array]]], None]
    ) -> Network:
        """Return the same network with weights that ``change`` edits in place, by layer name."""
        model = with_weights(self.model, change)
        return replace(self, name=name, task=f"{self.task}; {how}", model=model)


class Corpus:
    """The data that the networks are trained on."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self.seed = folder, seed
        self.rng = np.random.default_rng(seed)

    @lru_cache(maxsize=1)  # noqa: B019 - there is one corpus
    def _mnist(self) -> tuple[NDArray[Any], ...]:
        with np.load(self._folder / "mnist" / "mnist.npz") as data:
            return tuple(data[key] for key in ("x_train", "y_train", "x_test", "y_test"))

    def digits(self, train: int, test: int) -> tuple[Array, NDArray[Any], Array, NDArray[Any]]:
        """Return digits of 28 x 28 x 1 in 0..1 and their classes, to train and to test."""
        x, y, x_test, y_test = self._mnist()
        some = self.rng.choice(len(x), train, replace=False)
        others = self.rng.choice(len(x_test), test, replace=False)
        pictures = [
            (each[..., None] / 255).astype(np.float32) for each in (x[some], x_test[others])
        ]
        return pictures[0], y[some].astype(int), pictures[1], y_test[others].astype(int)

    @lru_cache(maxsize=2)  # noqa: B019
    def photographs(self, size: int, count: int) -> tuple[Array, Array]:
        """Return square crops in 0..1, to train and to test: of different photographs."""
        files = sorted((self._folder / "imagenet").rglob("*.jpg"))
        return self._crops(files[50:], size, count), self._crops(files[:50], size, NUM_HELD_OUT)

    def _crops(self, files: Sequence[Path], size: int, count: int) -> Array:
        found = []
        for number in range(count):
            with Image.open(files[number % len(files)]) as image:
                image.draft("RGB", (160, 160))
                small = image.convert("RGB").resize((96, 96))
            pixels = np.asarray(small, np.float32) / 255
            row, column = self.rng.integers(0, 96 - size + 1, 2)
            found.append(pixels[row : row + size, column : column + size])
        return np.stack(found)


def f1(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the F1 of what is found: 2 * hits / (found + true)."""
    return float(2 * (found & truth).sum() / max(1, found.sum() + truth.sum()))


def iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks."""
    return float((found & truth).sum() / max(1, (found | truth).sum()))


def fit(model: Any, x: Any, y: Any, loss: Any, epochs: int, rate: float = 2e-3) -> Any:  # noqa: ANN401
    """Train ``model`` with Adam, and return it."""
    model.compile(keras.optimizers.Adam(rate), loss=loss)
    model.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    return model


def convolution(x: Any, width: int, step: int = 1, size: int = 3, rate: int = 1) -> Any:  # noqa: ANN401
    """Apply a convolution, a batch normalization and a ReLU."""
    x = layers.Conv2D(
        width, size, strides=step, padding="same", dilation_rate=rate, use_bias=False
    )(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def spoiled(values: Array) -> Array:
    """200 samples, of which one is 60 times larger: a fault of the sensor."""
    some = values[:200].copy()
    some[123] *= 60
    return some


def with_weights(model: Any, change: Callable[[dict[str, list[Array]]], None]) -> Any:  # noqa: ANN401
    """Return a copy of ``model`` with weights that ``change`` edits in place, by layer name."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    weights = {each.name: each.get_weights() for each in copy.layers if each.get_weights()}
    change(weights)
    for name, values in weights.items():
        copy.get_layer(name).set_weights(values)
    return copy


def uneven(rng: np.random.Generator, most: float, count: int) -> Array:
    """Return factors of 1 to ``most`` for channels, evenly spread in logarithms."""
    return np.exp(rng.uniform(0, np.log(most), count)).astype(np.float32)


def unequal(
    corpus: Corpus, most: float, name: str, after: str
) -> Callable[[dict[str, list[Array]]], None]:
    """Return a change of weights: scale a layer's channels, and undo it in the next layer."""

    def change(weights: dict[str, list[Array]]) -> None:
        factors = uneven(corpus.rng, most, weights[name][0].shape[-1])
        weights[name] = [each * factors for each in weights[name]]
        weights[after][0] /= factors[:, None]

    return change


def calibrated_on_few(good: Network, number: int) -> Network:
    """Return the same network, calibrated on ``number`` samples."""
    name, task = f"{good.name}_{number}", f"{good.task}; calibrated on {number} samples"
    return replace(good, name=name, task=task, num_samples=number)


def calibrated_on(good: Network, name: str, how: str, samples: NDArray[Any]) -> Network:
    """Return the same network, calibrated on ``samples``."""
    used = {"x": samples.astype(np.float32)}
    return replace(good, name=name, task=f"{good.task}; {how}", calibration=used)


def made(
    corpus: Corpus, makers: Sequence[Callable[[Corpus], Iterator[Network]]]
) -> Iterator[Network]:
    """Train and yield all networks; each maker yields the good one first."""
    for number, make in enumerate(makers):
        keras.utils.set_random_seed(corpus.seed + number)
        corpus.rng = np.random.default_rng((corpus.seed, number))  # so that each can be made alone
        yield from make(corpus)
        keras.backend.clear_session()
