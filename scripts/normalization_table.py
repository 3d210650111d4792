# SPDX-License-Identifier: Apache-2.0
"""Print what each normalization layer costs: a small network trained with each, on MNIST.

    python scripts/normalization_table.py mnist.npz [--epochs 4] [--train 20000]

The file contains x_train, y_train, x_test and y_test. Each network is trained from the same seed,
converted with 200 training samples, and both it and its int8 model are evaluated on 2,000 test
samples.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edgekit import Runner, convert

_NUM_CALIBRATION, _NUM_TEST = 200, 2000
_KINDS: dict[str, Callable[[], Any]] = {
    "BatchNormalization": layers.BatchNormalization,
    "LayerNormalization": layers.LayerNormalization,
    "GroupNormalization, 4 groups": lambda: layers.GroupNormalization(4),
    "none": lambda: layers.Activation("linear"),
}
_REPLACED = ("LayerNormalization", "GroupNormalization, 4 groups")
_OPTION = "normalization=mappable"


def main() -> None:
    """Train, convert, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--train", type=int, default=20_000)
    words = parser.parse_args()
    with np.load(words.data) as data:
        x, y, test, labels = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    images = (x[: words.train, ..., None] / 255).astype(np.float32)
    held_out = (test[:_NUM_TEST, ..., None] / 255).astype(np.float32)
    print(
        "| normalization | option | float | int8 | mapped | estimated ms |\n"
        "|---|---|---|---|---|---|"
    )
    for name, make in _KINDS.items():
        network = trained(make, images, y[: words.train], words.epochs)
        right = accuracy(network.predict(held_out, verbose=0), labels)
        for option in ("", _OPTION) if name in _REPLACED else ("",):
            print(row(name, network, option, right, images, held_out, labels), flush=True)


def trained(
    make: Callable[[], Any], images: NDArray[Any], labels: NDArray[Any], epochs: int
) -> Any:  # noqa: ANN401 - a Keras model
    """Return a trained network with three normalizations."""
    keras.utils.set_random_seed(1)
    x = start = keras.Input(images.shape[1:], batch_size=None)
    for channels, stride in ((16, 2), (32, 2), (32, 1)):
        x = layers.Conv2D(channels, 3, strides=stride, padding="same")(x)
        x = layers.ReLU()(make()(x))
    x = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    network = keras.Model(start, layers.Softmax()(x))
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(images, labels, batch_size=64, epochs=epochs, verbose=0)
    return network


def row(
    name: str,
    network: Any,  # noqa: ANN401
    option: str,
    right: float,
    images: NDArray[Any],
    held_out: NDArray[Any],
    labels: NDArray[Any],
) -> str:
    """Convert and evaluate; return a line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "model.tflite"
        result = convert(
            network,
            data=list(images[:_NUM_CALIBRATION]),
            preprocess="raw",
            output=output,
            replace_activations=option or None,
        )
        with Runner(output) as runner:
            answers = np.concatenate([runner.predict(image[None])[0] for image in held_out])
    outcome = result.outcome
    if outcome is None:
        raise SystemExit(f"{name}: nothing is known of what maps")
    cells = (
        name,
        f"`{option}`" if option else "",
        f"{100 * right:.1f} %",
        f"{100 * accuracy(answers, labels):.1f} %",
        f"{outcome.now.num_mapped} of {outcome.now.num_operators}",
        f"{outcome.now.estimated_ms:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def accuracy(answers: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the share of answers whose largest score is the label's."""
    return float((answers.argmax(axis=1) == labels[: len(answers)]).mean())


if __name__ == "__main__":
    main()
