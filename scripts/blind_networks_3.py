# SPDX-License-Identifier: Apache-2.0
"""A third set of small networks to try the verdict on.

They were made after all limits for the first two sets. The faults are those of calibration in
practice: another order of the colours, another preprocessing, few samples, samples of one kind,
clipped values; and those of the network: logits beyond need, joined heads, unequal channels.
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
    fit,
    iou,
    spoiled,
    unequal,
)

SEED = 9311


# -- pictures


def _paint(corpus: Corpus) -> Iterator[Network]:
    """The colour and class of a painted digit: 30 classes; densely joined layers, pixels -1..1."""
    x, y, x_test, y_test = corpus.digits(6000, NUM_HELD_OUT)

    def paint(pictures: Array, digits: NDArray[Any]) -> tuple[Array, NDArray[Any]]:
        kinds = corpus.rng.integers(0, 3, len(digits))
        colours = np.array([[1, 0.3, 0.1], [0.2, 0.9, 0.3], [0.1, 0.2, 1]])[kinds]
        ground = corpus.rng.uniform(0, 0.3, (len(digits), 1, 1, 3))
        painted = np.maximum(pictures * colours[:, None, None], ground)
        return (painted * 2 - 1).astype(np.float32), digits * 3 + kinds

    (x, y), (x_test, y_test) = paint(x, y), paint(x_test, y_test)
    image = keras.Input((28, 28, 3))
    hidden = convolution(image, 16, 2)
    for _ in range(3):
        hidden = layers.Concatenate()([hidden, convolution(hidden, 12)])
    hidden = layers.GlobalAveragePooling2D()(convolution(hidden, 48, 2))
    model = keras.Model(image, layers.Dense(30, activation="softmax")(hidden))
    fit(model, x, y, CLASSES, 8)
    task = "30 painted digits, densely joined layers"
    good = Network.of("paint", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("paint_bgr", "calibrated on BGR", lambda v: v[..., ::-1])
    yield good.calibrated("paint_unit", "calibrated on pixels of 0..1", lambda v: (v + 1) / 2)
    yield good.calibrated("paint_raw", "calibrated on pixels of 0..255", lambda v: v * 127.5 + 128)
    yield calibrated_on(good, "paint_red", "calibrated on one colour", x[(y % 3 == 0)])
    yield calibrated_on_few(good, 8)


def _stamp(corpus: Corpus) -> Iterator[Network]:
    """Digits on photographs, without normalization."""
    x, y, x_test, y_test = corpus.digits(6000, NUM_HELD_OUT)
    crops, crops_test = corpus.photographs(28, 6000)
    stamped = np.clip(crops * 0.6 + x, 0, 1).astype(np.float32)
    stamped_test = np.clip(crops_test * 0.6 + x_test, 0, 1).astype(np.float32)
    image = keras.Input((28, 28, 3))
    hidden = image
    for width in (16, 24, 32):
        hidden = layers.Conv2D(width, 3, padding="same", activation="relu")(hidden)
        hidden = layers.MaxPooling2D()(hidden)
    hidden = layers.Dense(48, activation="relu")(layers.Flatten()(hidden))
    model = keras.Model(image, layers.Dense(10)(hidden))
    fit(model, stamped, y, LOGITS, 8)
    task, samples = "digits on photographs, no normalization", (stamped, stamped_test)
    good = Network.of("stamp", task, model, samples, Scoring.accuracy(y_test))
    yield good
    yield calibrated_on(good, "stamp_photos", "calibrated on photographs without digits", crops)
    yield calibrated_on(good, "stamp_dark", "calibrated on dark photographs", crops * 0.25)
    yield good.calibrated("stamp_half", "calibrated at half of the brightness", lambda v: v * 0.5)
    flat = corpus.rng.uniform(0, 1, (300, 1, 1, 3)) + np.zeros((300, 28, 28, 3))
    yield calibrated_on(good, "stamp_flat", "calibrated on pictures of one colour", flat)
    yield good.calibrated("stamp_255", "calibrated on pixels of 0..255", lambda v: v * 255)


def _parts(corpus: Corpus) -> Iterator[Network]:
    """Ground, disc and ring in a picture: a U-Net without normalization, logits."""
    rows, columns = np.mgrid[:32, :32]

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        pictures = corpus.rng.normal(0.4, 0.1, (count, 32, 32, 1))
        kinds = np.zeros((count, 32, 32), np.int64)
        for picture, kind in zip(pictures, kinds, strict=True):
            for number in (1, 2):
                row, column = corpus.rng.uniform(6, 26, 2)
                away = np.hypot(rows - row, columns - column)
                is_in = (away < 5) & ((away > 2.5) | (number == 1))
                picture[is_in, 0] += corpus.rng.uniform(0.25, 0.5)
                kind[is_in] = number
        return np.clip(pictures, 0, 1).astype(np.float32), kinds

    (x, y), (x_test, y_test) = make(2500), make(200)
    image = keras.Input((32, 32, 1))

    def step(value: Any, width: int, name: str | None = None) -> Any:  # noqa: ANN401
        return layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(value)

    fine = step(image, 12)
    middle = step(layers.MaxPooling2D()(fine), 20)
    coarse = step(step(layers.MaxPooling2D()(middle), 32), 24)
    up = layers.Concatenate()([layers.UpSampling2D()(coarse), middle])
    up = layers.Concatenate()([layers.UpSampling2D()(step(up, 16)), fine])
    last = step(step(up, 16, "before"), 16, "after")
    model = keras.Model(image, layers.Conv2D(3, 1, name="logits")(last))
    fit(model, x, y, LOGITS, 10)

    def mean_iou(out: Outputs) -> float:
        found = out[0].reshape(*y_test.shape, 3).argmax(-1)
        return float(np.mean([iou(found == kind, y_test == kind) for kind in (1, 2)]))

    task = "disc and ring, U-Net, logits"
    good = Network.of("parts", task, model, (x, x_test), Scoring.share(mean_iou))
    yield good
    yield calibrated_on(
        good,
        "parts_empty",
        "calibrated on pictures without objects",
        corpus.rng.normal(0.4, 0.1, (300, 32, 32, 1)).clip(0, 1),
    )
    yield good.changed(
        "parts_unequal", "channels scaled by 1 to 2000", unequal(corpus, 2000, "before", "after")
    )

    def wide(weights: dict[str, list[Array]]) -> None:
        """Let the ground's logit be far above all others where it is certain."""
        weights["logits"][0][..., 0] *= 40
        weights["logits"][1][0] *= 40

    yield good.changed("parts_wide", "one logit 40 times as large", wide)
    yield calibrated_on_few(good, 4)


def _finder(corpus: Corpus) -> Iterator[Network]:
    """Digits on a canvas: a grid of scores and boxes, two outputs."""
    x, _, x_test, _ = corpus.digits(5000, 1500)

    def make(digits: Array, count: int) -> tuple[Array, Array, Array]:
        canvas = corpus.rng.uniform(0, 0.3, (count, 48, 48, 1)).astype(np.float32)
        scores = np.zeros((count, 6, 6, 1), np.float32)
        boxes = np.zeros((count, 6, 6, 4), np.float32)
        for row in range(count):
            for _ in range(corpus.rng.integers(1, 4)):
                size = int(corpus.rng.integers(1, 3)) * 7
                small = digits[corpus.rng.integers(len(digits))]
                small = small.reshape(size, 28 // size, size, 28 // size).max((1, 3))
                top, left = corpus.rng.integers(0, 48 - size, 2)
                cell = ((top + size // 2) // 8, (left + size // 2) // 8)
                if scores[(row, *cell)]:
                    continue
                part = canvas[row, top : top + size, left : left + size, 0]
                np.maximum(part, small, out=part)
                scores[(row, *cell)] = 1
                boxes[(row, *cell)] = np.array([top, left, top + size, left + size]) / 48
        return canvas, scores, boxes

    (x, s, b), (x_test, s_test, b_test) = make(x, 3000), make(x_test, 300)
    image = keras.Input((48, 48, 1))
    hidden = convolution(convolution(image, 16, 2), 24, 2)
    hidden = convolution(convolution(hidden, 32, 2), 32)
    score = layers.Conv2D(1, 3, padding="same", name="score")(hidden)
    box = layers.Conv2D(4, 3, padding="same", activation="sigmoid", name="box")(hidden)
    model = keras.Model(image, [box, score])

    def box_loss(true: Any, found: Any) -> Any:  # noqa: ANN401
        is_object = keras.ops.cast(true[..., 2:3] > 0, "float32")
        return 20 * keras.ops.mean(is_object * keras.ops.abs(true - found))

    fit(model, x, [b, s], [box_loss, keras.losses.BinaryCrossentropy(from_logits=True)], 12)

    def f1(out: Outputs) -> float:
        boxes, scores = out[0].reshape(b_test.shape), out[1].reshape(s_test.shape)[..., 0] > 0
        true = s_test[..., 0] > 0
        low = np.maximum(boxes[..., :2], b_test[..., :2])
        high = np.minimum(boxes[..., 2:], b_test[..., 2:])
        both = np.prod(np.clip(high - low, 0, None), axis=-1)
        areas = sum(np.prod(e[..., 2:] - e[..., :2], axis=-1) for e in (boxes, b_test))
        right = scores & true & (both / np.maximum(areas - both, 1e-6) > 0.5)
        return float(2 * right.sum() / (scores.sum() + true.sum()))

    task = "digits on a canvas, boxes and logits"
    good = Network.of("finder", task, model, (x, x_test), Scoring.share(f1))
    yield good
    yield good.calibrated("finder_dim", "calibrated on dim pictures", lambda v: v * 0.3)
    empty = corpus.rng.uniform(0, 0.3, (300, 48, 48, 1))
    yield calibrated_on(good, "finder_empty", "calibrated on pictures without digits", empty)
    below = layers.ReLU()(layers.Rescaling(-1.0, -2.0)(score))
    far = layers.Subtract()([score, layers.Rescaling(150.0)(below)])
    wide = keras.Model(image, [box, far])
    yield replace(
        good, name="finder_wide", task=f"{task}; logits 150 times as far below -2", model=wide
    )
    pixels = layers.Rescaling(48.0)(box)
    joined = layers.Concatenate()([pixels, layers.Activation("sigmoid")(score)])

    def joined_f1(out: Outputs) -> float:
        whole = out[0].reshape(len(b_test), 6, 6, 5)
        return f1([whole[..., :4] / 48, whole[..., 4:] - 0.5])

    yield replace(
        good,
        name="finder_joined",
        task=f"{task}; boxes in pixels and scores in one output",
        model=keras.Model(image, joined),
        scoring=Scoring.share(joined_f1),
    )


def _joints(corpus: Corpus) -> Iterator[Network]:
    """The ends of a stick: four numbers by a dense layer, no normalization."""
    rows, columns = np.mgrid[:32, :32] / 31

    def make(count: int) -> tuple[Array, Array]:
        ends = corpus.rng.uniform(0.1, 0.9, (count, 2, 2))
        order = np.argsort(ends[:, :, 1], axis=1)
        ends = np.take_along_axis(ends, order[..., None], axis=1)
        pictures = corpus.rng.uniform(0, 0.25, (count, 32, 32, 1))
        for picture, (a, b) in zip(pictures, ends, strict=True):
            for share in np.linspace(0, 1, 24):
                point = a + share * (b - a)
                away = (rows - point[0]) ** 2 + (columns - point[1]) ** 2
                picture[away < 0.002, 0] = 0.6 + 0.4 * share
        return pictures.astype(np.float32), ends.reshape(count, 4).astype(np.float32)

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    image = keras.Input((32, 32, 1))
    hidden = image
    for width in (16, 24, 32):
        hidden = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(hidden)
    hidden = layers.Dense(64, activation="relu", name="wide")(layers.Flatten()(hidden))
    hidden = layers.Dense(32, activation="relu", name="narrow")(hidden)
    model = fit(keras.Model(image, layers.Dense(4)(hidden)), x, y, "mae", 20)
    task = "ends of a stick, four numbers"
    good = Network.of("joints", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.changed(
        "joints_rows",
        "units of a dense layer scaled by 1 to 500",
        unequal(corpus, 500, "wide", "narrow"),
    )
    yield good.calibrated("joints_dim", "calibrated at 0.4 of the brightness", lambda v: v * 0.4)
    short = np.abs(y[:, 0] - y[:, 2]) + np.abs(y[:, 1] - y[:, 3]) < 0.3
    yield calibrated_on(good, "joints_short", "calibrated on short sticks", x[short])


def _similar(corpus: Corpus) -> Iterator[Network]:
    """16 features of a digit; found again among examples by their direction."""
    x, y, x_test, y_test = corpus.digits(6000, NUM_HELD_OUT)
    image = keras.Input((28, 28, 1))
    hidden = convolution(convolution(convolution(image, 12, 2), 24, 2), 32, 2)
    features = layers.Dense(16)(layers.Flatten()(hidden))
    directions = layers.Rescaling(8.0)(layers.UnitNormalization()(features))
    trained = keras.Model(image, layers.Dense(10, use_bias=False)(directions))
    fit(trained, x, y, LOGITS, 6)
    model = keras.Model(image, features)

    def directed(rows: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return found

    kinds = [directed(model.predict(x[y == kind], verbose=0)) for kind in range(10)]
    centres = np.stack([each.mean(0) for each in kinds])

    def right(out: Outputs) -> float:
        rows = directed(out[0].reshape(len(y_test), 16) + 1e-6)
        return float(np.mean((rows @ centres.T).argmax(1) == y_test))

    task = "16 features of a digit, compared by direction"
    good = Network.of("similar", task, model, (x, x_test), Scoring.accuracy(y_test, right))
    yield good
    yield calibrated_on(good, "similar_ones", "calibrated on the digit 1", x[y == 1])
    yield good.calibrated("similar_inverse", "calibrated on black on white", lambda v: 1 - v)
    yield good.calibrated("similar_255", "calibrated on pixels of 0..255", lambda v: v * 255)


def _years(corpus: Corpus) -> Iterator[Network]:
    """A number between 1900 and 2000 by the size of a disc on a photograph."""
    crops, crops_test = corpus.photographs(32, 3000)
    rows, columns = np.mgrid[:32, :32]

    def make(pictures: Array) -> tuple[Array, Array]:
        radius = corpus.rng.uniform(3, 12, (len(pictures), 1, 1))
        centres = corpus.rng.uniform(12, 20, (2, len(pictures), 1, 1))
        is_in = (rows - centres[0]) ** 2 + (columns - centres[1]) ** 2 < radius**2
        colour = np.array([1.0, 0.9, 0.1])
        found = np.where(is_in[..., None], colour, pictures * 0.8)
        return found.astype(np.float32), (1900 + (radius[:, 0] - 3) / 9 * 100).astype(np.float32)

    (x, y), (x_test, y_test) = make(crops), make(crops_test)
    image = keras.Input((32, 32, 3))
    hidden = convolution(convolution(convolution(image, 12, 2), 16, 2), 24, 2)
    hidden = layers.Dense(24, activation="relu")(layers.Flatten()(hidden))
    trained = fit(keras.Model(image, layers.Dense(1)(hidden)), x, (y - 1950) / 30, "mae", 15)
    task, samples = "a year by the size of a disc", (x, x_test)
    narrow = keras.Model(image, layers.Rescaling(30.0)(trained.output))
    good = Network.of("years", f"{task}, from 1950", narrow, samples, Scoring.error(y_test - 1950))
    yield good
    yield good.calibrated("years_bgr", "calibrated on BGR", lambda v: v[..., ::-1])
    small = y[:, 0] < 1925
    yield calibrated_on(good, "years_small", "calibrated on small discs", x[small])
    whole = keras.Model(image, layers.Rescaling(30.0, 1950.0)(trained.output))
    yield Network.of("years_whole", task, whole, samples, Scoring.error(y_test))


# -- sounds, series and tables


def _sounds(corpus: Corpus) -> Iterator[Network]:
    """Eight sounds by spectra in decibels, standardized; convolutions without normalization."""
    times, bins = np.arange(24)[:, None], np.arange(32)

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        kinds = corpus.rng.integers(0, 8, count)
        spectra = corpus.rng.gamma(1, 1e-4, (count, 24, 32))
        for row, kind in zip(spectra, kinds, strict=True):
            pitch, start = corpus.rng.uniform(5, 11), corpus.rng.uniform(0, 6)
            slope = (0, 0.4, -0.2, 0)[kind % 4]
            place = pitch + slope * times + (1.5 * np.sin(times / 2) if kind % 4 == 3 else 0)
            for partial in range(1, 3 if kind < 4 else 2):
                sound = np.exp(-((bins - place * partial) ** 2)) * (times > start)
                np.add(row, sound / partial**2, out=row)
            np.multiply(row, 10 ** corpus.rng.uniform(-1.5, 0), out=row)
        decibels = 10 * np.log10(spectra + 1e-8)
        return ((decibels + 45) / 15)[..., None].astype(np.float32), kinds

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    spectrum = keras.Input((24, 32, 1))
    hidden = layers.Conv2D(12, 3, activation="relu")(spectrum)
    hidden = layers.Conv2D(16, 3, strides=2, activation="relu")(hidden)
    hidden = layers.Conv2D(24, 3, strides=2, activation="relu")(hidden)
    hidden = layers.Dense(32, activation="relu")(layers.Flatten()(hidden))
    model = fit(
        keras.Model(spectrum, layers.Dense(8, activation="softmax")(hidden)), x, y, CLASSES, 8
    )
    task = "8 sounds, spectra in dB"
    good = Network.of("sounds", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("sounds_db", "calibrated on dB, not standardized", lambda v: v * 15 - 45)
    noise = 10 * np.log10(corpus.rng.gamma(1, 1e-4, (300, 24, 32, 1)) + 1e-8)
    yield calibrated_on(good, "sounds_noise", "calibrated on noise", (noise + 45) / 15)
    yield good.calibrated(
        "sounds_linear", "calibrated on amplitudes of 0..1", lambda v: 10 ** ((v * 15 - 45) / 20)
    )
    yield calibrated_on_few(good, 5)


def _words(corpus: Corpus) -> Iterator[Network]:
    """Six words as series of 10 features, by a GRU."""
    patterns = corpus.rng.normal(0, 1, (6, 6, 10))

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        kinds = corpus.rng.integers(0, 6, count)
        series = corpus.rng.normal(0, 0.5, (count, 24, 10))
        for row, kind in zip(series, kinds, strict=True):
            start = corpus.rng.integers(0, 12)
            row[start : start + 12] += np.repeat(patterns[kind], 2, axis=0) * corpus.rng.uniform(
                0.5, 1.2
            )
        return series.astype(np.float32), kinds

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    series = keras.Input((24, 10))
    hidden = layers.GRU(24, reset_after=True)(series)
    model = fit(
        keras.Model(series, layers.Dense(6, activation="softmax")(hidden)), x, y, CLASSES, 10
    )
    good = Network.of("words", "6 words, GRU", model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("words_quiet", "calibrated at 0.2 of the values", lambda v: v * 0.2)
    yield good.calibrated("words_spoiled", "one of 200 samples 60 times larger", spoiled)
    yield good.calibrated(
        "words_clipped", "calibrated on values clipped at 0.5", lambda v: v.clip(-0.5, 0.5)
    )
    yield good.calibrated("words_large", "calibrated on values 20 times as large", lambda v: v * 20)


def _demand(corpus: Corpus) -> Iterator[Network]:
    """The next 6 values of a growing series, by an LSTM."""

    def make(count: int, low: float, high: float) -> tuple[Array, Array]:
        level = corpus.rng.uniform(low, high, (count, 1))
        steps = np.arange(42)[None]
        phase = corpus.rng.uniform(0, 12, (count, 1))
        series = level * (1 + 0.3 * np.sin((steps + phase) / 2)) + 0.01 * steps * level
        series += corpus.rng.normal(0, 0.02, series.shape)
        return series[:, :36, None].astype(np.float32), series[:, 36:].astype(np.float32)

    (x, y), (x_test, y_test) = make(4000, 0.2, 2), make(NUM_HELD_OUT, 0.2, 2)
    series = keras.Input((36, 1))
    hidden = layers.Dense(24, activation="relu")(layers.LSTM(24)(series))
    model = fit(keras.Model(series, layers.Dense(6)(hidden)), x, y, "mae", 12)
    task = "the next 6 values of a series, LSTM"
    good = Network.of("demand", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    early, _ = make(300, 0.2, 0.6)
    yield calibrated_on(good, "demand_early", "calibrated on the early, low part", early)
    late, _ = make(300, 1.6, 2)
    yield calibrated_on(good, "demand_late", "calibrated on the late, high part", late)


def _motion(corpus: Corpus) -> Iterator[Network]:
    """Five motions by a sensor of three axes: residual Conv1D."""

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        kinds = corpus.rng.integers(0, 5, count)
        steps = np.arange(64)[None, :, None]
        rate = np.array([0.15, 0.3, 0.5, 0.3, 0.8])[kinds][:, None, None]
        rate = rate * corpus.rng.uniform(0.85, 1.15, rate.shape)
        axis = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]])[kinds][:, None]
        series = axis * np.sin(rate * steps + corpus.rng.uniform(0, 6, (count, 1, 1))) * 4
        series = series * corpus.rng.uniform(0.3, 1, (count, 1, 1))
        series += np.array([0, 0, 9.81]) + corpus.rng.normal(0, 1.0, series.shape)
        return series.astype(np.float32), kinds

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    series = keras.Input((64, 3))

    def step(value: Any, width: int, stride: int = 1) -> Any:  # noqa: ANN401
        value = layers.Conv1D(width, 5, strides=stride, padding="same", use_bias=False)(value)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(value))

    hidden = step(series, 16, 2)
    hidden = layers.Add()([hidden, step(step(hidden, 16), 16)])
    hidden = layers.GlobalAveragePooling1D()(step(hidden, 24, 2))
    model = fit(keras.Model(series, layers.Dense(5)(hidden)), x, y, LOGITS, 6)
    task = "5 motions, three axes, Conv1D"
    good = Network.of("motion", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("motion_g", "calibrated in g instead of m/s2", lambda v: v / 9.81)
    still = np.array([0, 0, 9.81]) + corpus.rng.normal(0, 0.3, (300, 64, 3))
    yield calibrated_on(good, "motion_still", "calibrated at rest", still)
    yield calibrated_on(good, "motion_one", "calibrated on one motion", x[y == 2])
    yield calibrated_on_few(good, 6)


def _yield(corpus: Corpus) -> Iterator[Network]:
    """The yield of a process by 12 standardized readings: selu, no normalization."""
    mixing = corpus.rng.normal(0, 1, (12, 12)) / 3

    def make(count: int) -> tuple[Array, Array]:
        table = corpus.rng.normal(0, 1, (count, 12)) @ mixing
        value = np.tanh(table[:, 0]) + table[:, 1] * table[:, 2] + np.abs(table[:, 3])
        value += corpus.rng.normal(0, 0.15, count)
        return table.astype(np.float32), value[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    row = keras.Input((12,))
    hidden = layers.Dense(48, activation="selu")(row)
    hidden = layers.Dense(32, activation="selu")(hidden)
    model = fit(keras.Model(row, layers.Dense(1)(hidden)), x, y, "mae", 20)
    task = "the yield by 12 readings, selu"
    good = Network.of("yield", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("yield_steady", "calibrated near the mean", lambda v: v * 0.3)
    yield good.calibrated("yield_unit", "calibrated on 0..1", lambda v: (v - v.min()) / np.ptp(v))
    factors = np.geomspace(1, 4000, 12).astype(np.float32)
    other = keras.Input((12,))
    scaled = keras.Model(
        other, model(layers.Normalization(mean=np.zeros(12), variance=factors**2)(other))
    )
    yield Network.of(
        "yield_raw",
        f"{task}; readings of very different ranges",
        scaled,
        (x * factors, x_test * factors),
        Scoring.error(y_test),
    )


def _state(corpus: Corpus) -> Iterator[Network]:
    """Two heads by a series: its class, and its rate and height as real numbers."""

    def make(count: int) -> tuple[Array, NDArray[Any], Array]:
        kinds = corpus.rng.integers(0, 3, count)
        rate, height = (
            corpus.rng.uniform(0.1, 0.6, (count, 1)),
            corpus.rng.uniform(0.5, 3, (count, 1)),
        )
        phase = rate * np.arange(48) + corpus.rng.uniform(0, 6, (count, 1))
        shapes = np.stack([np.sin(phase), np.sign(np.sin(phase)), (phase / np.pi % 2) - 1])
        series = height * shapes[kinds, np.arange(count)] + corpus.rng.normal(0, 0.1, (count, 48))
        return (
            series[..., None].astype(np.float32),
            kinds,
            np.concatenate([rate * 5, height], 1).astype(np.float32),
        )

    (x, y, n), (x_test, y_test, n_test) = make(5000), make(NUM_HELD_OUT)
    series = keras.Input((48, 1))
    hidden = layers.Conv1D(16, 7, strides=2, activation="tanh")(series)
    hidden = layers.Conv1D(24, 5, strides=2, activation="relu")(hidden)
    hidden = layers.Dense(48, activation="relu")(layers.Flatten()(hidden))
    kind = layers.Dense(3, activation="softmax", name="kind")(hidden)
    numbers = layers.Dense(2, name="numbers")(hidden)
    model = fit(keras.Model(series, [kind, numbers]), x, [y, n], [CLASSES, "mae"], 12)

    def error(out: Outputs) -> float:
        wrong = np.mean(out[0].reshape(-1, 3).argmax(1) != y_test)
        return float(wrong + np.mean(np.abs(out[1].reshape(n_test.shape) - n_test) / n_test.std(0)))

    task = "class, rate and height of a series"
    scoring = replace(Scoring.error(n_test, n_test.std(0)), of=error)
    good = Network.of("state", task, model, (x, x_test), scoring)
    yield good
    low = n[:, 1] < 1
    yield calibrated_on(good, "state_low", "calibrated on low series", x[low])
    joined = keras.Model(series, layers.Concatenate()([kind, layers.Rescaling(400.0)(numbers)]))

    def joined_error(out: Outputs) -> float:
        whole = out[0].reshape(-1, 5)
        return error([whole[:, :3], whole[:, 3:] / 400])

    yield replace(
        good,
        name="state_joined",
        task=f"{task}; probabilities and numbers up to 1000 in one output",
        model=joined,
        scoring=replace(scoring, of=joined_error),
    )


def _fault(corpus: Corpus) -> Iterator[Network]:
    """Whether a machine is faulty, by one sigmoid: few are."""

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        is_bad = corpus.rng.random(count) < 0.25
        series = corpus.rng.normal(0, 0.4, (count, 80))
        steps = np.arange(80)
        for row in np.flatnonzero(is_bad):
            start, gap = corpus.rng.integers(0, 12), corpus.rng.integers(9, 16)
            series[row, start::gap] += corpus.rng.uniform(1.0, 2.5)
        series += np.sin(steps * 0.7 + corpus.rng.uniform(0, 6, (count, 1)))
        return series[..., None].astype(np.float32), is_bad.astype(np.int64)

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    series = keras.Input((80, 1))
    hidden = layers.Conv1D(16, 7, activation="relu")(series)
    hidden = layers.Conv1D(24, 5, strides=2, activation="relu")(hidden)
    hidden = layers.GlobalMaxPooling1D()(hidden)
    hidden = layers.Dense(24, activation="relu", name="first")(hidden)
    hidden = layers.Dense(16, activation="relu", name="second")(hidden)
    model = fit(
        keras.Model(series, layers.Dense(1, activation="sigmoid")(hidden)),
        x,
        y,
        "binary_crossentropy",
        10,
    )

    def right(out: Outputs) -> float:
        return float(np.mean((out[0].reshape(-1) > 0.5) == (y_test > 0)))

    task = "whether a machine is faulty, one probability"
    good = Network.of("fault", task, model, (x, x_test), Scoring.accuracy(y_test, right))
    yield good
    yield calibrated_on(good, "fault_sound", "calibrated on sound machines", x[y == 0])
    yield good.calibrated("fault_quiet", "calibrated at 0.3 of the values", lambda v: v * 0.3)
    yield good.changed(
        "fault_rows",
        "units of a dense layer scaled by 1 to 500",
        unequal(corpus, 500, "first", "second"),
    )


MAKERS: tuple[Callable[[Corpus], Iterator[Network]], ...] = (
    _paint,
    _stamp,
    _parts,
    _finder,
    _joints,
    _similar,
    _years,
    _sounds,
    _words,
    _demand,
    _motion,
    _yield,
    _state,
    _fault,
)
