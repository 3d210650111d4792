# SPDX-License-Identifier: Apache-2.0
"""The two networks that the benchmarks run: the tutorial's for MNIST, and a MobileNet.

Weights and images are random: they do not change the times.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edgekit import convert

NUM_SAMPLES = 100


def save_networks(folder: Path) -> dict[str, Path]:
    """Save both as Keras files, with calibration data next to them; return name -> file."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras  # noqa: PLC0415

    layers = keras.layers
    mnist = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(12, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    networks = {"mnist": mnist, "mobilenet": keras.applications.MobileNetV2(weights=None)}
    paths = {}
    for name, network in networks.items():
        paths[name] = folder / f"{name}.keras"
        network.save(paths[name])
        shape = network.input_shape[1:]
        images = np.random.default_rng(1).random((NUM_SAMPLES, *shape), np.float32)
        np.save(folder / f"{name}.npy", images)
    return paths


def convert_networks(folder: Path) -> dict[str, Path]:
    """Convert both to integer-only .tflite files; return name -> file."""
    models = {}
    for name, source in save_networks(folder).items():
        models[name] = folder / f"{name}.tflite"
        convert(source, data=folder / f"{name}.npy", output=models[name])
    return models
