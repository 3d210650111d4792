# SPDX-License-Identifier: Apache-2.0
"""Measure how each filter of --preprocess differs from its original, on real photographs.

    python -m scripts.measure_filters FOLDER PYTHON37 > docs/filters.md
    python -m scripts.measure_filters FOLDER PYTHON37 torch-bilinear  # only rows of these filters

Needs tensorflow, torch, torchvision and opencv-python; the last three are not dependencies of
edgekit, so run it in a separate environment. All get the pixels that Pillow decodes. ``PYTHON37``
is another Python with edgekit's device side: its pixels are compared with those of this one.
"""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Tuple  # noqa: UP035 - Python 3.7 also runs this

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekit.data.fit_image import fit_image
from edgekit.data.image_files import images_below

Pixels = NDArray[np.uint8]
Size = Tuple[int, int]  # noqa: UP006 - as above
Original = Callable[[Pixels, Size], NDArray[Any]]
# filter, resize, description, the original
Row = Tuple[str, str, str, Callable[[], Original]]  # noqa: UP006 - as above
_SIZES = ((224, 224), (127, 97), (641, 479))  # width, height
_PIXELS = "--pixels"


def _tensorflow(method: str) -> Original:
    tf = importlib.import_module("tensorflow")
    return lambda pixels, size: np.asarray(tf.image.resize(pixels, size[::-1], method=method))


def _resize_with_pad() -> Original:
    tf = importlib.import_module("tensorflow")
    return lambda pixels, size: np.asarray(tf.image.resize_with_pad(pixels, size[1], size[0]))


def _keras(option: str) -> Original:
    """``smart_resize``, which ``image_dataset_from_directory`` calls, and the layer's padding."""
    utils: Any = importlib.import_module("keras.src.utils.image_utils")
    image: Any = importlib.import_module("keras").ops.image
    if option == "crop_to_aspect_ratio":
        return lambda pixels, size: np.asarray(
            utils.smart_resize(pixels.astype(np.float32), size[::-1])
        )
    return lambda pixels, size: np.asarray(
        image.resize(pixels.astype(np.float32), size[::-1], pad_to_aspect_ratio=True)
    )


def _opencv(name: str) -> Original:
    cv2: Any = importlib.import_module("cv2")
    return lambda pixels, size: np.asarray(
        cv2.resize(pixels, size, interpolation=getattr(cv2, name))
    )


def _letterbox() -> Original:
    """LetterBox of Ultralytics, ``center=True``, written from its documentation."""
    cv2: Any = importlib.import_module("cv2")

    def boxed(pixels: Pixels, size: Size) -> NDArray[Any]:
        height, width = pixels.shape[:2]
        ratio = min(size[0] / width, size[1] / height)
        inner = round(width * ratio), round(height * ratio)
        left, top = (size[0] - inner[0]) / 2, (size[1] - inner[1]) / 2
        resized = cv2.resize(pixels, inner, interpolation=cv2.INTER_LINEAR)
        bars = (round(top - 0.1), round(top + 0.1), round(left - 0.1), round(left + 0.1))
        return np.asarray(
            cv2.copyMakeBorder(resized, *bars, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        )

    return boxed


def _torch(name: str, kind: str, antialias: bool = True) -> Original:
    """``Resize`` of a PIL image, of a tensor of bytes (version 2 or 1), or of real numbers."""
    torch: Any = importlib.import_module("torch")
    version = "" if kind == "v1" else ".v2"
    functional: Any = importlib.import_module(f"torchvision.transforms{version}.functional")
    mode: Any = importlib.import_module("torchvision.transforms").InterpolationMode[name]

    def resized(pixels: Pixels, size: Size) -> NDArray[Any]:
        if kind == "pil":
            return np.asarray(functional.resize(Image.fromarray(pixels), size[::-1], mode))
        tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
        tensor = tensor.float() if kind == "real" else tensor
        result = functional.resize(tensor, size[::-1], mode, antialias=antialias)
        return np.asarray(result.permute(1, 2, 0).numpy())

    return resized


def _torch_crop() -> Original:
    transforms: Any = importlib.import_module("torchvision.transforms")

    def cropped(pixels: Pixels, size: Size) -> NDArray[Any]:
        image = transforms.Resize(int(min(size) / 0.875))(Image.fromarray(pixels))
        return np.asarray(transforms.CenterCrop(size[::-1])(image))

    return cropped


def _rows() -> Iterator[Row]:
    # Import torch first: after tensorflow it ends the process.
    yield "torch-bilinear", "torch-crop", "torchvision Resize, CenterCrop", _torch_crop
    for name, kind in _TORCH:
        mode = name.rpartition("-")[2]
        words = f"torchvision {mode} of {_TORCH_KINDS[kind]}"
        yield name, "stretch", words, partial(_torch, mode.upper(), kind)
    words = "torchvision bilinear of bytes, antialias=False"
    yield "tf-bilinear", "stretch", words, partial(_torch, "BILINEAR", "v2", antialias=False)
    words = "torchvision NEAREST_EXACT of bytes"
    yield "tf-nearest", "stretch", words, partial(_torch, "NEAREST_EXACT", "v2")
    for method in ("bilinear", "nearest", "bicubic", "area"):
        name = f'tf.image.resize(method="{method}")'
        yield f"tf-{method}", "stretch", name, partial(_tensorflow, method)
    yield "tf-bilinear", "tf-pad", "tf.image.resize_with_pad", _resize_with_pad
    words = "image_dataset_from_directory, crop_to_aspect_ratio"
    yield "tf-bilinear", "keras-crop", words, partial(_keras, "crop_to_aspect_ratio")
    words = "keras.layers.Resizing, pad_to_aspect_ratio"
    yield "tf-bilinear", "keras-pad", words, partial(_keras, "pad_to_aspect_ratio")
    for mode in ("linear", "nearest", "cubic", "area"):
        name = f"INTER_{mode.upper()}"
        yield f"cv2-{mode}", "stretch", f"cv2.{name}", partial(_opencv, name)
    yield "cv2-linear", "letterbox", "Ultralytics LetterBox", _letterbox


_TORCH_KINDS = {
    "pil": "a PIL image",
    "v1": "bytes, version 1",
    "v2": "bytes, version 2",
    "real": "real numbers",
}
_TORCH = (
    ("torch-bilinear", "pil"),
    ("torch-v2-bilinear", "v2"),
    ("torch-tensor-bilinear", "v1"),
    ("torch-tensor-bilinear", "real"),
    ("torch-bicubic", "pil"),
    ("torch-v2-bicubic", "v2"),
    ("torch-tensor-bicubic", "v1"),
    ("torch-tensor-bicubic", "real"),
)


def _read(folder: str) -> list[Image.Image]:
    images = []
    for path in images_below(Path(folder)):
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    return images


def _chosen(filters: list[str]) -> Iterator[Row]:
    return (row for row in _rows() if not filters or row[0] in filters)


def _resized(images: list[Image.Image], filters: list[str]) -> Iterator[Pixels]:
    """Yield edgekit's pixels of all rows, images and sizes, in this order."""
    for name, mode, _, _ in _chosen(filters):
        for image in images:
            for size in _SIZES:
                yield fit_image(image, size, mode, name, None)


class _Difference:
    """The difference of two results over many pictures."""

    def __init__(self) -> None:
        self.equal, self.count, self.largest = 0, 0, 0

    def add(self, actual: Pixels, expected: NDArray[Any]) -> None:
        steps = np.floor(expected.astype(np.float32) + np.float32(0.5)).clip(0, 255)
        apart = np.abs(actual - steps)
        self.equal += int((apart == 0).sum())
        self.count += apart.size
        self.largest = max(self.largest, int(apart.max()))

    def __str__(self) -> str:
        # Never round up to 100 %.
        share = np.floor(self.equal / self.count * 1e5) / 1e3
        return f"{share:.3f}% | {self.largest}"


@contextlib.contextmanager
def _other_python(
    program: str, folder: str, filters: list[str]
) -> Iterator[Callable[[Pixels], Pixels]]:
    """Return another Python's pixels of the same pictures, one after the other."""
    command = (program, "-m", "scripts.measure_filters", folder, _PIXELS, *filters)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        stream = process.stdout
        if stream is None:
            raise SystemExit(f"{program} has no output")

        def follow(like: Pixels) -> Pixels:
            content = stream.read(like.size)
            return np.frombuffer(content, np.uint8).reshape(like.shape)

        yield follow


def _print_table(folder: str, other: str, filters: list[str]) -> None:
    images = _read(folder)
    sizes = ", ".join(f"{width} x {height}" for width, height in _SIZES)
    print(_HEAD.format(count=len(images), sizes=sizes))
    with _other_python(other, folder, filters) as follow:
        resized = _resized(images, filters)
        for name, mode, words, make in _chosen(filters):
            original, origin, version = make(), _Difference(), _Difference()
            for image in images:
                pixels = np.asarray(image)
                for size in _SIZES:
                    actual = next(resized)
                    origin.add(actual, original(pixels, size))
                    version.add(actual, follow(actual))
            print(f"| `{name}` | `{mode}` | {words} | {origin} | {version} |", flush=True)


_HEAD = """\
# Filters of --preprocess compared with their originals

{count} photographs, each resized to {sizes} (`scripts/measure_filters.py`).
*Equal* is the share of values equal to the original's, which are rounded to integers of 0 to 255;
*largest* is the largest difference. The last two columns compare edgekit on
Python 3.7 (Pillow 9.5, as on a Coral board) with edgekit on Python 3.11 (Pillow 13).

| filter= | resize= | original | equal | largest | 3.7 equal | 3.7 largest |
|---|---|---|---|---|---|---|"""


def main() -> None:
    """Print docs/filters.md, or with ``--pixels`` edgekit's raw pixels for another Python."""
    folder, other, *filters = sys.argv[1:]
    if other != _PIXELS:
        _print_table(folder, other, filters)
        return
    for pixels in _resized(_read(folder), filters):
        sys.stdout.buffer.write(pixels.tobytes())


if __name__ == "__main__":
    main()
