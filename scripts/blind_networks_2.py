# SPDX-License-Identifier: Apache-2.0
"""A second set of small networks to try the verdict on.

They were made after the limits had been changed for the networks of `blind_networks`, and share no
architecture, task or seed with them.
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
    convolution,
    f1,
    fit,
    iou,
    spoiled,
    unequal,
)

SEED = 4207


def _relu(x: Any, width: int, name: str | None = None, **options: Any) -> Any:  # noqa: ANN401
    convolve = layers.Conv2D(width, 3, padding="same", activation="relu", name=name, **options)
    return convolve(x)


# -- pictures


def _separable(corpus: Corpus) -> Iterator[Network]:
    """Digits by depthwise and pointwise convolutions with ReLU6."""
    x, y, x_test, y_test = corpus.digits(5000, NUM_HELD_OUT)
    image = keras.Input((28, 28, 1))
    hidden = convolution(image, 12, 2)
    for width, step in ((24, 1), (32, 2), (48, 2)):
        hidden = layers.DepthwiseConv2D(3, strides=step, padding="same", use_bias=False)(hidden)
        hidden = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(hidden))
        hidden = layers.Conv2D(width, 1, use_bias=False)(hidden)
        hidden = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(hidden))
    hidden = layers.GlobalAveragePooling2D()(hidden)
    model = fit(keras.Model(image, layers.Dense(10)(hidden)), x, y, LOGITS, 5)
    task = "10 digits, depthwise, logits"
    good = Network.of("separable", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("separable_dim", "calibrated on dim digits", lambda each: each * 0.12)
    yield good.calibrated(
        "separable_less",
        "calibrated on digits of 0.7 to 1 of the brightness",
        lambda each: each * corpus.rng.uniform(0.7, 1, (len(each), 1, 1, 1)),
    )


def _filters(corpus: Corpus) -> Iterator[Network]:
    """Which filter a photograph went through: none, blur, noise, or few levels."""

    def make(pictures: Array) -> tuple[Array, NDArray[Any]]:
        kinds = corpus.rng.integers(0, 4, len(pictures))
        rolled = [np.roll(pictures, (a, b), (1, 2)) for a in range(3) for b in range(3)]
        blurred = np.mean(rolled, axis=0)
        noisy = pictures + corpus.rng.normal(0, 0.08, pictures.shape)
        options = (pictures, blurred, noisy, np.round(pictures * 4) / 4)
        found = np.stack([options[kind][row] for row, kind in enumerate(kinds)])
        return np.clip(found, 0, 1).astype(np.float32), kinds

    crops, crops_test = corpus.photographs(32, 3000)
    (x, y), (x_test, y_test) = make(crops), make(crops_test)
    image = keras.Input((32, 32, 3))
    hidden = _relu(image, 16)
    inner = _relu(hidden, 16, "inner")
    outer = layers.Conv2D(16, 3, padding="same", name="outer")(inner)
    hidden = _relu(layers.ReLU()(layers.Add()([hidden, outer])), 24, strides=2)
    hidden = layers.GlobalAveragePooling2D()(_relu(hidden, 24, strides=2))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(hidden))
    fit(model, x, y, CLASSES, 8)
    task = "the filter of a photograph, residual"
    good = Network.of("filters", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.changed(
        "filters_unequal",
        "channels scaled by 1 to 3000",
        unequal(corpus, 3000, "inner", "outer"),
    )


def _tags(corpus: Corpus) -> Iterator[Network]:
    """Which of a disc, a square, a cross and a line are in a picture."""
    rows, columns = np.mgrid[:32, :32]

    def draw(kind: int) -> NDArray[np.bool_]:
        row, column = corpus.rng.integers(7, 25, 2)
        down, right = rows - row, columns - column
        shapes: tuple[NDArray[np.bool_], ...] = (
            down**2 + right**2 < 20,
            (abs(down) < 5) & (abs(right) < 5),
            (np.minimum(abs(down), abs(right)) < 1) & (np.maximum(abs(down), abs(right)) < 7),
            (abs(down - right) < 2) & (abs(down) < 7),
        )
        return shapes[kind]

    def make(count: int) -> tuple[Array, Array]:
        tags = (corpus.rng.random((count, 4)) < 0.4).astype(np.float32)
        pictures = corpus.rng.uniform(0, 0.3, (count, 32, 32, 1)).astype(np.float32)
        for picture, row in zip(pictures, tags, strict=True):
            for kind in np.flatnonzero(row):
                picture[draw(int(kind)), 0] += corpus.rng.uniform(0.4, 0.7)
        return pictures, tags

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    image = keras.Input((32, 32, 1))
    hidden = image
    for width in (16, 24, 32):
        hidden = layers.MaxPooling2D()(_relu(hidden, width))
    hidden = layers.Dense(32, activation="relu")(layers.Flatten()(hidden))
    model = keras.Model(image, layers.Dense(4, activation="sigmoid")(hidden))
    fit(model, x, y, "binary_crossentropy", 10)

    scoring = Scoring.share(lambda out: f1(out[0].reshape(y_test.shape) > 0.5, y_test > 0.5))
    task = "4 shapes, several true"
    good = Network.of("tags", task, model, (x, x_test), scoring)
    yield good
    bad = good.calibrated("tags_spoiled", "one of 200 samples 60 times larger", spoiled)
    yield replace(bad, num_samples=200)


def _place(corpus: Corpus) -> Iterator[Network]:
    """In which of 64 cells a blurred spot is, as a heat map of logits."""
    rows, columns = np.mgrid[:32, :32]

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        centres = corpus.rng.uniform(1, 31, (count, 2))
        away = [(axis - centres[:, k, None, None]) ** 2 for k, axis in enumerate((rows, columns))]
        spots = np.exp(-sum(away) / 8) * corpus.rng.uniform(0.3, 0.7, (count, 1, 1))
        pictures = spots + corpus.rng.uniform(0, 0.3, (count, 32, 32))
        cells = (centres // 4).astype(int)
        return pictures[..., None].astype(np.float32), cells[:, 0] * 8 + cells[:, 1]

    (x, y), (x_test, y_test) = make(4000), make(NUM_HELD_OUT)
    image = keras.Input((32, 32, 1))
    hidden = convolution(convolution(convolution(image, 8, size=5), 16, 2), 16, 2)
    heat = layers.Conv2D(1, 3, padding="same")(hidden)
    trained = keras.Model(image, layers.Flatten()(heat))
    fit(trained, x, y, LOGITS, 5)
    model, task = keras.Model(image, heat), "the cell of a spot, heat map of logits"
    good = Network.of("place", task, model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("place_255", "calibrated on pixels of 0..255", lambda each: each * 255)


def _superres(corpus: Corpus) -> Iterator[Network]:
    """Grey photographs of twice the size."""
    large, large_test = (each.mean(3, keepdims=True) for each in corpus.photographs(32, 2000))
    small, small_test = (
        each.reshape(-1, 16, 2, 16, 2, 1).mean(axis=(2, 4)) for each in (large, large_test)
    )
    image = keras.Input((16, 16, 1))
    hidden = _relu(_relu(image, 16), 16)
    hidden = _relu(layers.UpSampling2D()(hidden), 8)
    more = layers.Conv2D(1, 3, padding="same")(hidden)
    plain = layers.UpSampling2D(interpolation="bilinear")(image)
    model = fit(keras.Model(image, layers.Add()([plain, more])), small, large, "mae", 6)
    samples = (small, small_test)
    good = Network.of(
        "superres", "photographs of twice the size", model, samples, Scoring.error(large_test)
    )
    yield good
    yield good.calibrated("superres_dark", "calibrated on dark pictures", lambda each: each * 0.2)


def _mixer(corpus: Corpus) -> Iterator[Network]:
    """Digits by dense layers over the pixels of patches, and over the patches."""
    x, y, x_test, y_test = corpus.digits(6000, NUM_HELD_OUT)
    patches, patches_test = (
        each.reshape(-1, 4, 7, 4, 7).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 49)
        for each in (x, x_test)
    )
    rows = keras.Input((16, 49))
    hidden = layers.Dense(32, activation="relu")(rows)
    mixed = layers.Permute((2, 1))(
        layers.Dense(16, activation="relu")(layers.Permute((2, 1))(hidden))
    )
    hidden = layers.Add()([hidden, mixed])
    hidden = layers.Dense(48, activation="relu", name="first")(layers.Flatten()(hidden))
    hidden = layers.Dense(32, activation="relu", name="second")(hidden)
    model = keras.Model(rows, layers.Dense(10, activation="softmax")(hidden))
    fit(model, patches, y, CLASSES, 5)
    samples = (patches, patches_test)
    good = Network.of("mixer", "10 digits, patches", model, samples, Scoring.accuracy(y_test))
    yield good
    yield good.changed(
        "mixer_rows",
        "units of a dense layer scaled by 1 to 3000",
        unequal(corpus, 3000, "first", "second"),
    )


def _colour(corpus: Corpus) -> Iterator[Network]:
    """The colour of a disc on noise: three numbers."""
    rows, columns = np.mgrid[:24, :24]

    def make(count: int) -> tuple[Array, Array]:
        colours = corpus.rng.uniform(0, 1, (count, 3)).astype(np.float32)
        centres = corpus.rng.uniform(6, 18, (count, 2, 1, 1))
        is_in = (rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2 < 20
        noise = corpus.rng.uniform(0, 1, (count, 24, 24, 3))
        pictures = np.where(is_in[..., None], colours[:, None, None], noise)
        return pictures.astype(np.float32), colours

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    image = keras.Input((24, 24, 3))
    hidden = convolution(convolution(convolution(image, 16, 2), 24, 2), 32)
    hidden = layers.Dense(32, activation="relu")(layers.Flatten()(hidden))
    model = fit(keras.Model(image, layers.Dense(3)(hidden)), x, y, "mae", 8)
    good = Network.of("colour", "the colour of a disc", model, (x, x_test), Scoring.error(y_test))
    yield good
    red = (y[:, 0] > 0.8) & (y[:, 1:].max(axis=1) < 0.4)
    yield good.calibrated("colour_few", "calibrated on 3 red discs", lambda each: each[red][:3])


def _distance(corpus: Corpus) -> Iterator[Network]:
    """How far each pixel is from a digit: a plane of numbers."""
    x, _, x_test, _ = corpus.digits(1200, NUM_HELD_OUT)
    places = np.argwhere(np.ones((28, 28)))

    def distances(pictures: Array) -> Array:
        found = []
        for picture in pictures:
            ink = places[picture.reshape(-1) > 0.5]
            away = np.sqrt(((places[:, None] - ink) ** 2).sum(-1)).min(1)
            found.append(np.minimum(away, 12).reshape(28, 28, 1))
        return np.stack(found).astype(np.float32)

    y, y_test = distances(x), distances(x_test)
    image = keras.Input((28, 28, 1))
    hidden = _relu(image, 16)
    hidden = _relu(hidden, 16, "middle", dilation_rate=2)
    hidden = _relu(_relu(hidden, 16, "after", dilation_rate=4), 16, dilation_rate=2)
    model = keras.Model(image, layers.Conv2D(1, 3, padding="same")(hidden))
    fit(model, x, y, "mae", 12)
    task = "distance from a digit, a plane"
    good = Network.of("distance", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.changed(
        "distance_unequal",
        "channels scaled by 1 to 3000",
        unequal(corpus, 3000, "middle", "after"),
    )


# -- series and tables


def _pulses(corpus: Corpus) -> Iterator[Network]:
    """How many pulses a series has, by a recurrent layer."""

    def make(count: int) -> tuple[Array, Array]:
        series = corpus.rng.normal(0, 0.1, (count, 32, 1)).astype(np.float32)
        numbers = corpus.rng.integers(0, 6, count)
        for row, number in zip(series, numbers, strict=True):
            starts = 1 + 5 * corpus.rng.permutation(6)[:number]
            for start in starts:
                row[start : start + 3, 0] += corpus.rng.uniform(0.7, 1.3)
        return series, numbers[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    series = keras.Input((32, 1))
    hidden = layers.SimpleRNN(24, activation="relu")(series)
    model = fit(keras.Model(series, layers.Dense(1)(hidden)), x, y, "mae", 10)
    task = "number of pulses, recurrent"
    good = Network.of("pulses", task, model, (x, x_test), Scoring.error(y_test))
    yield good
    quiet = y[:, 0] == 0
    yield good.calibrated(
        "pulses_quiet", "calibrated on series without a pulse", lambda each: each[quiet]
    )


def _spectra(corpus: Corpus) -> Iterator[Network]:
    """Spectra of three peaks without noise, by a dense autoencoder."""
    bins = np.arange(64)

    def make(count: int) -> tuple[Array, Array]:
        places, heights = (
            corpus.rng.uniform(4, 60, (count, 3, 1)),
            corpus.rng.gamma(2, 1, (count, 3, 1)),
        )
        clean = (heights * np.exp(-(((bins - places) / 4) ** 2))).sum(axis=1)
        noisy = clean + corpus.rng.normal(0, 0.3, clean.shape)
        return noisy.astype(np.float32), clean.astype(np.float32)

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    row = keras.Input((64,))
    hidden = layers.Dense(48, activation="relu")(row)
    hidden = layers.Dense(48, activation="relu")(layers.Dense(12)(hidden))
    model = fit(keras.Model(row, layers.Dense(64)(hidden)), x, y, "mse", 15)
    good = Network.of("spectra", "spectra without noise", model, (x, x_test), Scoring.error(y_test))
    yield good
    far = keras.Input((64,))
    moved = keras.Model(
        far, layers.Rescaling(1.0, 500.0)(model(layers.Rescaling(1.0, -500.0)(far)))
    )
    yield Network.of(
        "spectra_offset",
        f"{good.task}; all values 500 higher",
        moved,
        (x + 500, x_test + 500),
        Scoring.error(y_test + 500),
    )


def _price(corpus: Corpus) -> Iterator[Network]:
    """A price by six features of a table."""

    def make(count: int) -> tuple[Array, Array]:
        uniform = corpus.rng.uniform
        area, rooms, year = (
            uniform(20, 200, count),
            uniform(1, 8, count),
            uniform(1900, 2020, count),
        )
        away, floor, income = (
            uniform(0, 50000, count),
            uniform(0, 20, count),
            uniform(1e4, 1e5, count),
        )
        price = area / 60 + rooms / 6 + (year - 1960) / 60 - away / 3e4 + np.sin(floor / 3)
        price = price + income / 4e4 * (area / 100) + corpus.rng.normal(0, 0.2, count)
        table = np.stack([area, rooms, year, away, floor, income], axis=1)
        return table.astype(np.float32), price[:, None].astype(np.float32)

    (x, y), (x_test, y_test) = make(6000), make(NUM_HELD_OUT)
    mean, deviation = x.mean(0), x.std(0)
    standard, standard_test = (((each - mean) / deviation) for each in (x, x_test))

    def network(start: Callable[[Any], Any], table: Array) -> Any:  # noqa: ANN401
        row = keras.Input((6,))
        hidden = layers.Dense(32, use_bias=False)(start(row))
        hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(hidden))
        hidden = layers.Dense(24, activation="relu")(hidden)
        return fit(keras.Model(row, layers.Dense(1)(hidden)), table, y, "mae", 10)

    task, scoring = "a price by a table of 6 features", Scoring.error(y_test)
    good = Network.of(
        "price", task, network(lambda row: row, standard), (standard, standard_test), scoring
    )
    yield good
    yield replace(
        good,
        name="price_units",
        task=f"{task}; calibrated on a table that is not standardized",
        calibration={"x": x},
    )
    inside = network(layers.Normalization(mean=mean, variance=deviation**2), x)
    raw = f"{task}; features of very different ranges"
    yield Network.of("price_raw", raw, inside, (x, x_test), scoring)


def _tilt(corpus: Corpus) -> Iterator[Network]:
    """The direction of a gradient as sine and cosine; with its strength in the same output."""
    rows, columns = (axis / 8 - 1 for axis in np.mgrid[:16, :16])

    def make(count: int) -> tuple[Array, Array]:
        angle = corpus.rng.uniform(0, 2 * np.pi, (count, 1, 1))
        strength = corpus.rng.uniform(0.1, 0.4, (count, 1, 1))
        slope = strength * (np.sin(angle) * rows + np.cos(angle) * columns)
        pictures = 0.5 + slope + corpus.rng.normal(0, 0.05, slope.shape)
        truth = np.concatenate([np.sin(angle), np.cos(angle), strength * 5000], axis=1)[..., 0]
        return pictures.reshape(count, 256).astype(np.float32), truth.astype(np.float32)

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    deviation = y.std(0)

    def network(name: str, how: str, count: int) -> Network:
        row = keras.Input((256,))
        hidden = layers.Dense(24, activation="relu")(layers.Dense(32, activation="relu")(row))
        trained = keras.Model(row, layers.Dense(count)(hidden))
        fit(trained, x, y[:, :count] / deviation[:count], "mae", 10)
        model = keras.Model(row, layers.Rescaling(deviation[:count].tolist())(trained.output))
        scoring = Scoring.error(y_test[:, :count], deviation[:count])
        return Network.of(name, f"direction of a gradient{how}", model, (x, x_test), scoring)

    yield network("tilt", "", 2)
    yield network("tilt_joined", "; its strength up to 2000 in the same output", 3)


def _heart(corpus: Corpus) -> Iterator[Network]:
    """Beats in a series, step by step: rest, rise or peak."""

    def make(count: int) -> tuple[Array, NDArray[Any]]:
        series = corpus.rng.normal(0, 0.08, (count, 96, 1)).astype(np.float32)
        series += 0.2 * np.sin(
            np.arange(96)[:, None] / 12 + corpus.rng.uniform(0, 6, (count, 1, 1))
        )
        kinds = np.zeros((count, 96), np.int64)
        for row, kind in zip(series, kinds, strict=True):
            start = corpus.rng.integers(-6, 14)
            while start < 84:
                if start >= 0:
                    height = corpus.rng.uniform(0.8, 1.6)
                    row[start : start + 4, 0] += height * np.array([0.25, 0.4, 0.55, 0.7])
                    row[start + 4 : start + 7, 0] += height
                    kind[start : start + 4], kind[start + 4 : start + 7] = 1, 2
                start += corpus.rng.integers(18, 34)
        return series, kinds

    (x, y), (x_test, y_test) = make(3000), make(NUM_HELD_OUT)
    series = keras.Input((96, 1))

    def step(value: Any, width: int) -> Any:  # noqa: ANN401
        value = layers.Conv1D(width, 5, padding="same", use_bias=False)(value)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(value))

    fine = step(series, 12)
    coarse = step(layers.MaxPooling1D(2)(fine), 24)
    # UpSampling1D by a transposed convolution: series have no resizing operator.
    large = layers.Conv1DTranspose(12, 2, strides=2, activation="relu")(coarse)
    hidden = step(layers.Concatenate()([fine, large]), 16)
    model = keras.Model(series, layers.Dense(3, activation="softmax")(hidden))
    fit(model, x, y, CLASSES, 5)

    def mean_iou(out: Outputs) -> float:
        found = out[0].reshape(*y_test.shape, 3).argmax(-1)
        return float(np.mean([iou(found == kind, y_test == kind) for kind in (1, 2)]))

    task = "beats in a series, step by step"
    good = Network.of("heart", task, model, (x, x_test), Scoring.share(mean_iou))
    yield good
    yield good.calibrated("heart_other", "calibrated on beats 1.2 times as high", lambda v: v * 1.2)
    yield good.calibrated("heart_quiet", "calibrated on very weak beats", lambda v: v * 0.15)


def _compare(corpus: Corpus) -> Iterator[Network]:
    """Whether a digit is larger than a number: a picture and a number."""
    x, y, x_test, y_test = corpus.digits(6000, NUM_HELD_OUT)

    def make(pictures: Array, digits: NDArray[Any]) -> tuple[dict[str, Array], NDArray[Any]]:
        limits = corpus.rng.uniform(0, 9, (len(digits), 1)).astype(np.float32)
        inputs: dict[str, Array] = {"picture": pictures, "limit": limits / np.float32(9)}
        return inputs, (digits > limits[:, 0]).astype(np.int64)

    (samples, is_more), (samples_test, truth) = make(x, y), make(x_test, y_test)
    picture, limit = keras.Input((28, 28, 1), name="picture"), keras.Input((1,), name="limit")
    hidden = layers.MaxPooling2D()(_relu(layers.MaxPooling2D()(_relu(picture, 8)), 16))
    hidden = layers.Dense(16, activation="relu")(layers.Flatten()(hidden))
    hidden = layers.Concatenate()([hidden, layers.Dense(8, activation="relu")(limit)])
    hidden = layers.Dense(24, activation="relu")(hidden)
    inputs = {"picture": picture, "limit": limit}
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(hidden))
    fit(model, samples, is_more, CLASSES, 6)
    task = "whether a digit is larger than a number, two inputs"
    yield Network.of("compare", task, model, (samples, samples_test), Scoring.accuracy(truth))


MAKERS: tuple[Callable[[Corpus], Iterator[Network]], ...] = (
    _separable,
    _filters,
    _tags,
    _place,
    _superres,
    _mixer,
    _colour,
    _distance,
    _pulses,
    _spectra,
    _price,
    _tilt,
    _heart,
    _compare,
)
