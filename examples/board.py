# SPDX-License-Identifier: Apache-2.0
"""A program for a board: classify images with a model or a bundle, and print the time taken.

python3 examples/board.py mine.edgekit photo.jpg --device auto

It needs only edgekit, a TensorFlow Lite runtime and Python 3.7, which a Coral Dev Board has.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from PIL import Image

from edgekit import EdgeKitError, Runner


def read_pixels(path, shape):
    """Return an image as float32 (1, height, width, channels), which is ``shape``; 0 to 255."""
    _, height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    image = Image.open(path).convert(mode).resize((width, height), Image.BILINEAR)
    return np.asarray(image, np.float32).reshape(shape)


def main():
    """Load the model once, then classify each image."""
    parser = argparse.ArgumentParser(description="Classify images on a board")
    parser.add_argument("model", help="a .tflite file or a bundle")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--device", default="auto", help="auto, cpu, usb, pci or emulator")
    parser.add_argument("--divide", type=float, default=1.0, help="255 for a network of 0 to 1")
    arguments = parser.parse_args()
    try:
        with Runner(arguments.model, arguments.device, fallback=True) as runner:
            print("runs on:", runner.environment.device)
            names = runner.notes.labels
            for path in arguments.images:
                pixels = read_pixels(path, runner.inputs[0].shape) / arguments.divide
                start = time.perf_counter()
                (scores,) = runner.predict(pixels)
                milliseconds = (time.perf_counter() - start) * 1000
                best = int(scores[0].argmax())
                name = names[best] if best < len(names) else f"class {best}"
                print(f"{path}: {name}, score {scores[0][best]:.2f}, {milliseconds:.2f} ms")
    except EdgeKitError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
