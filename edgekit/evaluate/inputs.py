# SPDX-License-Identifier: Apache-2.0
"""The inputs of ``run``: images, arrays, folders, patterns and videos, one sample at a time."""

from __future__ import annotations

import glob
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from edgekit.data import Placement
from edgekit.data.arrays import names_for_one
from edgekit.data.dataset import InputSpec, as_real, sample_specs
from edgekit.data.image_files import IMAGE_SUFFIXES, is_image
from edgekit.data.images import MOST_IMAGE_BYTES, open_image, with_mode
from edgekit.data.items import batch_size
from edgekit.data.numpy_files import NpzFile, read_npy
from edgekit.errors import DataError, InputError
from edgekit.extras import require
from edgekit.files import read_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from edgekit.data import Preprocess
    from edgekit.files import PathLike
    from edgekit.runtime import TensorInfo

_NPY, _NPZ = ".npy", ".npz"
VIDEO_SUFFIXES = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"))


@dataclass(frozen=True)
class Item:
    """One input to run on."""

    name: str
    path: Path | None = None
    array: NDArray[Any] | None = None  # of samples, or a video's frame in RGB
    arrays: Mapping[str, NDArray[Any]] | None = None  # a sample, by input name
    content: bytes | None = None  # of an image file
    is_listed: bool = False  # found in a folder or by a pattern: may be unreadable
    is_frame: bool = False
    video: Path | None = None
    goes_on: bool = False  # whether it is a frame after the first one of its video


@dataclass(frozen=True)
class Reading:
    """An item, read."""

    arrays: Mapping[str, NDArray[Any]]  # by input name: real values, the batch included
    # Decodes the image, turned as for the network, to draw on; None for arrays
    open_picture: Callable[[], Image.Image] | None
    placement: Placement
    is_first_of_several: bool = False  # frames of an animation, pages of a TIFF


def expand(inputs: Sequence[PathLike | NDArray[Any]]) -> Iterator[Item]:
    """Yield each file, array, image in a folder, file that matches a pattern, frame of a video.

    Raises:
        InputError: A path does not exist, a folder contains no image, a pattern matches nothing.
        MissingExtraError: An input is a video, and OpenCV is not installed.
    """
    for each in inputs:
        if isinstance(each, np.ndarray):
            yield Item("array", array=each)
            continue
        path = Path(each)
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if is_image(entry))
            if not found:
                raise InputError(
                    "the folder contains no image",
                    where=str(path),
                    why=f"none of its files ends in {', '.join(sorted(IMAGE_SUFFIXES))}",
                )
            yield from (Item(str(entry), entry, is_listed=True) for entry in found)
        elif glob.has_magic(str(each)) and not path.exists():
            names = sorted(glob.glob(str(each), recursive=True))  # noqa: PTH207 - absolute and relative
            files = [Path(name) for name in names if Path(name).is_file()]
            if not files:
                raise InputError("no file matches the pattern", where=str(each))
            yield from (Item(str(entry), entry, is_listed=True) for entry in files)
        elif path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            yield from _frames(path)
        else:
            yield Item(str(each), path)


def each_sample(item: Item, infos: Sequence[TensorInfo]) -> Iterator[Item]:
    """Yield the samples of ``item``: for an array, an .npy or an .npz all samples in it.

    Raises:
        DataError: The file cannot be read.
    """
    path = item.path
    if item.array is not None and not item.is_frame:
        arrays: Mapping[str, NDArray[Any]] = {infos[0].name: item.array}
    elif path is not None and path.suffix.lower() in (_NPY, _NPZ):
        arrays = _read_arrays(path, infos)
    else:
        yield item
        return
    whole = sample_specs([InputSpec(each.name, tuple(each.shape)) for each in infos])
    specs = [spec for spec in whole if spec.name in arrays]
    count = batch_size([arrays[spec.name].shape for spec in specs], specs) if specs else None
    if count in (None, 1):
        yield replace(item, arrays=arrays)
        return
    for index in range(count or 0):
        row = {name: array[index] for name, array in arrays.items()}
        yield replace(item, name=f"{item.name}[{index}]", arrays=row)


def read_item(item: Item, infos: Sequence[TensorInfo], how: Preprocess) -> Reading:
    """Read and preprocess ``item`` for the inputs ``infos``; inputs without values are left out.

    Raises:
        DataError: It cannot be read, or does not fit.
        InputError: The file does not exist.
    """
    first = infos[0]
    if item.is_frame and item.array is not None:
        return _read_image(_encoded(item.array), first, how)
    if item.content is not None:
        return _read_image(item.content, first, how)
    if item.arrays is not None:
        return Reading(_fit_all(item.arrays, infos, how), None, _whole(first))
    path = item.path or Path(item.name)
    if not path.is_file():
        raise InputError("the input does not exist or is not a file", where=str(path))
    return _read_image(read_bytes(path, "input", MOST_IMAGE_BYTES), first, how)


def _read_image(content: bytes, info: TensorInfo, how: Preprocess) -> Reading:
    pixels, placement = how.place_pixels(content, info.shape[1:])
    with open_image(content) as image:
        # The second frame of an MPO, a phone's photograph, is a preview or the same view again.
        several = image.format != "MPO" and bool(getattr(image, "is_animated", False))

    def open_picture() -> Image.Image:
        with open_image(content) as image:
            return with_mode(how.turn(image), "RGB").copy()

    scaled = how.scale_pixels(pixels)
    return Reading({info.name: _repeated(scaled, info)}, open_picture, placement, several)


def _encoded(frame: NDArray[Any]) -> bytes:
    """Return a frame as an image file, so that it is read like all images."""
    from PIL import Image  # noqa: PLC0415

    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "BMP")
    return stream.getvalue()


def _frames(path: Path) -> Iterator[Item]:
    cv2 = require("cv2", extra="video", purpose="read a video")
    video = cv2.VideoCapture(str(path))
    try:
        index = 0
        while True:
            is_read, frame = video.read()
            if not is_read:
                break
            name = f"{path}[{index}]"
            rgb = np.ascontiguousarray(frame[..., ::-1])
            yield Item(name, array=rgb, is_frame=True, video=path, goes_on=index > 0)
            index += 1
    finally:
        video.release()
    if not index:
        raise DataError("cannot read the video: no frame in it", where=str(path))


def _whole(info: TensorInfo) -> Placement:
    """Return the placement of an array, which is the input itself."""
    shape = info.shape
    height, width = (shape[1], shape[2]) if len(shape) > 2 else (1, 1)
    return Placement(width, height, width, height, width, height, 1.0, 1.0)


def _read_arrays(path: Path, infos: Sequence[TensorInfo]) -> dict[str, NDArray[Any]]:
    if path.suffix.lower() == _NPY:
        return {infos[0].name: np.array(read_npy(path))}
    with NpzFile(path) as arrays:
        specs = [InputSpec(each.name, tuple(each.shape)) for each in infos]
        return {name: arrays[key] for name, key in names_for_one(arrays.names, specs).items()}


def _fit_all(
    arrays: Mapping[str, NDArray[Any]], infos: Sequence[TensorInfo], how: Preprocess
) -> dict[str, NDArray[Any]]:
    return {
        info.name: _fitted(arrays[info.name], info, how) for info in infos if info.name in arrays
    }


def _fitted(values: NDArray[Any], info: TensorInfo, how: Preprocess) -> NDArray[Any]:
    sample = as_real(values)
    if sample.shape == info.shape != (1,) and info.shape[:1] != (1,):
        return how.scale_if_explicit(sample)  # a state, whose first dimension is not a batch
    if sample.ndim == len(info.shape) and sample.shape[:1] == (1,):
        sample = sample[0]
    return _repeated(how.array(sample, info.shape[1:]), info)


def _repeated(sample: NDArray[Any], info: TensorInfo) -> NDArray[Any]:
    # A model with a larger batch gets the sample in every row.
    return np.repeat(sample[None], info.shape[0], axis=0) if info.shape else sample
