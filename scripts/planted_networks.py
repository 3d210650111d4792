# SPDX-License-Identifier: Apache-2.0
"""The networks of `scripts.planted_faults`: float models of the corpus, and some built here.

Each is a float .tflite with samples. Pictures are crops of the corpus's photographs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import edgekit
from edgekit.formats.tflite import Model, read_model

Array = NDArray[Any]
_FACES = "keras/oarriaga__face_classification"
_TINY = "keras/mlcommons__tiny"
_NUM_SAMPLES = 160
_CLASSES = 12
_WARM_LIGHT = (1.0, 0.85, 0.6)  # of red, green, blue: as photographs in a room


@dataclass(frozen=True)
class Network:
    """A float network and its samples, float32, without a batch dimension of their own."""

    name: str
    model: Model
    samples: Array  # to calibrate with
    held_out: Array
    pixels: str  # tf (-1..1) or unit (0..1); empty if the input is not a picture


@dataclass(frozen=True)
class _Plan:
    name: str
    pixels: str
    source: str = ""  # in the corpus
    build: Callable[[Any], Any] | None = None  # from Keras's layers to a model
    shape: tuple[int, ...] = ()


def networks(folder: Path, corpus: Path) -> Iterator[Network]:
    """Yield all networks; ``folder`` keeps what was built and converted before."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = [
        *sorted((corpus / "imagenet").rglob("*.jp*g")),
        *sorted((corpus / "coco").rglob("*.jpg")),
    ]
    for plan in _PLANS:
        path = folder / f"{plan.name}.tflite"
        if not path.exists():
            _make(plan, path, corpus, photos)
        model = read_model(path.read_bytes(), where=str(path))
        shape = model.main.tensors[model.main.inputs[0]].shape[1:]
        samples = _samples(plan, shape, photos)
        yield Network(plan.name, model, samples[::2], samples[1::2], plan.pixels)


def _samples(plan: _Plan, shape: tuple[int, ...], photos: list[Path]) -> Array:
    if not plan.pixels:
        return _smooth(shape)
    count = min(_NUM_SAMPLES, 40_000_000 // int(np.prod(shape)))
    pixels = _crops(photos, count, shape)
    scaled = pixels / 127.5 - 1 if plan.pixels == "tf" else pixels / 255.0
    return np.asarray(scaled, np.float32)


def _smooth(shape: tuple[int, ...]) -> Array:
    """Smooth random numbers, in place of features of sounds."""
    random = np.random.default_rng(5)
    rough = random.normal(size=(_NUM_SAMPLES, *shape))
    for axis in range(1, rough.ndim):
        if rough.shape[axis] > 4:
            rough = rough + np.roll(rough, 1, axis) + np.roll(rough, 2, axis)
    level = random.uniform(0.5, 1.5, (_NUM_SAMPLES, *(1 for _ in shape)))
    return np.asarray(rough / rough.std() * level, np.float32)


def _crops(photos: list[Path], count: int, shape: tuple[int, ...]) -> Array:
    random = np.random.default_rng(7)
    height, width, channels = shape
    found = []
    for number in range(count):
        mode = "L" if channels == 1 else "RGB"
        with Image.open(photos[number * 5 % len(photos)]) as opened:
            image = opened.convert(mode)
        side = min(image.size) * random.uniform(0.4, 1.0)
        left, top = (random.uniform(0, size - side) for size in image.size)
        box = (left, top, left + side, top + side)
        crop = image.resize((width, height), Image.Resampling.BILINEAR, box)
        found.append(np.asarray(crop, np.float32).reshape(shape))
    light = _WARM_LIGHT if channels == len(_WARM_LIGHT) else 1.0
    return np.stack(found) * np.asarray(light, np.float32)


def _make(plan: _Plan, path: Path, corpus: Path, photos: list[Path]) -> None:
    """Convert a network of the corpus, or build and train one, to a float .tflite."""
    if plan.build is None:
        edgekit.convert(corpus / plan.source, output=path, mode="float")
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras  # noqa: PLC0415 - slow, and only for a new folder

    keras.utils.set_random_seed(11)
    model = plan.build(keras.layers)
    images, labels = _training(plan, photos)
    loss = "mse" if len(model.output_shape) == 4 else "sparse_categorical_crossentropy"
    model.compile(optimizer=keras.optimizers.Adam(2e-3), loss=loss)
    targets = images[:, ::2, ::2] if loss == "mse" else labels
    model.fit(images, targets, epochs=6, batch_size=32, verbose=0)
    edgekit.convert(model, output=path, mode="float")


def _training(plan: _Plan, photos: list[Path]) -> tuple[Array, Array]:
    """Crops of a few photographs, and from which one each is."""
    few = photos[3 :: len(photos) // _CLASSES][:_CLASSES]
    pixels = _crops(few * 5, 60 * _CLASSES, plan.shape)
    labels = np.arange(len(pixels)) * 5 % (5 * len(few)) % len(few)
    scaled = pixels / 127.5 - 1 if plan.pixels == "tf" else pixels / 255.0
    return np.asarray(scaled, np.float32), labels


def _mobile(layers: Any) -> Any:  # noqa: ANN401 - Keras has no types
    """Inverted residual blocks with ReLU6, as MobileNet v2."""
    import keras  # noqa: PLC0415

    x = start = keras.Input((48, 48, 3))
    x = _normed(layers, x, layers.Conv2D(16, 3, 2, padding="same", use_bias=False), 6.0)
    for width, stride in ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1)):
        y = _normed(layers, x, layers.Conv2D(4 * x.shape[-1], 1, use_bias=False), 6.0)
        depthwise = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)
        y = _normed(layers, y, depthwise, 6.0)
        y = layers.BatchNormalization(momentum=0.8)(layers.Conv2D(width, 1, use_bias=False)(y))
        x = layers.Add()([x, y]) if stride == 1 and x.shape[-1] == width else y
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(start, layers.Dense(_CLASSES, activation="softmax")(x))


def _squeezed(layers: Any) -> Any:  # noqa: ANN401
    """Residual blocks with squeeze and excitation (LOGISTIC and MUL)."""
    import keras  # noqa: PLC0415

    x = start = keras.Input((40, 40, 3))
    x = layers.Conv2D(16, 3, 2, padding="same", activation="relu")(x)
    for width in (16, 24, 24):
        y = _normed(layers, x, layers.Conv2D(width, 3, padding="same", use_bias=False), None)
        s = layers.GlobalAveragePooling2D(keepdims=True)(y)
        s = layers.Conv2D(8, 1, activation="relu")(s)
        y = layers.Multiply()([y, layers.Conv2D(width, 1, activation="sigmoid")(s)])
        x = layers.Add()([x, y]) if x.shape[-1] == width else y
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(48, activation="relu")(x)
    return keras.Model(start, layers.Dense(_CLASSES, activation="softmax")(x))


def _joined(layers: Any) -> Any:  # noqa: ANN401
    """A small U-Net with joins (CONCATENATION) and resizes, which returns a picture."""
    import keras  # noqa: PLC0415

    x = start = keras.Input((48, 48, 3))
    a = layers.Conv2D(12, 3, 2, padding="same", activation="relu")(x)
    b = layers.Conv2D(16, 3, 2, padding="same", activation="relu")(a)
    c = layers.Conv2D(24, 3, 2, padding="same", activation="relu")(b)
    y = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(c), b])
    y = layers.Conv2D(16, 3, padding="same", activation="relu")(y)
    y = layers.Concatenate()([layers.UpSampling2D()(y), a])
    y = layers.Conv2D(12, 3, padding="same", activation="relu")(y)
    return keras.Model(start, layers.Conv2D(3, 1)(y))


def _plain(layers: Any) -> Any:  # noqa: ANN401
    """The tutorial's kind of network: convolutions, pooling, dense layers."""
    import keras  # noqa: PLC0415

    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, activation="relu"),
            layers.Conv2D(24, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(48, activation="relu"),
            layers.Dense(_CLASSES, activation="softmax"),
        ]
    )


def _normed(layers: Any, x: Any, layer: Any, limit: float | None) -> Any:  # noqa: ANN401
    return layers.ReLU(limit)(layers.BatchNormalization(momentum=0.8)(layer(x)))


_PLANS = (
    _Plan("mobile (built)", "tf", build=_mobile, shape=(48, 48, 3)),
    _Plan("squeezed (built)", "unit", build=_squeezed, shape=(40, 40, 3)),
    _Plan("U-Net (built)", "unit", build=_joined, shape=(48, 48, 3)),
    _Plan("plain (built)", "tf", build=_plain, shape=(32, 32, 3)),
    _Plan("tiny_XCEPTION_KDEF", "tf", f"{_FACES}/tiny_XCEPTION_KDEF.hdf5"),
    _Plan("kws_ref_model", "", f"{_TINY}/kws_ref_model"),
    _Plan("ad01", "", f"{_TINY}/ad01.h5"),
)
