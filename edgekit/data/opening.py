# SPDX-License-Identifier: Apache-2.0
"""Open DATA of the command line, or a Python object, as a `Dataset`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence, Union

from edgekit.data.addresses import is_address, open_address
from edgekit.data.arrays import open_numpy
from edgekit.data.coco import CocoDataset
from edgekit.data.dataset import Dataset, InputSpec
from edgekit.data.folders import FolderDataset
from edgekit.data.iterables import IterableDataset, load_function
from edgekit.data.masks import MaskDataset
from edgekit.data.parts import part_of
from edgekit.data.preprocess import Preprocess, parse_preprocess
from edgekit.data.random_samples import RANDOM, RandomDataset
from edgekit.errors import DataError
from edgekit.files import PathLike

Source = Union[PathLike, Dataset, Iterable[Any], Callable[[], Iterable[Any]]]
# A function that yields samples: package.module:function.
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


def open_dataset(
    source: Source,
    *,
    inputs: Sequence[InputSpec],
    preprocess: str | Preprocess | None = None,
    split: str = "test",
    masks: bool = False,
) -> Dataset:
    """Open samples for a network with ``inputs``.

    Args:
        source: A folder of images, an .npz or .npy file, a COCO .json,
            ``package.module:function``, an address of such a folder or file that fsspec reads
            (``s3://bucket/folder``, ``https://host/x.npz``), a `Dataset`, ``random`` for random
            numbers, or from Python a list, a function that yields samples (TFLite's
            ``representative_dataset`` too), a ``tf.data.Dataset``, a ``keras.utils.PyDataset``, a
            torch ``DataLoader`` or data set.
        inputs: The network's inputs in their order, shapes with the batch dimension.
        preprocess: ``--preprocess`` text; None scales pixels to 0..1 and does not change real
            numbers.
        split: ``train`` or ``test``: the part of a file that contains both (Keras's MNIST), or of a
            folder with sub-folders such as train and val.
        masks: Whether a folder contains images with one mask each, for segmentation.

    Raises:
        DataError: The source does not exist, or does not fit.
        UsageError: ``preprocess`` has an unknown word.
    """
    how = parse_preprocess(preprocess)
    if hasattr(source, "describe") and hasattr(source, "unreadable"):
        return source  # type: ignore[return-value] # it has what the protocol needs
    if not isinstance(source, (str, Path)):
        return IterableDataset(source, inputs, how, "samples")
    path: Any = open_address(str(source)) if is_address(source) else Path(source)
    if str(source) == RANDOM and not path.exists():
        return RandomDataset(inputs, how)
    if path.is_dir():
        if masks:
            return MaskDataset(path, inputs, how)
        part = part_of(path, split)
        return FolderDataset(part, inputs, how, is_part=part != path)
    if path.suffix.lower() in (".npz", ".npy"):
        if not path.is_file():
            raise DataError("the data file does not exist", where=str(path))
        return open_numpy(path, inputs, how, split)
    if path.suffix.lower() == ".json":
        return CocoDataset(path, inputs, how)
    if FUNCTION.match(str(source)) and not path.exists():
        return IterableDataset(load_function(str(source)), inputs, how, str(source))
    what = "is not a data set that edgekit reads" if path.exists() else "does not exist"
    raise DataError(
        f"{path.name or source} {what}",
        where=str(source),
        fix="give a folder of images, an .npz or .npy file, a COCO .json, an address of one of "
        "these, or package.module:function",
    )
