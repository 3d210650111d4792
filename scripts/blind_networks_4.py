# SPDX-License-Identifier: Apache-2.0
"""A fourth set of small networks to try the verdict on, made after the changes for the third one.

Each has few variants, of faults of the network and of calibration: values of another unit, samples
of another kind, few samples, rows of several targets, logits beyond need, joined heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
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
    iou,
    spoiled,
    unequal,
)

SEED = 12043


def _pair(corpus: Corpus) -> Iterator[Network]:
    """The two digits of a wide picture: two rows of logits, pixels of -1..1."""
    x, y, x_test, y_test = corpus.digits(8000, 2 * NUM_HELD_OUT)

    def join(pictures: Array, digits: NDArray[Any]) -> tuple[Array, NDArray[Any]]:
        half = len(digits) // 2
        wide = np.concatenate([pictures[:half], pictures[half:]], axis=2)
        return wide * 2 - 1, np.stack([digits[:half], digits[half:]], axis=1)

    (x, y), (x_test, y_test) = join(x, y), join(x_test, y_test)
    image = keras.Input((28, 56, 1))
    hidden = convolution(convolution(image, 12, 2, size=5), 20, 2)
    hidden = layers.Flatten()(convolution(hidden, 28, 2))
    left, right = layers.Dense(10, name="left")(hidden), layers.Dense(10, name="right")(hidden)
    model = keras.Model(image, layers.Concatenate()([left, right]))
    trained = keras.Model(image, [left, right])
    fit(trained, x, [y[:, 0], y[:, 1]], [LOGITS, LOGITS], 6)

    def both(out: Outputs) -> float:
        rows = out[0].reshape(-1, 2, 10).argmax(-1)
        return float(np.mean((rows == y_test).all(axis=1)))

    scoring = replace(Scoring.accuracy(y_test[:, 0], both), guess=0.01)
    good = Network.of("pair", "two digits, 20 logits", model, (x, x_test), scoring)
    yield good
    yield good.calibrated("pair_bytes", "calibrated on pixels of 0..255", lambda v: v * 127.5 + 128)
    yield good.calibrated("pair_grey", "calibrated on pictures of low contrast", lambda v: v * 0.3)


def _scene(corpus: Corpus) -> Iterator[Network]:
    """Four numbers of a photograph: mean colours and contrast; pooled convolutions."""
    crops, crops_test = corpus.photographs(32, 3000)

    def measure(pictures: Array) -> Array:
        means = pictures.mean(axis=(1, 2))
        contrast = pictures.std(axis=(1, 2, 3))[:, None]
        return np.concatenate([means, contrast * 3], axis=1).astype(np.float32)

    y, y_test = measure(crops), measure(crops_test)
    image = keras.Input((32, 32, 3))
    hidden = layers.Conv2D(16, 3, strides=2, activation="relu")(image)
    hidden = layers.Conv2D(16, 3, strides=2, activation="relu", name="middle")(hidden)
    hidden = layers.Conv2D(24, 3, activation="relu", name="after")(hidden)
    hidden = layers.Dense(32, activation="relu")(layers.GlobalAveragePooling2D()(hidden))
    model = fit(keras.Model(image, layers.Dense(4)(hidden)), crops, y, "mae", 12)
    task = "mean colours and contrast of a photograph"
    good = Network.of("scene", task, model, (crops, crops_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("scene_bgr", "calibrated on BGR", lambda v: v[..., ::-1])
    yield good.changed(
        "scene_unequal", "channels scaled by 1 to 1000", unequal(corpus, 1000, "middle", "after")
    )
    yield good.calibrated("scene_dark", "calibrated on dark pictures", lambda v: v * 0.3)


def _curve(corpus: Corpus) -> Iterator[Network]:
    """Eight points of the smooth curve below a noisy series: a row of targets, dense layers."""
    steps = np.arange(40)

    def make(count: int) -> tuple[Array, Array]:
        rate, height = (
            corpus.rng.uniform(0.05, 0.2, (count, 1)),
            corpus.rng.uniform(1, 9, (count, 1)),
        )
        curve = height * np.sin(rate * steps + corpus.rng.uniform(0, 6, (count, 1)))
        noisy = curve + corpus.rng.normal(0, 0.3, curve.shape)
        return noisy.astype(np.float32), curve[:, 2::5].astype(np.float32)

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    row = keras.Input((40,))
    hidden = layers.Dense(48, activation="relu", name="first")(row)
    hidden = layers.Dense(48, activation="relu", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(8)(hidden)), x, y, "mae", 20)
    task = "8 points of a smooth curve"
    good = Network.of("curve", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.changed(
        "curve_rows",
        "units of a dense layer scaled by 1 to 60",
        unequal(corpus, 60, "first", "second"),
    )
    low = np.abs(y).max(axis=1) < 3
    yield calibrated_on(good, "curve_low", "calibrated on low curves", x[low])
    yield good.calibrated("curve_spoiled", "one of 200 samples 60 times larger", spoiled)


def _beats(corpus: Corpus) -> Iterator[Network]:
    """Four rhythms by an LSTM over frames of a spectrum."""

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        kinds = corpus.rng.integers(0, 4, count)
        frames = corpus.rng.gamma(1, 0.05, (count, 30, 8))
        gaps = np.array([3, 5, 7, 4])
        for row, kind in zip(frames, kinds, strict=True):
            start = corpus.rng.integers(0, 4)
            row[start :: gaps[kind], :3] += corpus.rng.uniform(0.4, 1)
            if kind == 3:
                row[start + 2 :: 8, 4:] += 0.8
        return np.log(frames + 0.01).astype(np.float32), kinds

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    series = keras.Input((30, 8))
    hidden = layers.LSTM(20)(series)
    model = keras.Model(series, layers.Dense(4, activation="softmax")(hidden))
    fit(model, x, y, CLASSES, 12, rate=4e-3)
    good = Network.of("beats", "4 rhythms, LSTM", model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("beats_linear", "calibrated on powers, no logarithm", np.exp)
    yield calibrated_on(good, "beats_one", "calibrated on one rhythm", x[y == 1])
    yield calibrated_on_few(good, 6)


def _defect(corpus: Corpus) -> Iterator[Network]:
    """Scratches on a surface: a mask of one logit a pixel; few pixels."""
    rows, columns = np.mgrid[:40, :40]

    def make(count: int) -> tuple[Array, NDArray[np.bool_]]:
        ground = corpus.rng.normal(0.5, 0.06, (count, 40, 40))
        ground += 0.1 * np.sin(columns / corpus.rng.uniform(3, 8, (count, 1, 1)))
        masks = np.zeros((count, 40, 40), np.bool_)
        for mask in masks:
            place, slope = corpus.rng.uniform(10, 30), corpus.rng.uniform(-0.5, 0.5)
            start = corpus.rng.integers(0, 20)
            near = abs(rows - place - slope * (columns - 20)) < 1.5
            mask[near & (columns >= start) & (columns < start + 20)] = True
        ground -= masks * corpus.rng.uniform(0.15, 0.35, (count, 1, 1))
        return np.clip(ground, 0, 1)[..., None].astype(np.float32), masks

    (x, y), (x_test, y_test) = make(1500), make(200)
    image = keras.Input((40, 40, 1))
    hidden = convolution(convolution(image, 12), 16, rate=2)
    hidden = convolution(convolution(hidden, 16, rate=4), 12)
    logit = layers.Conv2D(1, 1)(hidden)
    model = keras.Model(image, logit)
    fit(model, x, y[..., None], keras.losses.BinaryCrossentropy(from_logits=True), 8)

    scoring = Scoring.share(lambda out: iou(out[0].reshape(y_test.shape) > 0, y_test))
    task = "scratches, one logit a pixel"
    good = Network.of("defect", task, model, (x, x_test), scoring)
    yield good
    below = layers.ReLU()(layers.Rescaling(-1.0, -1.0)(logit))
    far = layers.Subtract()([logit, layers.Rescaling(300.0)(below)])
    wide = keras.Model(image, far)
    yield replace(good, name="defect_wide", task=f"{task}, far below for the ground", model=wide)
    yield good.calibrated(
        "defect_light", "calibrated on overexposed pictures", lambda v: v * 0.2 + 0.8
    )


def _gauge(corpus: Corpus) -> Iterator[Network]:
    """The angle of a hand, as sine and cosine, and whether it is in the red: two heads."""
    rows, columns = np.mgrid[:28, :28] - 13.5

    def make(count: int) -> tuple[Array, Array, NDArray[Any]]:
        angle = corpus.rng.uniform(-2.5, 2.5, (count, 1, 1))
        along = rows * np.sin(angle) + columns * np.cos(angle)
        across = abs(rows * np.cos(angle) - columns * np.sin(angle))
        hand = (across < 1.2) & (along > 0) & (along < 12)
        pictures = corpus.rng.uniform(0.6, 0.9, (count, 28, 28)) - 0.5 * hand
        pair = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)[..., 0]
        is_red = (angle[:, 0, 0] > 1.5).astype(np.int64)
        return pictures[..., None].astype(np.float32), pair.astype(np.float32), is_red

    (x, y, z), (x_test, y_test, z_test) = make(4000), make(NUM_HELD_OUT)
    image = keras.Input((28, 28, 1))
    hidden = convolution(convolution(convolution(image, 8, 2), 16, 2), 24, 2)
    hidden = layers.Dense(32, activation="relu")(layers.Flatten()(hidden))
    pair, red = layers.Dense(2)(hidden), layers.Dense(1, activation="sigmoid")(hidden)
    fit(keras.Model(image, [pair, red]), x, [y, z], ["mae", "binary_crossentropy"], 10)

    def error(out: Outputs) -> float:
        wrong = np.mean((out[1].reshape(-1) > 0.5) != z_test)
        return float(np.mean(np.abs(out[0].reshape(y_test.shape) - y_test)) + wrong)

    task, scoring = "angle of a hand, and a flag", replace(Scoring.error(y_test), of=error)
    good = Network.of("gauge", task, keras.Model(image, [pair, red]), (x, x_test), scoring)
    yield good
    degrees = layers.Concatenate()([layers.Rescaling(900.0)(pair), red])

    def joined(out: Outputs) -> float:
        whole = out[0].reshape(-1, 3)
        return error([whole[:, :2] / 900, whole[:, 2:]])

    yield replace(
        good,
        name="gauge_joined",
        task=f"{task}; numbers up to 900 and a probability in one output",
        model=keras.Model(image, degrees),
        scoring=replace(scoring, of=joined),
    )
    yield calibrated_on(good, "gauge_rest", "calibrated on hands at rest", x[y[:, 1] > 0.9])
    yield calibrated_on_few(good, 8)


def _plant(corpus: Corpus) -> Iterator[Network]:
    """Temperatures of a plant in kelvin to its output in watts, and standardized."""

    def make(count: int) -> tuple[Array, Array]:
        table = corpus.rng.normal(0, 1, (count, 5))
        value = table[:, 0] * table[:, 1] + np.sin(table[:, 2] * 2) + 0.5 * table[:, 3]
        value += corpus.rng.normal(0, 0.1, count)
        return table.astype(np.float32), value[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    row = keras.Input((5,))
    hidden = layers.Dense(40, activation="tanh")(row)
    hidden = layers.Dense(32, activation="relu")(hidden)
    model = fit(keras.Model(row, layers.Dense(1)(hidden)), x, y, "mse", 25)
    task = "output of a plant by 5 readings, tanh"
    good = Network.of("plant", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    kelvin = keras.Input((5,))
    inside = layers.Normalization(mean=np.full(5, 300.0), variance=np.ones(5))(kelvin)
    yield Network.of(
        "plant_kelvin",
        f"{task}; in kelvin, around 300",
        keras.Model(kelvin, model(inside)),
        (x + 300, x_test + 300),
        Scoring.error(y_test),
    )
    yield good.calibrated(
        "plant_clipped", "calibrated on values clipped at 1", lambda v: v.clip(-1, 1)
    )
    yield good.calibrated("plant_wide", "calibrated on values 30 times as large", lambda v: v * 30)


def _crowd(corpus: Corpus) -> Iterator[Network]:
    """Where dots are: a heat map of probabilities, channels with a trained scale each."""
    rows, columns = np.mgrid[:32, :32]

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        pictures = corpus.rng.normal(0.3, 0.07, (count, 32, 32))
        cells = np.zeros((count, 8, 8))
        for picture, cell in zip(pictures, cells, strict=True):
            for _ in range(corpus.rng.integers(1, 6)):
                row, column = corpus.rng.uniform(2, 30, 2)
                away = (rows - row) ** 2 + (columns - column) ** 2
                np.add(picture, 0.5 * np.exp(-away / 3), out=picture)
                cell[int(row) // 4, int(column) // 4] = 1
        return np.clip(pictures, 0, 1)[..., None].astype(np.float32), cells

    (x, y), (x_test, y_test) = make(3000), make(300)
    image = keras.Input((32, 32, 1))

    def step(value: Any, width: int, stride: int, name: str | None = None) -> Any:  # noqa: ANN401
        return layers.Conv2D(
            width, 3, strides=stride, padding="same", activation="relu", name=name
        )(value)

    hidden = step(step(step(image, 12, 2), 20, 2, "wide"), 20, 1, "narrow")
    heat = layers.Conv2D(1, 1, activation="sigmoid")(hidden)
    model = fit(keras.Model(image, heat), x, y[..., None], "binary_crossentropy", 15)

    scoring = Scoring.share(lambda out: f1(out[0].reshape(y_test.shape) > 0.5, y_test > 0.5))
    good = Network.of("crowd", "dots, heat map", model, (x, x_test), scoring)
    yield good
    yield good.changed(
        "crowd_unequal", "channels scaled by 1 to 400", unequal(corpus, 400, "wide", "narrow")
    )
    empty = corpus.rng.normal(0.3, 0.07, (300, 32, 32, 1)).clip(0, 1)
    yield calibrated_on(good, "crowd_empty", "calibrated on pictures without dots", empty)
    yield good.calibrated("crowd_inverse", "calibrated on inverted pictures", lambda v: 1 - v)


MAKERS: tuple[Callable[[Corpus], Iterator[Network]], ...] = (
    _pair,
    _scene,
    _curve,
    _beats,
    _defect,
    _gauge,
    _plant,
    _crowd,
)
