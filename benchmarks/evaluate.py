# SPDX-License-Identifier: Apache-2.0
"""Compare `edgekit.evaluate` with the TensorFlow tutorial's loop, and two cores with one."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from networks import convert_networks
from numpy.typing import NDArray

from edgekit import evaluate


def tutorial_loop(model: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the accuracy as the post-training integer quantization tutorial computes it."""
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    input_details, output_details = (
        interpreter.get_input_details()[0],
        interpreter.get_output_details()[0],
    )
    real = images.astype(np.float32) / 255.0
    predictions = np.zeros((len(images),), dtype=int)
    for i, image in enumerate(real):
        scale, zero_point = input_details["quantization"]
        test_image = image / scale + zero_point
        test_image = np.expand_dims(test_image, axis=0).astype(input_details["dtype"])
        interpreter.set_tensor(input_details["index"], test_image)
        interpreter.invoke()
        predictions[i] = interpreter.get_tensor(output_details["index"])[0].argmax()
    return float((predictions == labels).mean())


def _median_s(run: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = convert_networks(folder)
        images = random.integers(0, 256, (10_000, 28, 28), np.uint8)
        labels = random.integers(0, 10, 10_000)
        np.savez(folder / "mnist.npz", x=images, y=labels)
        loop = _median_s(lambda: tutorial_loop(models["mnist"], images, labels), runs)
        ours = _median_s(lambda: evaluate(models["mnist"], folder / "mnist.npz"), runs)
        print(
            f"mnist      10,000 images: tutorial's loop {loop:.3f} s, edgekit {ours:.3f} s: "
            f"{loop / ours:.2f} times faster"
        )
        images = random.integers(0, 256, (1500, 224, 224, 3), np.uint8)
        np.savez(folder / "mobilenet.npz", x=images, y=random.integers(0, 1000, 1500))
        one, two = (
            _median_s(
                lambda count=count: evaluate(  # type: ignore[misc] # bound at definition
                    models["mobilenet"], folder / "mobilenet.npz", num_workers=count
                ),
                runs,
            )
            for count in (1, 2)
        )
        print(
            f"mobilenet  1,500 images: one worker {one:.2f} s, two {two:.2f} s: "
            f"{one / two:.2f} times"
        )


if __name__ == "__main__":
    main()
