# SPDX-License-Identifier: Apache-2.0
"""A seventh set of small networks to try the verdict on: exact regressions, and other answers.

Made after an error of 3 to 10 % of a target's variation became `not shown` without labels. None of
these kinds was in an earlier set: exact functions of a table, codes, ordered thresholds, a label
for each step of a series, edges, frames of a film, a grid of letters, a mixture of densities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from scripts.blind_parts import (
    CLASSES,
    LOGITS,
    NUM_HELD_OUT,
    Array,
    Corpus,
    Network,
    Outputs,
    Scoring,
    calibrated_on,
    calibrated_on_few,
    convolution,
    f1,
    fit,
    spoiled,
    unequal,
)

SEED = 71207


def _arm(corpus: Corpus) -> Iterator[Network]:
    """Where an arm of two joints ends: exact, without noise, tanh."""

    def make(count: int) -> tuple[Array, Array]:
        angles = corpus.rng.uniform(-1.5, 1.5, (count, 2))
        both = angles.sum(axis=1)
        x = 2 * np.cos(angles[:, 0]) + np.cos(both)
        y = 2 * np.sin(angles[:, 0]) + np.sin(both)
        return angles.astype(np.float32), np.stack([x, y], axis=1).astype(np.float32)

    (x, y), (x_test, y_test) = make(8000), make(NUM_HELD_OUT)
    row = keras.Input((2,))
    hidden = layers.Dense(48, activation="tanh", name="first")(row)
    hidden = layers.Dense(48, activation="tanh", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(2)(hidden)), x, y, "mse", 40)
    good = Network.of("arm", "end of an arm, exact", model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("arm_degrees", "calibrated on degrees", lambda v: v * 57.3)
    yield calibrated_on(good, "arm_up", "calibrated on raised arms", x[(x > 0.3).all(axis=1)])


def _loan(corpus: Corpus) -> Iterator[Network]:
    """The rate of a loan by a table with noise: the float model itself is far from exact."""

    def make(count: int) -> tuple[Array, Array]:
        table = corpus.rng.normal(0, 1, (count, 8))
        rate = table[:, 0] - 0.7 * table[:, 1] + 0.5 * table[:, 2] * table[:, 3]
        noisy = rate + corpus.rng.normal(0, 0.8, count)
        return table.astype(np.float32), noisy[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    row = keras.Input((8,))
    hidden = layers.Dense(32, use_bias=False, name="first")(row)
    hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(hidden))
    hidden = layers.Dense(16, activation="relu", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(1)(hidden)), x, y, "mse", 10)
    good = Network.of("loan", "rate of a loan, noisy", model, (x, x_test), Scoring.error(y_test))
    yield good
    yield calibrated_on_few(good, 40)
    yield calibrated_on(good, "loan_spoiled", "one of 200 samples 60 times larger", spoiled(x))
    yield good.calibrated("loan_weak", "calibrated at 0.1 of the values", lambda v: v * 0.1)


def _hash(corpus: Corpus) -> Iterator[Network]:
    """A code of 12 numbers by tanh, whose nearest class centre is the digit."""
    x, y, x_test, y_test = corpus.digits(6000, NUM_HELD_OUT)
    codes = np.sign(corpus.rng.normal(size=(10, 12))).astype(np.float32)
    image = keras.Input((28, 28, 1))
    hidden = convolution(layers.ZeroPadding2D(2)(image), 12, 2, 5)
    hidden = convolution(hidden, 24, 2)
    hidden = layers.GlobalAveragePooling2D()(convolution(hidden, 32))
    model = fit(
        keras.Model(image, layers.Dense(12, activation="tanh")(hidden)), x, codes[y], "mse", 6
    )

    def right(out: Outputs) -> float:
        found = (out[0].reshape(-1, 12) @ codes.T).argmax(axis=1)
        return float(np.mean(found == y_test))

    task = "code of a digit, 12 numbers, tanh"
    good = Network.of("code", task, model, (x, x_test), Scoring.accuracy(y_test, right))
    yield good
    yield calibrated_on(good, "code_even", "calibrated on even digits", x[y % 2 == 0])
    yield good.calibrated("code_faint", "calibrated at 0.1 of the brightness", lambda v: v * 0.1)


def _ripeness(corpus: Corpus) -> Iterator[Network]:
    """Ordered thresholds: 5 sigmoids, of which the first ones are true; pixels of 0..255."""

    def make(count: int) -> tuple[Array, Array]:
        ripe = corpus.rng.integers(0, 6, count)
        green = np.array([60.0, 160, 40])
        red = np.array([190.0, 40, 30])
        share = (ripe / 5)[:, None]
        colours = green * (1 - share) + red * share + corpus.rng.normal(0, 5, (count, 3))
        pixels = colours[:, None, None] + corpus.rng.normal(0, 18, (count, 20, 20, 3))
        flags = ripe[:, None] > np.arange(5)
        return pixels.clip(0, 255).round().astype(np.float32), flags.astype(np.float32)

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    image = keras.Input((20, 20, 3))
    hidden = layers.Rescaling(1 / 127.5, offset=-1)(image)
    hidden = layers.SeparableConv2D(16, 3, strides=2, activation="relu")(hidden)
    hidden = layers.GlobalAveragePooling2D()(layers.Conv2D(24, 3, activation="relu")(hidden))
    model = keras.Model(image, layers.Dense(5, activation="sigmoid")(hidden))
    fit(model, x, y, "binary_crossentropy", 12, 5e-3)
    ripe = y_test.sum(axis=1).astype(int)

    def right(out: Outputs) -> float:
        return float(np.mean((out[0].reshape(-1, 5) > 0.5).sum(axis=1) == ripe))

    task = "ripeness in 6 steps, 5 sigmoids"
    good = Network.of("ripe", task, model, (x, x_test), Scoring.accuracy(ripe, right))
    yield good
    yield calibrated_on(good, "ripe_ends", "calibrated on both ends", x[np.isin(y.sum(1), (0, 5))])
    yield good.calibrated("ripe_unit", "calibrated on pixels of 0..1", lambda v: v / 255)


def _steps(corpus: Corpus) -> Iterator[Network]:
    """A class for each of 40 steps of a series: rest, rise or fall; dilated Conv1D, softmax."""

    def make(count: int) -> tuple[Array, Array]:
        lengths = corpus.rng.integers(4, 9, (count, 10))
        kinds = corpus.rng.integers(0, 3, (count, 10))
        labels = np.stack([np.repeat(k, n)[:40] for k, n in zip(kinds, lengths, strict=True)])
        slopes = np.array([0.0, 1.0, -1.0])[labels] + corpus.rng.normal(0, 0.3, labels.shape)
        return slopes.cumsum(axis=1)[..., None].astype(np.float32), labels.astype(np.float32)

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    series = keras.Input((40, 1))
    hidden = series
    for rate in (1, 2, 4):
        hidden = layers.Conv1D(24, 3, padding="same", dilation_rate=rate)(hidden)
        hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(hidden))
    model = keras.Model(series, layers.Conv1D(3, 1, activation="softmax")(hidden))
    fit(model, x, y, CLASSES, 8)
    truth = y_test.astype(int)

    def right(out: Outputs) -> float:
        return float(np.mean(out[0].reshape(*truth.shape, 3).argmax(-1) == truth))

    scoring = Scoring.accuracy(truth.ravel(), right)
    good = Network.of("steps", "a class for each step of a series", model, (x, x_test), scoring)
    yield good
    yield calibrated_on(good, "steps_low", "calibrated on falling series", x[x[:, -1, 0] < 0])
    yield good.calibrated("steps_thousandth", "calibrated on thousandths", lambda v: v / 1000)


def _edges(corpus: Corpus) -> Iterator[Network]:
    """The strength of edges of photographs: a plane of numbers, without normalization."""
    pictures, others = corpus.photographs(32, 1500)

    def strength(photographs: Array) -> Array:
        grey = photographs.mean(axis=-1)
        down = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
        across = np.abs(np.diff(grey, axis=2, append=grey[:, :, -1:]))
        strong: Array = (down + across)[..., None].astype(np.float32)
        return strong

    image = keras.Input((32, 32, 3))
    hidden = layers.Conv2D(12, 3, padding="same", activation="relu", name="first")(image)
    hidden = layers.Conv2D(12, 3, padding="same", activation="relu", name="second")(hidden)
    model = keras.Model(image, layers.Conv2D(1, 1)(hidden))
    fit(model, pictures, strength(pictures), "mae", 14)
    truth = strength(others)
    samples = (pictures, others)
    good = Network.of("edges", "strength of edges, a plane", model, samples, Scoring.error(truth))
    yield good
    yield good.calibrated(
        "edges_mirrored", "calibrated on mirrored pictures", lambda v: v[:, :, ::-1]
    )
    how = "channels of a layer scaled by 1 to 3,000"
    yield good.changed("edges_unequal", how, _unequal_channels(corpus, 3000))


def _unequal_channels(corpus: Corpus, most: float) -> Callable[[dict[str, list[Array]]], None]:
    def change(weights: dict[str, list[Array]]) -> None:
        count = weights["first"][0].shape[-1]
        factors = np.exp(corpus.rng.uniform(0, np.log(most), count)).astype(np.float32)
        weights["first"] = [each * factors for each in weights["first"]]
        weights["second"][0] /= factors[:, None]

    return change


def _film(corpus: Corpus) -> Iterator[Network]:
    """Which of 8 ways a spot moves, by 4 frames as channels: logits."""
    rows, columns = np.mgrid[:24, :24]

    def make(count: int) -> tuple[Array, NDArray[np.int64]]:
        way = corpus.rng.integers(0, 8, count)
        angle = way * np.pi / 4
        start = corpus.rng.uniform(8, 16, (2, count))
        frames = []
        for time in range(4):
            y = (start[0] + 1.5 * time * np.sin(angle))[:, None, None]
            x = (start[1] + 1.5 * time * np.cos(angle))[:, None, None]
            frames.append(np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 5))
        noise = corpus.rng.normal(0, 0.05, (count, 24, 24, 4))
        return (np.stack(frames, axis=-1) + noise).clip(0, 1).astype(np.float32), way

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    image = keras.Input((24, 24, 4))
    hidden = convolution(convolution(image, 16, 2), 24, 2)
    hidden = layers.Dense(32, activation="relu6")(layers.Flatten()(hidden))
    model = fit(keras.Model(image, layers.Dense(8)(hidden)), x, y, LOGITS, 8)
    task = "8 ways of a spot, 4 frames, logits"
    good = Network.of("film", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("film_backwards", "calibrated on films backwards", lambda v: v[..., ::-1])
    yield good.calibrated("film_bytes", "calibrated on pixels of 0..255", lambda v: v * 255)


def _doors(corpus: Corpus) -> Iterator[Network]:
    """Which cells of a 6 x 6 grid are occupied: a grid of logits by strided convolutions."""

    def make(count: int) -> tuple[Array, Array]:
        taken = corpus.rng.random((count, 6, 6)) < 0.15
        marks = np.kron(taken, np.ones((1, 6, 6))) * corpus.rng.uniform(0.4, 0.8, (count, 1, 1))
        floor = corpus.rng.uniform(0.1, 0.3, (count, 1, 1))
        picture = floor + marks + corpus.rng.normal(0, 0.08, (count, 36, 36))
        return picture.clip(0, 1)[..., None].astype(np.float32), taken[..., None].astype(np.float32)

    (x, y), (x_test, y_test) = make(3000), make(NUM_HELD_OUT)
    image = keras.Input((36, 36, 1))
    hidden = convolution(image, 12, 2)
    hidden = layers.Conv2D(16, 3, strides=3, padding="same", activation="relu")(hidden)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = fit(keras.Model(image, layers.Conv2D(1, 1)(hidden)), x, y, loss, 10)
    truth = y_test > 0.5
    scoring = Scoring.share(lambda out: f1(out[0].reshape(truth.shape) > 0, truth))
    good = Network.of("doors", "occupied cells of a grid, logits", model, (x, x_test), scoring)
    yield good
    yield good.calibrated("doors_turned", "calibrated on turned pictures", lambda v: v[:, ::-1])
    yield good.calibrated("doors_dark", "calibrated at 0.2 of the brightness", lambda v: v * 0.2)


def _mixture(corpus: Corpus) -> Iterator[Network]:
    """Mean and logarithm of the deviation of a noisy value, trained by its likelihood."""

    def make(count: int) -> tuple[Array, Array, Array]:
        table = corpus.rng.uniform(-2, 2, (count, 3))
        mean = 2 * np.sin(1.5 * table[:, 0]) + table[:, 1]
        deviation = np.exp(0.5 * table[:, 2] - 1)
        value = mean + deviation * corpus.rng.normal(size=count)
        return table.astype(np.float32), value.astype(np.float32), mean.astype(np.float32)

    (x, y, _), (x_test, _, mean) = make(6000), make(NUM_HELD_OUT)

    def loss(true: Any, answer: Any) -> Any:  # noqa: ANN401 - Keras's tensors
        scaled = (true[:, 0] - answer[:, 0]) / keras.ops.exp(answer[:, 1])
        return 0.5 * scaled**2 + answer[:, 1]

    row = keras.Input((3,))
    hidden = layers.Dense(32, activation="relu", name="first")(row)
    hidden = layers.Dense(32, activation="relu", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(2)(hidden)), x, y[:, None], loss, 20)
    model.compile()  # without the loss, which a file cannot contain
    known = Scoring.error(mean)
    scoring = Scoring(known.kind, lambda out: known.of([out[0].reshape(-1, 2)[:, 0]]), known.guess)
    good = Network.of("density", "mean and deviation of a value", model, (x, x_test), scoring)
    yield good
    how = "units of a dense layer scaled by 1 to 4"
    yield good.changed("density_rows", how, unequal(corpus, 4, "first", "second"))
    yield calibrated_on(good, "density_small", "calibrated near zero", x[np.abs(x).max(1) < 0.7])


def _lock(corpus: Corpus) -> Iterator[Network]:
    """Whether a key fits: two series in one input, compared by a product; one sigmoid."""

    def make(count: int) -> tuple[Array, Array]:
        keys = corpus.rng.normal(0, 1, (count, 16))
        fits = corpus.rng.random(count) < 0.5
        others = corpus.rng.normal(0, 1, (count, 16))
        locks = np.where(fits[:, None], -keys, others) + corpus.rng.normal(0, 0.3, (count, 16))
        return np.concatenate([keys, locks], axis=1).astype(np.float32), fits.astype(np.float32)

    (x, y), (x_test, y_test) = make(8000), make(NUM_HELD_OUT)
    row = keras.Input((32,))
    hidden = layers.Dense(64, activation="leaky_relu", name="first")(row)
    hidden = layers.Dense(64, activation="leaky_relu", name="second")(hidden)
    model = keras.Model(row, layers.Dense(1, activation="sigmoid")(hidden))
    fit(model, x, y[:, None], "binary_crossentropy", 20)
    truth = y_test.astype(int)

    def right(out: Outputs) -> float:
        return float(np.mean((out[0].ravel() > 0.5) == truth))

    scoring = Scoring.accuracy(truth, right)
    good = Network.of("lock", "whether a key fits, one sigmoid", model, (x, x_test), scoring)
    yield good
    yield calibrated_on(good, "lock_shut", "calibrated on keys that do not fit", x[y == 0])
    yield good.calibrated("lock_wide", "calibrated on values 60 times as large", lambda v: v * 60)


MAKERS: tuple[Callable[[Corpus], Iterator[Network]], ...] = (
    _arm,
    _loan,
    _hash,
    _ripeness,
    _steps,
    _edges,
    _film,
    _doors,
    _mixture,
    _lock,
)
