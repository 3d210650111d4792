# SPDX-License-Identifier: Apache-2.0
"""Images with one mask each, for semantic segmentation.

A folder with ``images/`` and ``masks/`` (or VOC's ``JPEGImages`` and ``SegmentationClass``, or
``annotations``) with the same file names apart from the suffix, or one folder of ``NAME.*`` with
``NAME_mask.*``.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import Batch, InputSpec, Sample, Unreadable
from edgekit.data.folders import identity_of, read_images
from edgekit.data.heif import unread_notes
from edgekit.data.image_files import is_image
from edgekit.data.images import open_image
from edgekit.data.preprocess import Preprocess
from edgekit.errors import DataError
from edgekit.formats.damage import IMAGE_DAMAGE, reason_of

_IMAGE_FOLDERS = ("images", "JPEGImages", "img")
_MASK_FOLDERS = ("masks", "SegmentationClass", "annotations", "labels")
_MASK_SUFFIX = "_mask"


class MaskDataset:
    """Images in the order of their names; each sample's target is its mask.

    An image whose mask is missing or unreadable counts as unreadable.
    """

    def __init__(self, folder: Path, inputs: Sequence[InputSpec], preprocess: Preprocess) -> None:
        self._folder, self._preprocess = folder, preprocess
        self._shape = _image_input(inputs, folder)
        self._pairs = _list_pairs(folder)
        self.unreadable: list[Unreadable] = []

    @property
    def num_samples(self) -> int | None:
        """How many images there are."""
        return len(self._pairs)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Empty: masks contain numbers."""
        return ()

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The preprocessing's range."""
        return self._preprocess.promised_range

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks about all files: the pictures that need a plugin."""
        return unread_notes(image for image, _ in self._pairs)

    @property
    def classes(self) -> Sequence[int] | None:
        """None: an image may show several."""
        return None

    def subset(self, indices: Sequence[int]) -> MaskDataset:
        """Return the images ``indices`` with their masks."""
        chosen = copy.copy(self)
        chosen.unreadable = []
        chosen._pairs = [self._pairs[index] for index in indices]  # noqa: SLF001 - its own copy
        return chosen

    def describe(self) -> dict[str, Any]:
        """Kind, source and preprocessing."""
        source = str(self._folder)
        return {"kind": "masks", "source": source, "preprocess": str(self._preprocess)}

    def identity(self, stop: int) -> int:
        """CRC-32 of the first ``stop`` pairs' names and sizes: it shows changed data."""
        images = [image for image, _ in self._pairs[:stop]]
        masks = [mask or image for image, mask in self._pairs[:stop]]
        return identity_of([*images, *masks], [*masks, *images])

    def chunk(self, start: int, stop: int) -> Batch:
        """Images ``start`` to ``stop`` with their masks; safe to call from any thread."""
        masks: dict[str, NDArray[np.uint8]] = {}
        problems = []
        for image, path in self._pairs[start:stop]:
            try:
                masks[str(image)] = read_mask(path) if path else _missing(image)
            except DataError as error:  # noqa: PERF203 - reading a file takes far longer
                problems.append(Unreadable(str(image), error.what))
        sizes = [(mask.shape[1], mask.shape[0]) for mask in masks.values()]
        read = read_images([Path(name) for name in masks], self._shape, self._preprocess, sizes)
        targets = tuple(masks[source] for source in read.sources)
        return replace(read, targets=targets, unreadable=(*read.unreadable, *problems))

    def __iter__(self) -> Iterator[Sample]:
        self.unreadable = []
        for index in range(len(self._pairs)):
            batch = self.chunk(index, index + 1)
            self.unreadable.extend(batch.unreadable)
            if batch.sources:
                yield Sample((np.asarray(batch.inputs[0])[0],), None, batch.sources[0])


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the classes in a mask file, (h, w): its grey values or palette indices.

    Raises:
        DataError: It is not an image, or has colours.
    """
    try:
        with open_image(path) as image:
            if image.mode not in ("L", "P", "1"):
                raise DataError(
                    f"the mask has colours (mode {image.mode}), expected class indices",
                    where=str(path),
                    fix="save masks as 8-bit grey or palette images of class indices",
                )
            mask: NDArray[np.uint8] = np.asarray(image, np.uint8)
            return mask
    except IMAGE_DAMAGE as error:
        raise DataError(f"cannot read the mask: {reason_of(error)}", where=str(path)) from error


def _missing(image: Path) -> NDArray[np.uint8]:
    raise DataError("it has no mask", where=str(image))


def _image_input(inputs: Sequence[InputSpec], folder: Path) -> tuple[int, ...]:
    if len(inputs) != 1:
        raise DataError(
            f"images fill one input, the model has {len(inputs)}",
            where=str(folder),
            fix="give a model with one image input",
        )
    return tuple(inputs[0].shape[1:])


def _list_pairs(folder: Path) -> list[tuple[Path, Path | None]]:
    images = next((folder / name for name in _IMAGE_FOLDERS if (folder / name).is_dir()), folder)
    masks = next((folder / name for name in _MASK_FOLDERS if (folder / name).is_dir()), None)
    try:
        files = sorted(path for path in images.iterdir() if is_image(path))
        if masks is None:
            by_stem = {path.stem: path for path in files if path.stem.endswith(_MASK_SUFFIX)}
            files = [path for path in files if path.stem + _MASK_SUFFIX in by_stem]
            pairs = [(path, by_stem[path.stem + _MASK_SUFFIX]) for path in files]
        else:
            by_stem = {path.stem: path for path in sorted(masks.iterdir()) if is_image(path)}
            found = [
                by_stem.get(path.stem, by_stem.get(path.stem + _MASK_SUFFIX)) for path in files
            ]
            return _checked(list(zip(files, found)), folder)
    except OSError as error:
        raise DataError(f"cannot list the folder: {error.strerror}", where=str(folder)) from error
    return _checked(list(pairs), folder)


def _checked(pairs: list[tuple[Path, Path | None]], folder: Path) -> list[tuple[Path, Path | None]]:
    if not any(mask for _, mask in pairs):
        raise DataError(
            "the folder contains no image with a mask",
            where=str(folder),
            fix="give a folder with images/ and masks/, or with NAME.* and NAME_mask.*",
        )
    return pairs
