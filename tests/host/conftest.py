# SPDX-License-Identifier: Apache-2.0
"""Small trained networks and their files, made once per session."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.host.convert.child import Converters
from edgekit.host.worker.library import import_tensorflow

Build = Callable[[Any], Any]


@pytest.fixture(scope="session")
def converters() -> Iterator[Converters]:
    """Converting processes that outlive a test: each imports TensorFlow once."""
    kept = Converters()
    yield kept
    kept.close()


@pytest.fixture
def kept_converter(converters: Converters) -> Iterator[None]:
    """Conversions of this test reuse the process of an earlier test, if there is one."""
    with converters.used():
        yield


@pytest.fixture(scope="session")
def keras() -> Any:  # noqa: ANN401 - TensorFlow has no types
    """Keras 3, seeded; importing it prints warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_tensorflow()  # faster than Keras imports it
        module = pytest.importorskip("keras")
        module.utils.set_random_seed(1)
    return module


@pytest.fixture(scope="session")
def classifier(keras: Any) -> Any:  # noqa: ANN401
    """The tutorial's network on 8x8 images, trained briefly."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss)
    random = np.random.default_rng(1)
    images = random.random((256, 8, 8)).astype(np.float32)
    labels = images.reshape(256, 4, -1).mean(-1).argmax(-1)
    model.fit(images, labels, epochs=3, verbose=0)
    return model


@pytest.fixture(scope="session")
def keras_file(classifier: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ANN401
    """The classifier as Keras 3 saves it."""
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    classifier.save(path)
    return path


@pytest.fixture
def samples() -> list[np.ndarray]:
    """Forty images for calibration."""
    random = np.random.default_rng(2)
    return list(random.random((40, 8, 8)).astype(np.float32))
