# SPDX-License-Identifier: Apache-2.0
"""An eighth set of small networks to try the verdict on: key points, stereo, sound, anomalies.

Made after a regression without labels became good if what other samples do not predict of the float
model's answers is larger than the error. None of these kinds was in an earlier set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
    unequal,
)

SEED = 81031


def _eye(corpus: Corpus) -> Iterator[Network]:
    """Where an eye looks: two angles, by a grey picture of 0..255 with noise."""
    rows, columns = np.mgrid[:32, :32]

    def make(count: int) -> tuple[Array, Array]:
        angles = corpus.rng.uniform(-0.6, 0.6, (count, 2))
        light = corpus.rng.uniform(0.7, 1.1, (count, 1, 1))
        y = (16 + 12 * np.sin(angles[:, 0]))[:, None, None]
        x = (16 + 12 * np.sin(angles[:, 1]))[:, None, None]
        ball = (rows - 16) ** 2 + (columns - 16) ** 2 < 200
        pupil = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18)
        pixels = light * (90 + 110 * ball - 150 * pupil * ball)
        pixels = pixels + corpus.rng.normal(0, 12, pixels.shape)
        return pixels.clip(0, 255).round().astype(np.float32)[..., None], angles.astype(np.float32)

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    image = keras.Input((32, 32, 1))
    hidden = convolution(layers.Rescaling(1 / 128, offset=-1)(image), 12, 2)
    hidden = convolution(convolution(hidden, 20, 2), 24, 2)
    hidden = layers.Dense(32, activation="relu")(layers.Flatten()(hidden))
    model = fit(keras.Model(image, layers.Dense(2)(hidden)), x, y, "mse", 12)
    good = Network.of("eye", "direction of an eye", model, (x, x_test), Scoring.error(y_test))
    yield good
    yield calibrated_on_few(good, 30)
    yield calibrated_on(good, "eye_left", "calibrated on eyes to the left", x[y[:, 1] < -0.2])
    yield good.calibrated("eye_unit", "calibrated on pixels of 0..1", lambda v: v / 255)
    yield good.calibrated("eye_night", "calibrated at 0.15 of the brightness", lambda v: v * 0.15)


def _kite(corpus: Corpus) -> Iterator[Network]:
    """The 4 corners of a kite on a photograph: 8 coordinates of 0..1 by a dense layer."""
    pictures, others = corpus.photographs(40, 2500)

    def draw(photographs: Array) -> tuple[Array, Array]:
        count = len(photographs)
        centre = corpus.rng.uniform(14, 26, (count, 1, 2))
        turn = corpus.rng.uniform(-0.5, 0.5, (count, 1)) + np.arange(4) * np.pi / 2
        size = corpus.rng.uniform(7, 12, (count, 1)) * np.array([1.0, 0.6, 1.0, 0.6])
        corners = centre + size[..., None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        grid = np.moveaxis(np.mgrid[:40, :40], 0, -1)[None].astype(float)
        inside = np.ones((count, 40, 40), bool)
        for first in range(4):
            a, b = (corners[:, k % 4, None, None] for k in (first, first + 1))
            side = (b - a)[..., 0] * (grid - a)[..., 1] - (b - a)[..., 1] * (grid - a)[..., 0]
            inside &= side > 0
        shown = np.where(inside[..., None], np.array([0.95, 0.2, 0.1]), 0.7 * photographs)
        return shown.astype(np.float32), (corners.reshape(count, 8) / 40).astype(np.float32)

    (x, y), (x_test, y_test) = draw(pictures), draw(others)
    image = keras.Input((40, 40, 3))
    hidden = convolution(convolution(image, 12, 2), 20, 2)
    hidden = layers.Flatten()(convolution(hidden, 16, 2))
    hidden = layers.Dense(48, activation="relu6", name="first")(hidden)
    hidden = layers.Dense(32, activation="relu", name="second")(hidden)
    hidden = layers.Dense(24, activation="relu", name="third")(hidden)
    model = fit(keras.Model(image, layers.Dense(8)(hidden)), x, y, "mae", 14)
    task = "4 corners of a kite, 8 numbers"
    good = Network.of("kite", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    how = "calibrated on photographs without"
    yield good.calibrated("kite_none", how, lambda v: pictures[: len(v)])
    how = "units of a dense layer scaled by 1 to 3,000"
    yield good.changed("kite_rows", how, unequal(corpus, 3000, "second", "third"))
    yield good.calibrated("kite_bytes", "calibrated on pixels of 0..255", lambda v: v * 255)


def _rooms(corpus: Corpus) -> Iterator[Network]:
    """Floor, wall or thing for each pixel: softmax of a network with a skip connection."""
    pictures, others = corpus.photographs(32, 1500)
    rows, columns = np.mgrid[:32, :32]

    def draw(photographs: Array) -> tuple[Array, NDArray[np.int64]]:
        count = len(photographs)
        line = corpus.rng.uniform(12, 22, (count, 1, 1)) + corpus.rng.uniform(
            -0.3, 0.3, (count, 1, 1)
        ) * (columns - 16)
        y, x = corpus.rng.uniform(8, 24, (2, count, 1, 1))
        thing = (np.abs(rows - y) < 5) & (np.abs(columns - x) < 4)
        truth = np.where(thing, 2, (rows > line).astype(int))
        colours = np.array([[0.55, 0.5, 0.4], [0.3, 0.25, 0.2], [0.2, 0.3, 0.6]])
        shown = 0.5 * colours[truth] + 0.5 * photographs
        return shown.astype(np.float32), truth

    (x, y), (x_test, y_test) = draw(pictures), draw(others)
    image = keras.Input((32, 32, 3))
    first = convolution(image, 10)
    deep = convolution(convolution(first, 16, 2), 16, rate=2)
    up = layers.Conv2DTranspose(10, 2, strides=2, activation="relu")(deep)
    joined = convolution(layers.Concatenate()([first, up]), 12)
    model = keras.Model(image, layers.Conv2D(3, 1, activation="softmax")(joined))
    fit(model, x, y[..., None], CLASSES, 8)

    def things(out: Outputs) -> float:
        found = out[0].reshape(*y_test.shape, 3).argmax(axis=-1)
        kinds = [f1(found == kind, y_test == kind) for kind in range(3)]
        return float(np.mean(kinds))

    task = "floor, wall or thing of each pixel"
    good = Network.of("rooms", task, model, (x, x_test), Scoring.share(things))
    yield good
    yield good.calibrated("rooms_upside", "calibrated upside down", lambda v: v[:, ::-1])
    yield good.calibrated("rooms_tf", "calibrated on pixels of -1..1", lambda v: v * 2 - 1)
    yield good.calibrated("rooms_dusk", "calibrated at 0.1 of the brightness", lambda v: v * 0.1)


def _cells(corpus: Corpus) -> Iterator[Network]:
    """Cells of blood: score logits and boxes of a 5 x 5 grid, in two outputs."""
    rows, columns = np.mgrid[:40, :40]

    def make(count: int) -> tuple[Array, Array, Array]:
        taken = corpus.rng.random((count, 5, 5)) < 0.2
        offset = corpus.rng.uniform(-2, 2, (count, 5, 5, 2))
        radius = corpus.rng.uniform(2, 4, (count, 5, 5))
        pixels = np.full((count, 40, 40, 3), 0.8)
        for row in range(5):
            for column in range(5):
                y = row * 8 + 4 + offset[:, row, column, 0, None, None]
                x = column * 8 + 4 + offset[:, row, column, 1, None, None]
                near = (rows - y) ** 2 + (columns - x) ** 2 < radius[
                    :, row, column, None, None
                ] ** 2
                near &= taken[:, row, column, None, None]
                pixels[near] = (0.6, 0.2, 0.3)
        pixels += corpus.rng.normal(0, 0.06, pixels.shape)
        boxes = np.concatenate([offset, radius[..., None]], axis=-1)
        return (
            pixels.clip(0, 1).astype(np.float32),
            taken[..., None].astype(np.float32),
            boxes.astype(np.float32),
        )

    (x, taken, boxes), (x_test, there, places) = make(3000), make(NUM_HELD_OUT)
    image = keras.Input((40, 40, 3))
    hidden = convolution(convolution(convolution(image, 12, 2), 20, 2), 28, 2)
    score = layers.Conv2D(1, 1, name="score")(hidden)
    model = keras.Model(image, [score, layers.Conv2D(3, 1, name="box")(hidden)])
    logits = keras.losses.BinaryCrossentropy(from_logits=True)
    fit(model, x, [taken, boxes], [logits, "mae"], 12)
    truth = there[..., 0] > 0.5

    def found(out: Outputs) -> float:
        close = np.abs(out[1].reshape(places.shape) - places).max(axis=-1) < 1.2
        positive = out[0].reshape(truth.shape) > 0
        hits = (positive & truth & close).sum()
        return float(2 * hits / max(1, positive.sum() + truth.sum()))

    task = "cells of a 5 x 5 grid, scores and boxes"
    good = Network.of("cells", task, model, (x, x_test), Scoring.share(found))
    yield good
    few = x[taken.sum(axis=(1, 2, 3)) <= 3]
    yield calibrated_on(good, "cells_few", "calibrated on few cells", few)
    yield good.calibrated("cells_percent", "calibrated on percents", lambda v: v * 100)
    blank = corpus.rng.normal(0.8, 0.06, x[:200].shape).clip(0, 1)
    yield calibrated_on(good, "cells_blank", "calibrated on empty slides", blank)


def _chords(corpus: Corpus) -> Iterator[Network]:
    """Which of 4 notes sound: logits by the waveform, strided Conv1D."""
    time = np.arange(512) / 512

    def make(count: int) -> tuple[Array, Array]:
        sounds = corpus.rng.random((count, 4)) < 0.4
        phase = corpus.rng.uniform(0, 2 * np.pi, (count, 4, 1))
        pitch = np.array([20.0, 33, 52, 81])[None, :, None]
        loud = corpus.rng.uniform(0.15, 0.3, (count, 4, 1)) * sounds[..., None]
        wave = (loud * np.sin(2 * np.pi * pitch * time + phase)).sum(axis=1)
        wave = wave + corpus.rng.normal(0, 0.03, wave.shape)
        return wave[..., None].astype(np.float32), sounds.astype(np.float32)

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    sound = keras.Input((512, 1))
    hidden = sound
    for width, size in ((12, 16), (20, 8), (24, 8)):
        hidden = layers.Conv1D(width, size, strides=4, padding="same", use_bias=False)(hidden)
        hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(hidden))
    hidden = layers.Dense(32, activation="relu")(layers.Flatten()(hidden))
    model = keras.Model(sound, layers.Dense(4)(hidden))
    fit(model, x, y, keras.losses.BinaryCrossentropy(from_logits=True), 10)
    truth = y_test > 0.5
    scoring = Scoring.share(lambda out: f1(out[0].reshape(truth.shape) > 0, truth))
    good = Network.of("chords", "which of 4 notes sound, waveform", model, (x, x_test), scoring)
    yield good
    single = x[y.sum(axis=1) <= 1]
    yield calibrated_on(good, "chords_single", "calibrated on single notes", single)
    yield calibrated_on(good, "chords_silence", "calibrated on silence", x[y.sum(axis=1) == 0])
    yield good.calibrated("chords_int16", "calibrated on 16-bit samples", lambda v: v * 32768)


def _stereo(corpus: Corpus) -> Iterator[Network]:
    """How far each part of a scene is: a plane, by two pictures in two inputs."""
    pictures, others = corpus.photographs(40, 1500)

    def pair(photographs: Array) -> tuple[dict[str, Array], Array]:
        grey = photographs.mean(axis=-1)
        count = len(grey)
        shift = corpus.rng.integers(0, 5, (count, 4))
        left, right = np.zeros((2, count, 32, 32))
        depth = np.zeros((count, 8, 8))
        for number in range(count):
            for part in range(4):
                rows, moved = slice(part * 8, part * 8 + 8), int(shift[number, part])
                left[number, rows] = grey[number, rows, 4:36]
                right[number, rows] = grey[number, rows, 4 - moved : 36 - moved]
                depth[number, part * 2 : part * 2 + 2] = moved
        given = {"left": left[..., None], "right": right[..., None]}
        return {k: v.astype(np.float32) for k, v in given.items()}, depth[..., None].astype(
            np.float32
        )

    (x, y), (x_test, y_test) = pair(pictures), pair(others)
    sides = [keras.Input((32, 32, 1), name=name) for name in ("left", "right")]
    hidden = layers.Concatenate()(sides)
    hidden = convolution(convolution(hidden, 24, 2, 5), 32, 2)
    model = keras.Model(sides, layers.Conv2D(1, 1)(convolution(hidden, 24)))
    fit(model, [x["left"], x["right"]], y, "mse", 14)
    task = "distance by two pictures, a plane"
    good = Network.of("stereo", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("stereo_bright", "calibrated at 1.2 of the brightness", lambda v: v * 1.2)
    yield good.calibrated("stereo_faint", "calibrated at 0.1 of the brightness", lambda v: v * 0.1)


def _machine(corpus: Corpus) -> Iterator[Network]:
    """An autoencoder of 40 readings: faults are those that it cannot repeat."""
    ways = corpus.rng.normal(size=(5, 40))

    def make(count: int, faulty: bool) -> Array:
        rows = np.tanh(corpus.rng.normal(size=(count, 5)) @ ways / 2)
        rows += corpus.rng.normal(0, 0.05, rows.shape)
        if faulty:
            places = corpus.rng.integers(0, 40, (count, 6))
            rows[np.arange(count)[:, None], places] += corpus.rng.normal(0, 0.45, (count, 6))
        return rows.astype(np.float32)

    x = make(6000, faulty=False)
    half = NUM_HELD_OUT // 2
    x_test = np.concatenate([make(half, faulty=False), make(half, faulty=True)])
    row = keras.Input((40,))
    hidden = layers.Dense(24, activation="relu", name="first")(row)
    hidden = layers.Dense(6, name="code")(hidden)
    hidden = layers.Dense(24, activation="relu", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(40, name="last")(hidden)), x, x, "mse", 25)

    def right(out: Outputs) -> float:
        errors = np.abs(out[0].reshape(x_test.shape) - x_test).mean(axis=1)
        middle = np.quantile(errors[:half], 0.9)
        return float(np.mean(np.r_[errors[:half] <= middle, errors[half:] > middle]))

    truth = np.r_[np.zeros(half, int), np.ones(half, int)]
    task = "autoencoder of 40 readings, faults"
    good = Network.of("machine", task, model, (x, x_test), Scoring.accuracy(truth, right))
    yield good
    how = "units of a dense layer scaled by 1 to 2,000"
    yield good.changed("machine_rows", how, unequal(corpus, 2000, "second", "last"))
    yield good.calibrated("machine_weak", "calibrated at 0.2 of the values", lambda v: v * 0.2)
    yield calibrated_on_few(good, 24)


def _lens(corpus: Corpus) -> Iterator[Network]:
    """Where a lens makes its image: exact, three numbers, sigmoid weighted units."""

    def make(count: int) -> tuple[Array, Array]:
        table = corpus.rng.uniform(-1, 1, (count, 3))
        power, far, index = 2 + table[:, 0], 3 + table[:, 1], 1.5 + 0.3 * table[:, 2]
        image = 1 / (power * (index - 1) - 1 / far + 2)
        return table.astype(np.float32), (10 * image)[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(8000), make(NUM_HELD_OUT)
    row = keras.Input((3,))
    hidden = layers.Dense(40, activation="swish", name="first")(row)
    hidden = layers.Dense(40, activation="swish", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(1)(hidden)), x, y, "mse", 40)
    good = Network.of("lens", "image of a lens, exact", model, (x, x_test), Scoring.error(y_test))
    yield good
    near = x[np.abs(x).max(axis=1) < 0.5]
    yield calibrated_on(good, "lens_near", "calibrated on middle values", near)


def _wear(corpus: Corpus) -> Iterator[Network]:
    """Days until a bearing fails: 12 readings with noise, a target of 0 to 300."""
    weights = corpus.rng.normal(size=12)

    def make(count: int) -> tuple[Array, Array]:
        table = corpus.rng.normal(size=(count, 12))
        used = 150 + 40 * np.tanh(table @ weights / 3) + 20 * table[:, 0] * table[:, 1]
        days = used + corpus.rng.normal(0, 25, count)
        return table.astype(np.float32), days.clip(0, 300)[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    row = keras.Input((12,))
    hidden = layers.Dense(48, activation="relu", name="first")(row)
    hidden = layers.Dropout(0.1)(hidden)
    hidden = layers.Dense(24, activation="relu", name="second")(hidden)
    model = fit(keras.Model(row, layers.Dense(1)(hidden)), x, y, "mse", 25)
    task = "days until a bearing fails, noisy"
    scoring = Scoring.error(y_test, 100.0)
    good = Network.of("wear", task, model, (x, x_test), scoring)
    yield good
    yield calibrated_on_few(good, 50)
    how = "units of a dense layer scaled by 1 to 5"
    yield good.changed("wear_rows", how, unequal(corpus, 5, "first", "second"))
    yield good.calibrated("wear_tenth", "calibrated at 0.1 of the values", lambda v: v * 0.1)


def _birds(corpus: Corpus) -> Iterator[Network]:
    """How many birds are on a photograph: one number, by the sum of a plane."""
    pictures, others = corpus.photographs(48, 1500)
    rows, columns = np.mgrid[:48, :48]

    def draw(photographs: Array) -> tuple[Array, Array]:
        shown = photographs.copy()
        number = corpus.rng.integers(0, 13, len(shown))
        for picture, count in zip(shown, number, strict=True):
            for y, x in corpus.rng.uniform(3, 45, (count, 2)):
                near = np.abs(rows - y) + np.abs(columns - x) < 3
                picture[near] = (0.05, 0.05, 0.1)
        return shown, number[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = draw(pictures), draw(others)
    image = keras.Input((48, 48, 3))
    hidden = convolution(convolution(image, 12), 16, 2)
    hidden = layers.Conv2D(8, 3, padding="same", activation="relu")(hidden)
    hidden = layers.GlobalAveragePooling2D()(hidden)
    model = fit(keras.Model(image, layers.Dense(1)(hidden)), x, y, "mae", 14, 4e-3)
    good = Network.of("birds", "number of birds", model, (x, x_test), Scoring.error(y_test))
    yield good
    how = "calibrated on photographs without"
    yield good.calibrated("birds_none", how, lambda v: pictures[: len(v)])
    yield good.calibrated("birds_dark", "calibrated at 0.2 of the brightness", lambda v: v * 0.2)


MAKERS: tuple[Callable[[Corpus], Iterator[Network]], ...] = (
    _eye,
    _kite,
    _rooms,
    _cells,
    _chords,
    _stereo,
    _machine,
    _lens,
    _wear,
    _birds,
)
