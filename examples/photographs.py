# SPDX-License-Identifier: Apache-2.0
"""Transfer learning: train a MobileNetV2 on the classes of a folder of photographs.

python examples/photographs.py photos --output mine.keras

``photos`` has one sub-folder per class. If you do not have photographs, ``--make-sample`` fills the
folder with pieces of scikit-learn's two photographs. Keras downloads MobileNetV2's ImageNet
weights; ``--weights FILE`` reads them from a file. ``--weights none`` trains a small network from
random weights instead, without a download, for a first try. It needs edgekit's extra "host".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

_SIDE = 96


def make_sample(folder: Path, per_class: int = 60) -> None:
    """Write pieces of scikit-learn's two photographs: ``temple`` and ``flower``."""
    random = np.random.default_rng(1)
    for name, photo in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True, exist_ok=True)
        height, width = photo.shape[0] - 160, photo.shape[1] - 160
        for number in range(per_class):
            top, left = random.integers(height), random.integers(width)
            piece = photo[top : top + 160, left : left + 160]
            Image.fromarray(piece).save(folder / name / f"{number:03}.jpg", quality=90)


def pretrained(weights: str) -> Any:  # noqa: ANN401 - keras has no types
    """Return MobileNetV2 without its last layer, for 96x96 pixels with values of -1 to 1."""
    try:
        return keras.applications.MobileNetV2(
            input_shape=(_SIDE, _SIDE, 3),
            alpha=0.35,
            include_top=False,
            pooling="avg",
            weights=weights,
        )
    except (OSError, ValueError) as error:
        sys.exit(
            f"error: MobileNetV2's weights cannot be loaded: {error}\n"
            "  fix: run it again with internet access; or give a file that you have downloaded:\n"
            "       --weights FILE; or try the steps with a small network: --weights none"
        )


def from_nothing() -> Any:  # noqa: ANN401 - keras has no types
    """Return a small network with random weights, for the same photographs."""
    layers = [
        keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")
        for filters in (16, 32, 64)
    ]
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()])


def build(num_classes: int, weights: str) -> Any:  # noqa: ANN401 - keras has no types
    """Return the network: its input is pixels of 0..255, its output one score per class."""
    if weights == "none":
        base = from_nothing()
    else:
        base = pretrained(weights)
        base.trainable = False  # train only the last layer
    pixels = keras.Input((_SIDE, _SIDE, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    features = keras.layers.Dropout(0.2)(base(scaled))
    scores = keras.layers.Dense(num_classes, activation="softmax")(features)
    return keras.Model(pixels, scores)


def main() -> None:
    """Train on four fifths of the photographs, measure on the rest, save the network."""
    parser = argparse.ArgumentParser(description="Transfer learning on a folder of photographs")
    parser.add_argument("photos", type=Path, help="a folder with one sub-folder per class")
    parser.add_argument("--output", type=Path, default=Path("mine.keras"), help="file to write")
    parser.add_argument("--weights", default="imagenet", help="imagenet, a file, or none")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--make-sample", action="store_true", help="fill the folder first")
    arguments = parser.parse_args()
    if arguments.make_sample:
        make_sample(arguments.photos)
    if not arguments.photos.is_dir():
        sys.exit(
            f"error: there is no folder {arguments.photos}\n"
            "  fix: give a folder with one sub-folder per class; or add --make-sample"
        )
    keras.utils.set_random_seed(1)
    training, rest = keras.utils.image_dataset_from_directory(
        arguments.photos,
        image_size=(_SIDE, _SIDE),
        validation_split=0.2,
        subset="both",
        seed=1,
        verbose=False,
    )
    network = build(len(training.class_names), arguments.weights)
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    network.fit(training, epochs=arguments.epochs, shuffle=False, verbose=0)
    _, accuracy = network.evaluate(rest, verbose=0)
    network.save(arguments.output)
    print(f"classes: {', '.join(training.class_names)}")
    print(f"accuracy on photographs not used for training: {accuracy:.1%}")
    print(f"saved: {arguments.output}")


if __name__ == "__main__":
    main()
