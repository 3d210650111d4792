# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits from training to a model for the Edge TPU, in one Python program.

python examples/digits.py --output digits-out

The 1,797 digits are part of scikit-learn: nothing is downloaded. It needs edgekit's extra "host".
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import edgekit


def trained_network(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], epochs: int) -> Any:  # noqa: ANN401 - keras has no types
    """Train a small convolutional network on ``images`` (N, 8, 8, 1) float32 in 0..1."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss)
    network.fit(images, labels, epochs=epochs, verbose=0)
    return network


def main() -> None:
    """Train, convert, check and evaluate; print the result of each step."""
    parser = argparse.ArgumentParser(description="Handwritten digits, from training to int8")
    parser.add_argument("--output", type=Path, default=Path("digits-out"), help="folder to write")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    model = arguments.output / "digits.tflite"
    float_model = arguments.output / "digits_float.tflite"

    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.2, random_state=1
    )
    network = trained_network(x_train, y_train, arguments.epochs)

    # Calibrate with 100 training images: they show which range of values each tensor needs.
    converted = edgekit.convert(network, data=x_train[:100], output=model)
    edgekit.convert(network, output=float_model, mode="float")
    print(f"converted: {converted.output}, {converted.bytes:,} bytes")
    for warning in converted.warnings:
        print("warning:", warning)

    report = edgekit.check(model)
    print(f"maps to the Edge TPU: {report.num_mapped} of {report.num_operators} operators")

    test_data = list(zip(x_test, y_test, strict=True))
    for each in (float_model, model):
        result = edgekit.evaluate(each, test_data)
        top1 = result.metrics["top1"]
        print(f"top-1 accuracy of {each}: {top1:.1%} of {result.num_samples} test images")


if __name__ == "__main__":
    main()
