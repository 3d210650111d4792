# SPDX-License-Identifier: Apache-2.0
"""Small networks to try the verdict on, trained on MNIST, photographs and made-up signals.

`scripts/blind_test.py` converts them. They share nothing with the networks on which the limits in
docs/quality.md were set first; limits that were set later took these networks into account.
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
    NUM_HELD_OUT,
    Array,
    Corpus,
    Network,
    Outputs,
    Scoring,
    convolution,
    fit,
    spoiled,
    uneven,
)

SEED = 9001

# -- classes


def _lenet(corpus: Corpus) -> Iterator[Network]:
    x, y, x_test, y_test = corpus.digits(8000, NUM_HELD_OUT)
    image = keras.Input((28, 28, 1))
    hidden = layers.Conv2D(6, 5, activation="tanh", padding="same")(image)
    hidden = layers.AveragePooling2D(2)(hidden)
    hidden = layers.AveragePooling2D(2)(layers.Conv2D(16, 5, activation="tanh")(hidden))
    hidden = layers.Dense(84, activation="tanh")(layers.Flatten()(hidden))
    model = keras.Model(image, layers.Dense(10, activation="softmax")(hidden))
    fit(model, x, y, "sparse_categorical_crossentropy", 3)
    good = Network.of("lenet", "10 digits, tanh", model, (x, x_test), Scoring.accuracy(y_test))
    yield good
    yield good.calibrated("lenet_dim", "calibrated on dim digits", lambda each: each * 0.2)


def _inception(corpus: Corpus) -> Iterator[Network]:
    """Which side of a photograph is up; two branches are joined."""
    crops, crops_test = corpus.photographs(40, 6000)
    turns, turns_test = (corpus.rng.integers(0, 4, len(each)) for each in (crops, crops_test))
    x, x_test = (
        np.stack([np.rot90(each, k) for each, k in zip(some, many, strict=True)])
        for some, many in ((crops, turns), (crops_test, turns_test))
    )
    image = keras.Input((40, 40, 3))
    hidden = convolution(image, 16, 2)
    wide = layers.Conv2D(16, 3, padding="same", activation="relu", name="wide")(hidden)
    narrow = layers.Conv2D(16, 1, activation="relu", name="narrow")(hidden)
    joined = layers.Concatenate()([wide, narrow])
    hidden = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="after")(
        joined
    )
    hidden = layers.Flatten()(convolution(hidden, 32, 2))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(hidden))
    fit(model, x, turns, "sparse_categorical_crossentropy", 8)
    good = Network.of(
        "inception",
        "which side of a photograph is up, joined branches",
        model,
        (x, x_test),
        Scoring.accuracy(turns_test),
    )
    yield good

    def scale(weights: dict[str, list[Array]]) -> None:
        factors = uneven(corpus.rng, 300, 16)
        weights["narrow"] = [each * factors for each in weights["narrow"]]
        weights["after"][0][:, :, 16:] /= factors[:, None]

    yield good.changed("inception_unequal", "channels of one branch scaled by 1 to 300", scale)


def _gated(corpus: Corpus) -> Iterator[Network]:
    """The sum of two digits, with squeeze-and-excitation; logits of 19 classes."""
    x, y, x_test, y_test = corpus.digits(24000, 2 * NUM_HELD_OUT)

    def pairs(pictures: Array, classes: NDArray[Any]) -> tuple[Array, NDArray[Any]]:
        half = len(pictures) // 2
        return (
            np.concatenate([pictures[:half], pictures[half:]], axis=2),
            classes[:half] + classes[half:],
        )

    x, y = pairs(x, y)
    x_test, y_test = pairs(x_test, y_test)
    image = keras.Input((28, 56, 1))
    hidden = image
    for width in (16, 24, 32):
        hidden = layers.MaxPooling2D()(convolution(hidden, width))
        gate = layers.GlobalAveragePooling2D(keepdims=True)(hidden)
        gate = layers.Conv2D(width // 4, 1, activation="relu")(gate)
        gate = layers.Conv2D(width, 1, activation="sigmoid")(gate)
        hidden = layers.Multiply()([hidden, gate])
    hidden = layers.Dense(64, activation="relu")(layers.Flatten()(hidden))
    model = keras.Model(image, layers.Dense(19)(hidden))
    fit(model, x, y, keras.losses.SparseCategoricalCrossentropy(from_logits=True), 6)
    good = Network.of(
        "gated",
        "the sum of two digits, gated channels, logits",
        model,
        (x, x_test),
        Scoring.accuracy(y_test),
    )
    yield good
    bad = good.calibrated(
        "gated_spoiled", "one of 200 calibration samples 60 times larger", spoiled
    )
    yield replace(bad, num_samples=200)


def _waves(rng: np.random.Generator, count: int) -> tuple[Array, NDArray[Any]]:
    """Return noisy sines, squares, saws, chirps and bursts of 96 values, and their classes."""
    kinds, time = rng.integers(0, 5, count), np.arange(96)
    found = np.empty((count, 96, 1), np.float32)
    for row, kind in enumerate(kinds):
        phase = time * rng.uniform(0.15, 0.5) + rng.uniform(0, 6.3)
        shape = (
            np.sin(phase),
            np.sign(np.sin(phase)),
            (phase / np.pi) % 2 - 1,
            np.sin(phase * (1 + time / 60)),
            np.sin(phase) * np.exp(-(((time - rng.uniform(20, 76)) / 10) ** 2)),
        )[kind]
        found[row, :, 0] = shape * rng.uniform(0.3, 2) + rng.normal(0, 0.15, 96)
    return found, kinds


def _sequence(corpus: Corpus) -> Iterator[Network]:
    """Kinds of waves by dilated convolutions in time."""
    (x, y), (x_test, y_test) = (_waves(corpus.rng, each) for each in (5000, NUM_HELD_OUT))
    series = keras.Input((96, 1))
    hidden = layers.Conv1D(24, 5, padding="same", activation="relu")(series)
    for rate in (2, 4, 8):
        new = layers.Conv1D(24, 3, padding="same", dilation_rate=rate, activation="relu")(hidden)
        hidden = layers.Add()([hidden, new])
    hidden = layers.GlobalMaxPooling1D()(hidden)
    model = keras.Model(series, layers.Dense(5, activation="softmax")(hidden))
    fit(model, x, y, "sparse_categorical_crossentropy", 6)
    good = Network.of(
        "waves", "5 kinds of waves, Conv1D", model, (x, x_test), Scoring.accuracy(y_test)
    )
    yield good
    quiet = np.abs(x).max(axis=(1, 2)) < 0.7
    yield good.calibrated(
        "waves_quiet", "calibrated on 3 quiet waves", lambda each: each[quiet][:3]
    )


def _credit(corpus: Corpus) -> Iterator[Network]:
    """Two classes by eight features of a table; one logit."""
    rng = corpus.rng

    def make(count: int) -> tuple[Array, Array]:
        income, debt = rng.lognormal(10.3, 0.5, count), rng.lognormal(8, 1, count)
        age, years = rng.uniform(18, 80, count), rng.gamma(2, 4, count)
        ratio, late = rng.beta(2, 5, count), rng.beta(1, 9, count)
        noise = rng.uniform(0, 1, (2, count))
        risk = 5 * ratio + 14 * late - 0.06 * years + (age < 25) - 2.2 + rng.logistic(0, 0.3, count)
        table = np.stack([income, debt, age, years, ratio, late, *noise], axis=1)
        return table.astype(np.float32), (risk > 0).astype(np.float32)

    (x, y), (x_test, y_test) = make(8000), make(2000)
    mean, deviation = x.mean(0), x.std(0)

    def network(*, raw: bool) -> Any:  # noqa: ANN401
        row = keras.Input((8,))
        hidden = layers.Normalization(mean=mean, variance=deviation**2)(row) if raw else row
        for width in (40, 20):
            hidden = layers.Dense(width, activation="relu")(hidden)
        model = keras.Model(row, layers.Dense(1)(hidden))
        pixels = x if raw else (x - mean) / deviation
        return fit(model, pixels, y, keras.losses.BinaryCrossentropy(from_logits=True), 10)

    def share(outputs: Outputs) -> float:
        return float(np.mean((outputs[0].reshape(-1) > 0) == (y_test > 0.5)))

    scoring = Scoring.accuracy(y_test.astype(int), share)

    standard, other = (((each - mean) / deviation).astype(np.float32) for each in (x, x_test))
    task = "a table of 8 features, one logit"
    yield Network.of("credit", task, network(raw=False), (standard, other), scoring)
    yield Network.of(
        "credit_raw",
        f"{task}; features of very different ranges",
        network(raw=True),
        (x, x_test),
        scoring,
    )


def _wide(corpus: Corpus) -> Iterator[Network]:
    """Digits by one wide dense layer."""
    x, y, x_test, y_test = corpus.digits(10000, NUM_HELD_OUT)
    image = keras.Input((28, 28, 1))
    hidden = layers.Dense(200, activation="relu", name="first")(layers.Flatten()(image))
    model = keras.Model(image, layers.Dense(10, activation="softmax")(hidden))
    fit(model, x, y, "sparse_categorical_crossentropy", 3)
    good = Network.of(
        "wide", "10 digits, one wide layer", model, (x, x_test), Scoring.accuracy(y_test)
    )
    yield good

    def add_outliers(weights: dict[str, list[Array]]) -> None:
        weights["first"][0][27] = 15.0  # the last pixel of the first row is always 0

    yield good.changed("wide_outliers", "large weights on a pixel that is always 0", add_outliers)


def _heads(corpus: Corpus) -> Iterator[Network]:
    """Class, whether it is even, and how much ink there is: three outputs."""
    x, y, x_test, y_test = corpus.digits(10000, NUM_HELD_OUT)
    ink, ink_test = (each.mean(axis=(1, 2)) for each in (x, x_test))
    image = keras.Input((28, 28, 1))
    hidden = layers.Flatten()(layers.MaxPooling2D()(convolution(convolution(image, 12, 2), 24)))
    outputs = [
        layers.Dense(10, activation="softmax", name="kind")(hidden),
        layers.Dense(2, activation="softmax", name="even")(hidden),
        layers.Dense(1, name="ink")(hidden),
    ]
    model = keras.Model(image, outputs)
    model.compile(
        keras.optimizers.Adam(2e-3),
        ["sparse_categorical_crossentropy"] * 2 + ["mae"],
        loss_weights=[1, 1, 10],
    )
    model.fit(x, [y, y % 2, ink], epochs=3, batch_size=64, verbose=0)

    def score(out: Outputs) -> float:
        is_right = (out[0].argmax(1) == y_test) & (out[1].argmax(1) == y_test % 2)
        return float(np.mean(is_right & (np.abs(out[2] - ink_test)[:, 0] < 0.02)))

    yield Network.of(
        "heads",
        "class, even and ink, three outputs",
        model,
        (x, x_test),
        Scoring.accuracy(y_test, score),
    )


# -- numbers


def _forecast(corpus: Corpus) -> Iterator[Network]:
    """The next 12 values of a series."""
    rng, time = corpus.rng, np.arange(60)

    def make(count: int) -> tuple[Array, Array]:
        shape = (count, 1)
        day = np.sin(time * 2 * np.pi / 12 + rng.uniform(0, 6.3, shape)) * rng.uniform(1, 3, shape)
        trend = rng.normal(0, 0.04, shape) * time + rng.normal(0, 1, shape)
        series = (day + trend + rng.normal(0, 0.25, (count, 60))).astype(np.float32)
        return series[:, :48, None], series[:, 48:]

    (x, y), (x_test, y_test) = make(5000), make(NUM_HELD_OUT)
    series = keras.Input((48, 1))
    hidden = layers.Conv1D(16, 6, strides=2, activation="relu")(series)
    hidden = layers.Conv1D(24, 6, strides=2, activation="relu")(hidden)
    hidden = layers.Dense(48, activation="relu")(layers.Flatten()(hidden))
    model = fit(keras.Model(series, layers.Dense(12)(hidden)), x, y, "mae", 10)
    good = Network.of("forecast", "the next 12 values", model, (x, x_test), Scoring.error(y_test))
    yield good
    yield good.calibrated("forecast_wide", "calibrated on values 15 times larger", lambda v: v * 15)


def _shift(corpus: Corpus) -> Iterator[Network]:
    """How far the second of two pictures is shifted, in pixels: two inputs, two numbers."""
    crops, crops_test = corpus.photographs(40, 6000)

    def make(pictures: Array) -> tuple[dict[str, Array], Array]:
        moves = corpus.rng.integers(-4, 5, (len(pictures), 2))
        grey = pictures.mean(axis=3, keepdims=True)
        second = [
            each[4 + dy : 36 + dy, 4 + dx : 36 + dx]
            for each, (dy, dx) in zip(grey, moves, strict=True)
        ]
        inputs = {"before": grey[:, 4:36, 4:36], "after": np.stack(second)}
        return inputs, moves.astype(np.float32)

    (x, y), (x_test, y_test) = make(crops), make(crops_test)
    pictures = {name: keras.Input((32, 32, 1), name=name) for name in ("before", "after")}
    hidden = layers.Concatenate()(list(pictures.values()))
    for width in (24, 32, 48):
        hidden = convolution(hidden, width, 2)
    hidden = layers.Dense(64, activation="relu")(layers.Flatten()(hidden))
    model = fit(keras.Model(pictures, layers.Dense(2)(hidden)), x, y, "mae", 12)
    good = Network.of(
        "shift", "shift of two pictures, two inputs", model, (x, x_test), Scoring.error(y_test)
    )
    yield good
    yield good.calibrated("shift_255", "calibrated on pixels of 0..255", lambda each: each * 255)


def _exposure(corpus: Corpus) -> Iterator[Network]:
    """By how many stops a photograph was darkened: one number."""
    crops, crops_test = corpus.photographs(40, 6000)

    def make(pictures: Array) -> tuple[Array, Array]:
        stops = corpus.rng.uniform(0, 4, len(pictures)).astype(np.float32)
        return pictures * 2 ** -stops[:, None, None, None], stops[:, None]

    (x, y), (x_test, y_test) = make(crops), make(crops_test)
    image = keras.Input((40, 40, 3))
    hidden = convolution(convolution(convolution(image, 12, 2), 16, 2), 24, 2)
    hidden = layers.Dense(24, activation="relu")(layers.GlobalAveragePooling2D()(hidden))
    model = fit(keras.Model(image, layers.Dense(1)(hidden)), x, y, "mae", 8)
    good = Network.of("exposure", "stops of exposure", model, (x, x_test), Scoring.error(y_test))
    yield good
    bright = y[:, 0] < 0.7
    yield good.calibrated(
        "exposure_bright", "calibrated on bright pictures", lambda each: each[bright][:300]
    )


def _two_targets(corpus: Corpus) -> Iterator[Network]:
    """Ink in percent and its centre's row (0..1), in one output."""
    x, _, x_test, _ = corpus.digits(8000, NUM_HELD_OUT)
    rows = np.arange(28, dtype=np.float32)[:, None, None] / 27

    def targets(pictures: Array, factor: float) -> Array:
        ink = pictures.sum(axis=(1, 2, 3))
        centre = (pictures * rows).sum(axis=(1, 2, 3)) / ink
        return np.stack([ink * factor, centre], axis=1).astype(np.float32)

    def network(factor: float) -> Network:
        y, truth = targets(x, factor), targets(x_test, factor)
        image = keras.Input((28, 28, 1))
        hidden = layers.Flatten()(convolution(convolution(image, 12, 2), 16, 2))
        hidden = layers.Dense(32, activation="relu")(hidden)
        mean, deviation = y.mean(0), y.std(0)
        model = keras.Model(image, layers.Dense(2)(hidden))
        fit(model, x, (y - mean) / deviation, "mae", 5)
        output = layers.Rescaling(deviation.tolist(), mean.tolist())(model.output)

        whole = keras.Model(image, output)
        return Network.of(
            "targets",
            "ink and place, one output",
            whole,
            (x, x_test),
            Scoring.error(truth, deviation),
        )

    yield network(0.005)
    yield replace(
        network(20.0), name="targets_unequal", task="ink and place, one output; ranges 4000 and 0.3"
    )


def _metric(corpus: Corpus) -> Iterator[Network]:
    """Features of digits: whether two pictures show the same digit, by their distance."""
    x, y, x_test, y_test = corpus.digits(9000, 2 * NUM_HELD_OUT)
    image = keras.Input((28, 28, 1))
    hidden = layers.GlobalAveragePooling2D()(
        convolution(convolution(convolution(image, 16, 2), 32), 48, 2)
    )
    features = layers.Dense(24, activation="tanh")(hidden)
    whole = keras.Model(image, layers.Dense(10, activation="softmax")(features))
    fit(whole, x, y, "sparse_categorical_crossentropy", 4)
    is_same = y_test[:NUM_HELD_OUT] == y_test[NUM_HELD_OUT:]

    def score(out: Outputs) -> float:
        flat = out[0].reshape(len(y_test), -1)
        apart = np.linalg.norm(flat[:NUM_HELD_OUT] - flat[NUM_HELD_OUT:], axis=1)
        limit = np.quantile(apart, is_same.mean())
        right = apart <= limit
        return float((np.mean(right[is_same]) + np.mean(~right[~is_same])) / 2)

    model = keras.Model(image, features)
    yield Network.of(
        "metric",
        "24 features of a digit",
        model,
        (x, x_test),
        Scoring.accuracy(is_same.astype(int), score),
    )


# -- pictures


def _mask(corpus: Corpus) -> Iterator[Network]:
    """The pixels of a digit on a photograph, by dilated convolutions."""
    crops, crops_test = corpus.photographs(40, 6000)

    def make(pictures: Array, digits: Array) -> tuple[Array, Array]:
        some = pictures[: len(digits), 6:34, 6:34]
        ink = (digits > 0.5).astype(np.float32)
        return (some * 0.6 * (1 - ink) + ink * (0.5 + 0.5 * digits)).astype(np.float32), ink

    digits, _, digits_test, _ = corpus.digits(4000, NUM_HELD_OUT)
    (x, y), (x_test, y_test) = make(crops, digits), make(crops_test, digits_test)
    image = keras.Input((28, 28, 3))
    hidden = convolution(image, 16)
    for rate in (1, 2, 4):
        hidden = convolution(hidden, 20, rate=rate)
    model = keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(hidden))
    fit(model, x, y, "binary_crossentropy", 4)

    def score(out: Outputs) -> float:
        found, truth = out[0].reshape(y_test.shape) > 0.5, y_test > 0.5
        return float((found & truth).sum() / (found | truth).sum())

    good = Network.of("mask", "pixels of a digit", model, (x, x_test), Scoring.share(score))
    yield good
    yield good.calibrated("mask_dark", "calibrated on dark pictures", lambda each: each * 0.3)


def _denoise(corpus: Corpus) -> Iterator[Network]:
    """Photographs without noise: the network returns the noise, which is subtracted."""
    x, x_test = corpus.photographs(40, 6000)
    noisy, noisy_test = (
        np.clip(each + corpus.rng.normal(0, 0.1, each.shape), 0, 1).astype(np.float32)
        for each in (x[:3000], x_test)
    )
    image = keras.Input((40, 40, 3))
    hidden = layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(image)
    side = layers.Conv2D(16, 3, padding="same", activation="relu", name="side")(hidden)
    joined = layers.Concatenate()([hidden, side])
    hidden = layers.Conv2D(16, 3, padding="same", activation="relu", name="last")(joined)
    noise = layers.Conv2D(3, 3, padding="same")(hidden)
    model = keras.Model(image, layers.Subtract()([image, noise]))
    fit(model, noisy, x[:3000], "mae", 5)
    good = Network.of(
        "denoise", "photographs without noise", model, (noisy, noisy_test), Scoring.error(x_test)
    )
    yield good

    def scale(weights: dict[str, list[Array]]) -> None:
        factors = uneven(corpus.rng, 1000, 16)
        weights["side"] = [each * factors for each in weights["side"]]
        weights["last"][0][:, :, 16:] /= factors[:, None]

    yield good.changed("denoise_unequal", "channels scaled by 1 to 1000", scale)


def _colours(corpus: Corpus) -> Iterator[Network]:
    """The colours of a grey photograph: two planes."""
    x, x_test = corpus.photographs(40, 6000)

    def split(pictures: Array) -> tuple[Array, Array]:
        grey = pictures.mean(axis=3, keepdims=True)
        return grey, (pictures[..., ::2] - grey).astype(np.float32)

    (grey, y), (grey_test, y_test) = split(x[:3000]), split(x_test)
    image = keras.Input((40, 40, 1))
    small = convolution(convolution(image, 16, 2), 32, 2)
    large = layers.UpSampling2D()(convolution(small, 24))
    hidden = layers.UpSampling2D()(convolution(large, 16))
    hidden = layers.Concatenate()([hidden, image])
    model = keras.Model(image, layers.Conv2D(2, 3, padding="same")(convolution(hidden, 12)))
    fit(model, grey, y, "mae", 5)
    yield Network.of(
        "colours", "colours of a grey photograph", model, (grey, grey_test), Scoring.error(y_test)
    )


# -- objects


def _objects(corpus: Corpus) -> Iterator[Network]:
    """Digits on an area of 56 x 56, in cells of 8: centre, size, and the logit of each class."""
    x, y, x_test, y_test = corpus.digits(9000, 3 * NUM_HELD_OUT)
    kinds, cell, cells = 10, 8, 7

    def make(digits: Array, classes: NDArray[Any]) -> tuple[Array, Array]:
        count = len(digits) // 3
        areas, truth = (
            np.zeros((count, 56, 56, 1), np.float32),
            np.zeros((count, 49, 14), np.float32),
        )
        for number in range(3 * count):
            row, column = corpus.rng.integers(0, 33, 2)
            area = areas[number // 3, row : row + 24, column : column + 24]
            digit = digits[number, 2:26, 2:26]
            if area.max() > 0:
                continue
            area[:] = digit
            centre = (row + 12, column + 12)
            place = centre[0] // cell * cells + centre[1] // cell
            box = ((column + 12) / 56, (row + 12) / 56, 24 / 56, 24 / 56)
            truth[number // 3, place, :4] = box
            truth[number // 3, place, 4 + classes[number]] = 1
        return areas + corpus.rng.uniform(0, 0.3, areas.shape).astype(np.float32), truth

    (x, y), (x_test, truth) = make(x, y), make(x_test, y_test)
    grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), axis=-1).reshape(49, 2)
    centres = np.concatenate([(grid + 0.5) / cells, np.full((49, 2), 0.4)], axis=1)
    image = keras.Input((56, 56, 1))
    hidden = convolution(convolution(convolution(image, 16, 2), 32, 2), 48, 2)
    hidden = convolution(convolution(hidden, 48), 48)
    boxes = layers.Reshape((49, 4))(layers.Conv2D(4, 1)(hidden))
    boxes = layers.Rescaling([0.2] * 4, centres.tolist())(boxes)
    rare = keras.initializers.Constant(-4)
    scores = layers.Reshape((49, kinds))(layers.Conv2D(kinds, 1, bias_initializer=rare)(hidden))

    def loss(wanted: Any, found: Any) -> Any:  # noqa: ANN401
        is_there = keras.ops.sum(wanted[..., 4:], axis=-1, keepdims=True)
        apart = keras.ops.sum(is_there * keras.ops.abs(wanted[..., :4] - found[..., :4]), (1, 2))
        cross = keras.ops.binary_crossentropy(wanted[..., 4:], found[..., 4:], from_logits=True)
        return 10 * apart + keras.ops.sum(cross, (1, 2))

    fit(keras.Model(image, layers.Concatenate()([boxes, scores])), x, y, loss, 14)

    def score(size: float, decision: float) -> Callable[[Outputs], float]:
        def share(out: Outputs) -> float:
            parts = out if len(out) > 1 else (out[0][..., :4], out[0][..., 4:])
            is_found = parts[1].max(-1) > decision
            is_there = truth[..., 4:].max(-1) > 0
            same = parts[1].argmax(-1) == truth[..., 4:].argmax(-1)
            close = np.abs(parts[0] / size - truth[..., :4]).max(-1) < 0.07
            hits = (is_found & is_there & same & close).sum()
            return float(2 * hits / (is_found.sum() + is_there.sum()))

        return share

    task = "digits in cells, boxes and logits"
    apart = keras.Model(image, [boxes, scores])
    yield Network.of("cells", task, apart, (x, x_test), Scoring.share(score(1, 0)))
    pixels = layers.Rescaling(56.0)(boxes)
    joined = keras.Model(
        image, layers.Concatenate()([pixels, layers.Activation("sigmoid")(scores)])
    )
    yield Network.of(
        "cells_joined",
        f"{task}; boxes in pixels and scores in one output",
        joined,
        (x, x_test),
        Scoring.share(score(56, 0.5)),
    )


MAKERS: tuple[Callable[[Corpus], Iterator[Network]], ...] = (
    _lenet,
    _inception,
    _gated,
    _sequence,
    _credit,
    _wide,
    _heads,
    _forecast,
    _shift,
    _exposure,
    _two_targets,
    _metric,
    _mask,
    _denoise,
    _colours,
    _objects,
)
