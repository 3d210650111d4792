# SPDX-License-Identifier: Apache-2.0
"""How far each filter of --preprocess is from its origin, on real photographs.

    python -m scripts.measure_filters FOLDER > docs/filters.md

Needs tensorflow, torch, torchvision and opencv-python, of which the last three are no dependency of
edgekit: run it in an environment of its own. All get the pixels that Pillow decodes.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekit.data.fit_image import fit_image
from edgekit.data.image_files import is_image

Pixels = NDArray[np.uint8]
Original = Callable[[Pixels, tuple[int, int]], NDArray[Any]]
_SIZES = ((224, 224), (127, 97), (641, 479))  # width, height


def _tensorflow(method: str) -> Original:
    tf = importlib.import_module("tensorflow")
    return lambda pixels, size: np.clip(
        tf.image.resize(pixels, size[::-1], method=method).numpy(), 0, 255
    )


def _keras(option: str) -> Original:
    keras = importlib.import_module("keras")

    def resized(pixels: Pixels, size: tuple[int, int]) -> NDArray[Any]:
        layer = keras.layers.Resizing(size[1], size[0], **{option: True})
        return np.asarray(layer(pixels.astype(np.float32)))

    return resized


def _opencv(name: str) -> Original:
    cv2: Any = importlib.import_module("cv2")
    return lambda pixels, size: np.asarray(
        cv2.resize(pixels, size, interpolation=getattr(cv2, f"INTER_{name}"))
    )


def _letterbox(pixels: Pixels, size: tuple[int, int]) -> NDArray[Any]:
    """LetterBox of Ultralytics, ``center=True``, written down from its documentation."""
    cv2: Any = importlib.import_module("cv2")
    height, width = pixels.shape[:2]
    ratio = min(size[0] / width, size[1] / height)
    inner = round(width * ratio), round(height * ratio)
    left, top = (size[0] - inner[0]) / 2, (size[1] - inner[1]) / 2
    resized = cv2.resize(pixels, inner, interpolation=cv2.INTER_LINEAR)
    bars = (round(top - 0.1), round(top + 0.1), round(left - 0.1), round(left + 0.1))
    return np.asarray(
        cv2.copyMakeBorder(resized, *bars, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    )


def _torch(name: str, antialias: bool) -> Original:
    torch: Any = importlib.import_module("torch")
    transforms: Any = importlib.import_module("torchvision.transforms.v2.functional")
    mode: Any = importlib.import_module("torchvision.transforms").InterpolationMode[name]

    def resized(pixels: Pixels, size: tuple[int, int]) -> NDArray[Any]:
        tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        result = transforms.resize(tensor, size[::-1], mode, antialias=antialias)
        return np.asarray(result.permute(1, 2, 0).numpy())

    return resized


def _torch_pil(name: str) -> Original:
    transforms: Any = importlib.import_module("torchvision.transforms.v2.functional")
    mode: Any = importlib.import_module("torchvision.transforms").InterpolationMode[name]
    return lambda pixels, size: np.asarray(
        transforms.resize(Image.fromarray(pixels), size[::-1], mode)
    )


def _rows() -> Iterator[tuple[str, str, str, Original]]:
    """(filter, resize, the original in words, the original)."""
    for method in ("bilinear", "nearest", "bicubic", "area"):
        name = f'tf.image.resize(method="{method}")'
        yield f"tf-{method}", "stretch", name, _tensorflow(method)
    for mode, option in (("crop", "crop_to_aspect_ratio"), ("pad", "pad_to_aspect_ratio")):
        yield "tf-bilinear", f"keras-{mode}", f"Keras, {option}", _keras(option)
    for mode in ("linear", "nearest", "cubic", "area"):
        yield f"cv2-{mode}", "stretch", f"cv2.INTER_{mode.upper()}", _opencv(mode.upper())
    yield "cv2-linear", "letterbox", "Ultralytics LetterBox", _letterbox
    for mode in ("bilinear", "bicubic", "nearest"):
        yield mode, "stretch", f"torchvision {mode} of a PIL image", _torch_pil(mode.upper())
    for mode in ("bilinear", "bicubic"):
        original = _torch(mode.upper(), antialias=True)
        yield mode, "stretch", f"torchvision {mode} of a tensor", original
    original = _torch("BILINEAR", antialias=False)
    yield "tf-bilinear", "stretch", "torchvision bilinear of a tensor, antialias=False", original


def main() -> None:
    """Print docs/filters.md."""
    files = sorted(path for path in Path(sys.argv[1]).rglob("*") if is_image(path))
    images = [Image.open(path).convert("RGB") for path in files]
    sizes = ", ".join(f"{width} x {height}" for width, height in _SIZES)
    print("# Filters of --preprocess against their originals\n")
    print(f"{len(images)} photographs, each resized to {sizes} (`scripts/measure_filters.py`).")
    print("*Equal* is the share of values that are the original's, rounded to whole steps of 255;")
    print("*largest* is the largest difference from it, in steps.\n")
    print("| filter= | resize= | original | equal | largest |")
    print("|---|---|---|---|---|")
    for name, mode, words, original in _rows():
        equal, count, largest = 0, 0, 0.0
        for image in images:
            pixels = np.asarray(image)
            for size in _SIZES:
                expected = original(pixels, size).astype(np.float64)
                actual = fit_image(image, size, mode, name, None)
                equal += int((actual == np.floor(expected + 0.5)).sum())
                count += actual.size
                largest = max(largest, float(np.abs(actual - np.floor(expected + 0.5)).max()))
        print(
            f"| `{name}` | `{mode}` | {words} | {equal / count:.3%} | {largest:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
