# SPDX-License-Identifier: Apache-2.0
"""A sixth set of small networks to try the verdict on: other heads and activations.

Made after samples unlike those of real use became a warning about the calibration. The outputs are
logits of several labels, positive numbers, a direction, a mask, numbers of different meaning in
outputs of their own, and a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from scripts.blind_parts import (
    CLASSES,
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
    iou,
    spoiled,
    unequal,
)

SEED = 60821


def _engine(corpus: Corpus) -> Iterator[Network]:
    """Faults of an engine, several at once: logits, ReLU6, no normalization."""
    steps = np.arange(64)

    def make(count: int) -> tuple[Array, Array]:
        faults = corpus.rng.random((count, 3)) < 0.4
        phase = corpus.rng.uniform(0, 6, (count, 3, 1))
        tones = np.sin(np.array([0.2, 0.7, 1.6])[:, None] * steps + phase)
        sizes = faults * corpus.rng.uniform(0.5, 2, (count, 3))
        sound = (tones * sizes[..., None]).sum(axis=1) + corpus.rng.normal(0, 0.4, (count, 64))
        return sound[..., None].astype(np.float32), faults.astype(np.float32)

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    series = keras.Input((64, 1))
    hidden = layers.Conv1D(16, 7, strides=2, activation="relu6", name="first")(series)
    hidden = layers.Conv1D(24, 5, strides=2, activation="relu6", name="second")(hidden)
    hidden = layers.GlobalMaxPooling1D()(hidden)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model = fit(keras.Model(series, layers.Dense(3)(hidden)), x, y, loss, 8)
    scoring = Scoring.share(lambda out: f1(out[0].reshape(y_test.shape) > 0, y_test > 0))
    good = Network.of("engine", "3 faults of an engine, logits", model, (x, x_test), scoring)
    yield good
    quiet = x[y.sum(axis=1) == 0]
    yield calibrated_on(good, "engine_sound", "calibrated without faults", quiet)
    yield calibrated_on(good, "engine_spoiled", "one of 200 samples 60 times larger", spoiled(x))
    yield calibrated_on_few(good, 16)


def _price(corpus: Corpus) -> Iterator[Network]:
    """A positive number by a table, ReLU at the end; a Normalization layer in front."""

    def make(count: int) -> tuple[Array, Array]:
        table = corpus.rng.normal(0, 1, (count, 6)) * (3, 1, 0.5, 2, 1, 4) + (10, 0, 5, 0, -3, 20)
        value = np.exp(0.1 * table[:, 0] + 0.3 * table[:, 1]) + np.abs(table[:, 3])
        return table.astype(np.float32), value[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    row, scaling = keras.Input((6,)), layers.Normalization()
    scaling.adapt(x)
    hidden = layers.Dense(48, activation="silu", name="first")(scaling(row))
    hidden = layers.Dense(32, activation="silu", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(1, activation="relu")(hidden)), x, y, "mae", 25)
    task = "a positive number by a table, Normalization, SiLU and ReLU"
    good = Network.of("price", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("price_cents", "calibrated on a column in another unit", _in_cents)
    yield good.calibrated("price_standard", "calibrated on a standardized table", _standardized)
    how = "units of a dense layer scaled by 1 to 400"
    yield good.changed("price_rows", how, unequal(corpus, 400, "first", "second"))


def _in_cents(values: Array) -> NDArray[np.float32]:
    return values * np.array([100, 1, 1, 1, 1, 1], np.float32)


def _standardized(values: Array) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (values - values.mean(axis=0)) / values.std(axis=0)
    return scaled


def _compass(corpus: Corpus) -> Iterator[Network]:
    """The direction of a needle as a vector of length 1; Rescaling in front, pixels of 0..255."""
    rows, columns = np.mgrid[:24, :24] - 11.5

    def make(count: int) -> tuple[Array, Array]:
        angle = corpus.rng.uniform(0, 2 * np.pi, count)
        y, x = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
        along, beside = columns * x + rows * y, columns * y - rows * x
        needle = (along > 0) & (along < 10) & (np.abs(beside) < 1.5)
        pixels = 60 + 150 * needle + corpus.rng.normal(0, 12, needle.shape)
        directions = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return pixels.clip(0, 255)[..., None].astype(np.float32), directions.astype(np.float32)

    (x, y), (x_test, y_test) = make(3000), make(NUM_HELD_OUT)
    image = keras.Input((24, 24, 1))
    hidden = layers.Conv2D(12, 3, strides=2, activation="hard_swish")(
        layers.Rescaling(1 / 255)(image)
    )
    hidden = layers.Conv2D(16, 3, strides=2, activation="hard_swish")(hidden)
    hidden = layers.Dense(24, activation="hard_swish")(layers.Flatten()(hidden))
    model = keras.Model(image, layers.UnitNormalization()(layers.Dense(2)(hidden)))
    fit(model, x, y, "mse", 12)
    task = "direction of a needle, length 1, hard swish"
    good = Network.of("compass", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("compass_unit", "calibrated on pixels of 0..1", lambda v: v / 255)
    yield good.calibrated("compass_dim", "calibrated at 0.3 of the brightness", lambda v: v * 0.3)
    yield calibrated_on(good, "compass_right", "calibrated on needles to the right", x[y[:, 0] > 0])


def _lines(corpus: Corpus) -> Iterator[Network]:
    """A mask of lines on photographs: transposed convolution, batch normalization, sigmoid."""

    def make(photographs: Array) -> tuple[Array, Array]:
        masks = np.zeros((*photographs.shape[:3], 1), np.float32)
        for mask in masks:
            row, column = corpus.rng.integers(3, 28, 2)
            mask[row : row + 2, 3:29] = 1
            mask[3:29, column : column + 2] = 1
        return (photographs * (1 - 0.8 * masks)).astype(np.float32), masks

    pictures, others = corpus.photographs(32, 1500)
    (x, y), (x_test, y_test) = make(pictures), make(others[:200])
    image = keras.Input((32, 32, 3))
    fine = convolution(image, 12)
    hidden = convolution(fine, 20, 2)
    hidden = layers.Conv2DTranspose(12, 2, strides=2)(hidden)
    hidden = convolution(layers.Concatenate()([fine, hidden]), 12)
    model = keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(hidden))
    fit(model, x, y, "binary_crossentropy", 6)
    truth = y_test > 0.5
    scoring = Scoring.share(lambda out: iou(out[0].reshape(truth.shape) > 0.5, truth))
    good = Network.of("lines", "mask of lines, sigmoid", model, (x, x_test), scoring)
    yield good
    yield calibrated_on(good, "lines_none", "calibrated on photographs without", pictures)
    yield good.calibrated("lines_dark", "calibrated on dark photographs", lambda v: v * 0.2)
    yield good.calibrated("lines_bytes", "calibrated on pixels of 0..255", lambda v: v * 255)


def _two(corpus: Corpus) -> Iterator[Network]:
    """Class of a digit and its ink in two outputs: LeakyReLU, average pooling."""
    x, y, x_test, _ = corpus.digits(6000, NUM_HELD_OUT)
    image = keras.Input((28, 28, 1))
    hidden = layers.Conv2D(16, 5, strides=2, name="first")(image)
    hidden = layers.Conv2D(24, 3, name="second")(layers.LeakyReLU()(hidden))
    hidden = layers.Flatten()(layers.AveragePooling2D(2)(layers.LeakyReLU()(hidden)))
    kind = layers.Dense(10, activation="softmax", name="kind")(hidden)
    ink = layers.Dense(1, name="ink")(hidden)
    model = keras.Model(image, [kind, ink])
    fit(model, x, [y, x.sum(axis=(1, 2)) / 10], [CLASSES, "mae"], 6)
    inks = x_test.sum(axis=(1, 2)) / 10
    scoring = Scoring.error(inks)
    ink_error = replace(scoring, of=lambda out: _error_of(out, inks))
    good = Network.of("two", "class and ink of a digit, ink scored", model, (x, x_test), ink_error)
    yield good
    yield calibrated_on(good, "two_ones", "calibrated on the digit 1", x[y == 1])
    yield good.calibrated("two_half", "calibrated at half of the brightness", lambda v: v * 0.5)
    yield good.calibrated("two_binary", "calibrated on black and white", lambda v: v > 0.5)


def _error_of(out: Outputs, truth: Array) -> float:
    found = next(each for each in out if each.size == truth.size)
    return float(np.mean(np.abs(found.reshape(truth.shape) - truth)))


def _repair(corpus: Corpus) -> Iterator[Network]:
    """Spectra without gaps, an autoencoder with SiLU: 40 numbers in, 40 out."""
    places = np.arange(40)

    def make(count: int) -> tuple[Array, Array]:
        centres = corpus.rng.uniform(4, 36, (count, 3, 1))
        peaks = np.exp(-(((places - centres) / 3) ** 2)) * corpus.rng.uniform(0.3, 2, (count, 3, 1))
        whole = peaks.sum(axis=1).astype(np.float32)
        gaps = whole * (corpus.rng.random((count, 40)) > 0.2)
        return gaps.astype(np.float32), whole

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    row = keras.Input((40,))
    hidden = layers.Dense(64, activation="silu", name="first")(row)
    hidden = layers.Dense(64, activation="silu", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(40)(hidden)), x, y, "mse", 20)
    task = "spectra without gaps, SiLU"
    good = Network.of("repair", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("repair_weak", "calibrated at 0.3 of the values", lambda v: v * 0.3)
    yield good.calibrated("repair_whole", "calibrated on spectra without gaps", _filled)


def _filled(values: Array) -> NDArray[np.float32]:
    """Return rows whose gaps have the value of their left neighbour."""
    return np.where(values == 0, np.roll(values, 1, axis=1), values)


MAKERS: tuple[Callable[[Corpus], Iterator[Network]], ...] = (
    _engine,
    _price,
    _compass,
    _lines,
    _two,
    _repair,
)
