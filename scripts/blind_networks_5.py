# SPDX-License-Identifier: Apache-2.0
"""A fifth set of small networks to try the verdict on: clipped samples, and nothing to compare to.

The rule for clipped calibration samples was set before. Half of the networks have batch
normalization. Some data have many values at an end by nature, so that a rule may call good
ones doubtful.
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
    NUM_HELD_OUT,
    Array,
    Corpus,
    Network,
    Outputs,
    Scoring,
    calibrated_on,
    calibrated_on_few,
    convolution,
    fit,
    unequal,
)

SEED = 27611


def _clip(low: float, high: float) -> Callable[[Array], NDArray[Any]]:
    return lambda values: values.clip(low, high)


def _speed(corpus: Corpus) -> Iterator[Network]:
    """The rate of rotation by three axes of vibration, Conv1D without normalization."""
    steps = np.arange(48)[:, None]

    def make(count: int) -> tuple[Array, Array]:
        rate = corpus.rng.uniform(0.1, 0.6, (count, 1, 1))
        phase = corpus.rng.uniform(0, 6, (count, 1, 3))
        size = corpus.rng.uniform(0.6, 2.5, (count, 1, 3)) * (0.5 + rate)
        waves = size * np.sin(rate * steps + phase) + corpus.rng.normal(0, 0.2, (count, 48, 3))
        return waves.astype(np.float32), rate[:, 0].astype(np.float32) * 10

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    series = keras.Input((48, 3))
    hidden = layers.Conv1D(16, 5, strides=2, activation="relu")(series)
    hidden = layers.Conv1D(24, 5, strides=2, activation="relu")(hidden)
    hidden = layers.Dense(24, activation="relu")(layers.Flatten()(hidden))
    model = fit(keras.Model(series, layers.Dense(1)(hidden)), x, y, "mae", 12)
    task = "rate of rotation, three axes"
    good = Network.of("speed", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("speed_hard", "calibrated on values clipped at 0.6", _clip(-0.6, 0.6))
    yield good.calibrated("speed_soft", "calibrated on values clipped at 2", _clip(-2, 2))
    yield good.calibrated("speed_above", "calibrated on values clipped above 0.3", _clip(-9, 0.3))
    yield calibrated_on_few(good, 12)


def _heater(corpus: Corpus) -> Iterator[Network]:
    """The power of a heater by a table of 7 readings, some of them 0 or 100 % by nature."""

    def make(count: int) -> tuple[Array, Array]:
        table = corpus.rng.normal(0, 1, (count, 7))
        table[:, 4] = corpus.rng.normal(0, 2.5, count).clip(-2, 2)  # a valve, mostly at an end
        table[:, 5] = corpus.rng.integers(0, 2, count) * 4 - 2  # a switch
        value = table[:, 0] + 0.7 * table[:, 1] * table[:, 5] / 2 + np.maximum(table[:, 2], 0)
        value += 0.6 * table[:, 4] * (table[:, 3] > 0) + corpus.rng.normal(0, 0.1, count)
        return table.astype(np.float32), value[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    row = keras.Input((7,))
    hidden = layers.Dense(48, activation="relu", name="first")(row)
    hidden = layers.Dense(32, activation="relu", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(1)(hidden)), x, y, "mse", 25)
    task = "power of a heater by 7 readings, two of them mostly at an end"
    good = Network.of("heater", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("heater_clipped", "calibrated on values clipped at 0.5", _clip(-0.5, 0.5))
    yield good.changed(
        "heater_rows",
        "units of a dense layer scaled by 1 to 800",
        unequal(corpus, 800, "first", "second"),
    )
    yield good.calibrated("heater_small", "calibrated at 0.25 of the values", lambda v: v * 0.25)


def _calls(corpus: Corpus) -> Iterator[Network]:
    """Five calls of birds in dB, with a floor: batch normalization, depthwise."""

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        kinds = corpus.rng.integers(0, 5, count)
        power = corpus.rng.gamma(1, 1e-6, (count, 32, 24))
        for frame, kind in zip(power, kinds, strict=True):
            start = corpus.rng.integers(0, 10)
            for step in range(18):
                place = 4 + int((kind + 1) * step / 6) % 18
                frame[start + step, place : place + 2] += corpus.rng.uniform(0.01, 1)
        decibels = 10 * np.log10(np.maximum(power, 1e-6))
        return ((decibels + 40) / 20).astype(np.float32)[..., None], kinds

    (x, y), (x_test, y_test) = make(3000), make(NUM_HELD_OUT)
    image = keras.Input((32, 24, 1))
    hidden = convolution(image, 12, 2)
    hidden = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same")(hidden))
    hidden = convolution(hidden, 24, 2)
    hidden = layers.GlobalAveragePooling2D()(convolution(hidden, 24))
    model = keras.Model(image, layers.Dense(5, activation="softmax")(hidden))
    fit(model, x, y, CLASSES, 8)
    task = "5 calls, dB with a floor, depthwise"
    good = Network.of("calls", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("calls_limited", "calibrated below -45 dB", _clip(-9, -0.25))
    yield good.calibrated("calls_raw", "calibrated on dB, not scaled", lambda v: v * 20 - 40)
    yield calibrated_on(good, "calls_one", "calibrated on one call", x[y == 2])


def _stroke(corpus: Corpus) -> Iterator[Network]:
    """Strokes of a pen by a GRU; the pen's sensor is clipped in training and in use too."""
    steps = np.arange(20)

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        kinds = corpus.rng.integers(0, 4, count)
        turn = np.array([0.15, 0.3, -0.15, -0.3])[kinds][:, None]
        angle = corpus.rng.uniform(0, 6, (count, 1)) + turn * steps
        size = corpus.rng.uniform(0.6, 2, (count, 1))
        moves = np.stack([size * np.cos(angle), size * np.sin(angle)], axis=-1)
        moves += corpus.rng.normal(0, 0.15, moves.shape)
        return moves.clip(-1, 1).astype(np.float32), kinds

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    series = keras.Input((20, 2))
    model = keras.Model(series, layers.Dense(4, activation="softmax")(layers.GRU(16)(series)))
    fit(model, x, y, CLASSES, 14, rate=4e-3)
    task = "4 strokes, GRU; clipped in use too"
    good = Network.of("stroke", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("stroke_tight", "calibrated on values clipped at 0.2", _clip(-0.2, 0.2))
    yield good.calibrated("stroke_wide", "calibrated at 40 times the values", lambda v: v * 40)


def _depth(corpus: Corpus) -> Iterator[Network]:
    """A map of depth of blocks, by their shade; batch normalization."""
    rows, columns = np.mgrid[:24, :24]

    def make(count: int) -> tuple[Array, Array]:
        depth = np.full((count, 24, 24), 5.0)
        for each in depth:
            for _ in range(3):
                row, column, size = corpus.rng.integers(2, 18), corpus.rng.integers(2, 18), 6
                inside = (rows >= row) & (rows < row + size) & (columns >= column)
                each[inside & (columns < column + size)] = corpus.rng.uniform(1, 4)
        shade = np.exp(-depth / 3) + corpus.rng.normal(0, 0.01, depth.shape)
        return shade.clip(0, 1)[..., None].astype(np.float32), depth[..., None].astype(np.float32)

    (x, y), (x_test, y_test) = make(2000), make(200)
    image = keras.Input((24, 24, 1))
    hidden = convolution(convolution(image, 12, size=5), 12)
    model = fit(keras.Model(image, layers.Conv2D(1, 1)(hidden)), x, y, "mae", 10)
    task = "depth of blocks, a plane"
    good = Network.of("depth", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("depth_clipped", "calibrated on pictures clipped at 0.3", _clip(0.2, 0.3))
    yield good.calibrated("depth_darker", "calibrated at 0.9 of the brightness", lambda v: v * 0.9)


def _load(corpus: Corpus) -> Iterator[Network]:
    """The next 3 loads of a grid by 24 hours; nothing in the network shows the training data."""

    def make(count: int) -> tuple[Array, Array]:
        hours = np.arange(27) + corpus.rng.uniform(0, 24, (count, 1))
        level = corpus.rng.uniform(-1, 1, (count, 1))
        load = level + np.sin(hours * np.pi / 12) + 0.4 * np.sin(hours * np.pi / 4)
        load += corpus.rng.normal(0, 0.05, load.shape)
        return load[:, :24].astype(np.float32), load[:, 24:].astype(np.float32)

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    row = keras.Input((24,))
    hidden = layers.Dense(40, activation="relu")(row)
    hidden = layers.Dense(40, activation="relu")(hidden)
    model = fit(keras.Model(row, layers.Dense(3)(hidden)), x, y, "mae", 20)
    good = Network.of("load", "the next 3 loads", model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("load_clipped", "calibrated on values clipped at 1", _clip(-1, 1))
    yield good.calibrated("load_night", "calibrated on values below 0", lambda v: np.minimum(v, 0))
    summer = x[x.mean(axis=1) < -0.5]
    yield calibrated_on(good, "load_summer", "calibrated on low levels", summer)
    yield good.calibrated("load_percent", "calibrated on percents", lambda v: v * 100)
    scaled = keras.Input((24,))
    yield replace(
        good,
        name="load_joined",
        task="the next 3 loads, and 100 times their mean in one output",
        model=_joined(model, scaled),
        scoring=replace(good.scoring, of=lambda out: _first_three(out, y_test)),
    )


def _joined(model: Any, source: Any) -> Any:  # noqa: ANN401
    loads = model(source)
    mean = layers.Dense(1, use_bias=False, kernel_initializer="ones")(loads)
    return keras.Model(source, layers.Concatenate()([loads, layers.Rescaling(100.0)(mean)]))


def _first_three(out: Outputs, truth: Array) -> float:
    return float(np.mean(np.abs(out[0].reshape(len(truth), 4)[:, :3] - truth)))


MAKERS: tuple[Callable[[Corpus], Iterator[Network]], ...] = (
    _speed,
    _heater,
    _calls,
    _stroke,
    _depth,
    _load,
)
