# SPDX-License-Identifier: Apache-2.0
"""A folder of images: flat, or one sub-folder per class, or with a labels.csv."""

from __future__ import annotations

import copy
import csv
import io
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, List, Mapping, Sequence, Tuple, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from edgekit.data.dataset import Batch, InputSpec, Sample, Unreadable
from edgekit.data.heif import unread_notes
from edgekit.data.image_files import IMAGE_SUFFIXES, images_below, is_image, is_leftover
from edgekit.data.images import MOST_IMAGE_BYTES
from edgekit.data.label_kinds import all_labels, class_list, stack_labels
from edgekit.data.pixels import Pixels
from edgekit.data.preprocess import Preprocess, Size
from edgekit.errors import DataError, InputError
from edgekit.files import MOST_TEXT_BYTES, read_bytes

LABELS_FILE = "labels.csv"
_MOST_ROWS, _MOST_CELLS = 2_000_000, 8_000_000  # a row takes 360 bytes of memory, a cell 60
_FILE_COLUMNS = ("file", "filename", "file_name", "image", "path", "filepath")
_CLASS_COLUMNS = frozenset(
    ("label", "class", "class_index", "class_id", "category", "class_name", "species")
)
_LISTED = 5
_MOST_DIGITS = 9  # of a class index
_Other = TypeVar("_Other")
_Labels = List[Union[int, Tuple[float, ...], None]]


class FolderDataset:
    """Images of a folder in the order of their names.

    Labels are from the first of these that exists: ``labels.csv`` in the folder (a column ``file``,
    and a column of class indices, several columns of 0 and 1, columns of real targets, or a column
    of class names, whose classes have the names' sorted order like sub-folders), else the
    number that is each sub-folder's name (10 is class 10, after 2), else the index of the
    sub-folder among the sorted sub-folders; otherwise there are no labels. Unreadable images are
    listed in ``unreadable``.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Sequence[InputSpec],
        preprocess: Preprocess,
        *,
        is_part: bool = False,
    ) -> None:
        if len(inputs) != 1:
            raise DataError(
                f"a folder of images fills one input, the model has {len(inputs)}",
                where=str(folder),
                fix="give an .npz with one array per input, or package.module:function",
            )
        self._folder, self._preprocess, self._is_part = folder, preprocess, is_part
        self._shape = inputs[0].shape[1:]
        self.unreadable: list[Unreadable] = []
        self.files, self.labels, self._folders = _list_folder(folder)

    @property
    def num_samples(self) -> int | None:
        """How many image files there are."""
        return len(self.files)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The sub-folders' names in the order of their labels.

        Empty for a flat folder, one with labels.csv, or sub-folders whose numbers are not 0, 1, 2
        and so on.
        """
        labels = sorted(self._folders)
        is_whole = labels == list(range(len(labels)))
        return tuple(self._folders[label] for label in labels) if is_whole else ()

    @property
    def folder_names(self) -> Mapping[int, str]:
        """The name of the sub-folder of each label; empty like `class_names`, but not for gaps."""
        return self._folders

    @property
    def label_rows(self) -> NDArray[Any] | None:
        """The label of each image."""
        return stack_labels(self.labels, str(self._folder))

    @property
    def promised_range(self) -> tuple[float, float] | None:
        """The preprocessing's range."""
        return self._preprocess.promised_range

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks about all files: the pictures that need a plugin."""
        return unread_notes(self.files)

    @property
    def classes(self) -> Sequence[int] | None:
        """The label of each image; None for a flat folder."""
        return class_list(self.labels)

    def subset(self, indices: Sequence[int]) -> FolderDataset:
        """Return the images ``indices``, with their labels."""
        chosen = copy.copy(self)
        chosen.unreadable = []
        chosen.files = [self.files[index] for index in indices]
        chosen.labels = [self.labels[index] for index in indices]
        return chosen

    def describe(self) -> dict[str, Any]:
        """Kind, source, preprocessing, and ``part``, the folder's name, if it is one of several."""
        source = str(self._folder)
        part = {"part": self._folder.name} if self._is_part else {}
        return {"kind": "folder", "source": source, "preprocess": str(self._preprocess), **part}

    def __iter__(self) -> Iterator[Sample]:
        self.unreadable = []
        for index, path in enumerate(self.files):
            batch = self.chunk(index, index + 1)
            self.unreadable.extend(batch.unreadable)
            if batch.sources:
                yield Sample((np.asarray(batch.inputs[0])[0],), self.labels[index], str(path))

    def identity(self, stop: int) -> int:
        """CRC-32 of the first ``stop`` samples' names, sizes and labels: it shows changed data."""
        return identity_of(self.files[:stop], self.labels)

    def chunk(self, start: int, stop: int) -> Batch:
        """Images ``start`` to ``stop``, read and preprocessed; safe to call from any thread."""
        read = read_images(self.files[start:stop], self._shape, self._preprocess)
        found = beside_read(read, self.files[start:stop], self.labels[start:stop])
        return replace(read, labels=all_labels(found))


def identity_of(files: Sequence[Path], others: Sequence[Any]) -> int:
    """Return the CRC-32 of names and sizes of ``files``, each with its value in ``others``."""
    digest = 0
    for file, other in zip(files, others):
        try:
            size = file.stat().st_size if file.is_file() else -1
        except (OSError, ValueError):  # a name that file systems do not allow
            size = -1
        digest = zlib.crc32(f"{file}\0{size}\0{other}\n".encode("utf-8", "replace"), digest)
    return digest


def beside_read(read: Batch, files: Sequence[Path], others: Sequence[_Other]) -> list[_Other]:
    """Return the values in ``others`` for those ``files`` that `read_images` could read.

    They are matched by position, not by name: a file may be listed twice.
    """
    bad = {each.source for each in read.unreadable}
    return [other for file, other in zip(files, others) if str(file) not in bad]


def read_images(
    files: Sequence[Path],
    shape: Sequence[int],
    preprocess: Preprocess,
    truth_sizes: Sequence[Size | None] = (),
) -> Batch:
    """Return the images in ``files`` as a batch without labels, and list unreadable ones in it.

    Args:
        files: The image files.
        shape: The shape of the input, without the batch.
        preprocess: How images become the input.
        truth_sizes: The ``truth_size`` of each image, see `Preprocess.place_pixels`; empty if
            unknown.

    Raises:
        DataError: An input of ``shape`` (without the batch) cannot be filled from an image.
    """
    pixels, placements, digests, sources = [], [], [], []
    unreadable = []
    for path, truth_size in zip(files, truth_sizes or [None] * len(files)):
        try:
            content = read_bytes(path, "image", MOST_IMAGE_BYTES)
            image, placement = preprocess.place_pixels(content, shape, truth_size)
        except InputError as error:
            if error.why:
                raise  # the network's input is not an image: the same error for every file
            unreadable.append(Unreadable(str(path), error.what))
            continue
        pixels.append(image)
        placements.append(placement)
        digests.append(zlib.crc32(content))
        sources.append(str(path))
    stacked = np.stack(pixels) if pixels else np.empty((0, *shape), np.uint8)
    table = preprocess.pixel_table
    return Batch(
        (preprocess.scale_pixels(stacked) if table is None else Pixels(stacked, table),),
        None,
        sources,
        tuple(unreadable),
        tuple(placements),
        digests=tuple(digests),
    )


def name_some(unreadable: Sequence[Unreadable]) -> str:
    """Return the first files that could not be read, and how many more there are."""
    names = ", ".join(f"{Path(item.source).name} ({item.reason})" for item in unreadable[:_LISTED])
    rest = len(unreadable) - _LISTED
    return names + (f" and {rest} more" if rest > 0 else "")


def _list_folder(folder: Path) -> tuple[list[Path], _Labels, Mapping[int, str]]:
    """Return the images, the label of each, and the sub-folder of each label."""
    try:
        entries = sorted(folder.iterdir())
        if folder / LABELS_FILE in entries:
            return _read_labels_csv(folder)
        flat = [entry for entry in entries if is_image(entry)]
        folders = [entry for entry in entries if entry.is_dir() and not is_leftover(entry.name)]
        # A folder without pictures is not a class: it would shift the labels of later folders.
        below = [(entry, found) for entry in folders for found in [images_below(entry)] if found]
        classes = [entry for entry, _ in below]
        nested = [(path, index) for index, (_, found) in enumerate(below) for path in found]
    except OSError as error:
        raise DataError(f"cannot list the folder: {error.strerror}", where=str(folder)) from error
    if flat and nested:
        raise DataError(
            f"{len(flat)} images beside {len(classes)} sub-folders with images",
            where=str(folder),
            why="a sub-folder is a class, so the images beside them would have none",
            fix="move the images into sub-folders, or all into one folder",
        )
    if nested:
        names = [entry.name for entry in classes]
        is_numbered = all(map(_is_index, names))
        labels = [int(name) if is_numbered else index for index, name in enumerate(names)]
        # 1 and 01 are the same class, under either name.
        files = [path for path, _ in nested]
        return files, [labels[index] for _, index in nested], dict(zip(labels, names))
    if flat:
        return flat, [None] * len(flat), {}
    raise DataError(
        "the folder contains no image",
        where=str(folder),
        why=f"{len(entries)} entries, none ends in {', '.join(sorted(IMAGE_SUFFIXES))}",
        fix="give a folder of images, with one sub-folder per class for labels",
    )


def _read_labels_csv(folder: Path) -> tuple[list[Path], _Labels, Mapping[int, str]]:
    path = folder / LABELS_FILE
    try:
        # Spreadsheet programs write a byte order mark, which is not part of the first column.
        content = read_bytes(path, "labels", MOST_TEXT_BYTES)
        _check_table_size(content)
        text = content.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (ValueError, csv.Error) as error:
        raise DataError(
            f"cannot read labels.csv: {error}",
            where=str(path),
            fix="save it as CSV in UTF-8, with commas",
        ) from error
    # Cells beyond the header's last column are under None.
    columns = [name for name in (rows[0] if rows else ()) if name is not None]
    by_word = {name.strip().lower(): name for name in reversed(columns)}
    file = next((by_word[word] for word in _FILE_COLUMNS if word in by_word), "")
    others = [name for name in columns if name != file]
    labels = _labels_of_columns(others, rows)
    names: Mapping[int, str] = {}
    if not labels:
        labels, names = _labels_of_names(others, rows)
    if not labels or not all(row.get(file) for row in rows):
        raise DataError(
            "labels.csv has no file and class in each row",
            where=str(path),
            fix="write a header with a column file and a column of class indices (0, 1, ...) or "
            "names, several columns of 0 and 1 (one per class), or columns of real targets",
        )
    return [folder / row[file] for row in rows], labels, names


def _check_table_size(content: bytes) -> None:
    """Refuse a table that needs more than about 1 GB of memory."""
    num_rows = max(content.count(b"\n"), content.count(b"\r"))
    if num_rows > _MOST_ROWS or num_rows + content.count(b",") > _MOST_CELLS:
        raise ValueError(f"it has more than {_MOST_ROWS:,} rows or {_MOST_CELLS:,} cells")


def _labels_of_columns(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> _Labels:
    """Return the label of each row, from the columns of numbers; empty without such a column.

    A column of whole numbers has class indices: the one that is named like a class, else the first.
    Several columns, all of 0 and 1, are a class each. If the first column of numbers has real
    numbers, all number columns are targets.
    """
    numbers = [name for name in columns if all(_is_number(row[name]) for row in rows)]
    whole = [name for name in columns if all(_is_index(row[name]) for row in rows)]
    named = [name for name in whole if name.strip().lower() in _CLASS_COLUMNS]
    is_flags = len(whole) > 1 and all(row[name] in {"0", "1"} for row in rows for name in whole)
    if named or (whole and whole[0] == numbers[0] and not is_flags):
        return [int(row[(named or whole)[0]]) for row in rows]
    chosen = whole if is_flags else numbers
    return [tuple(float(row[name]) for name in chosen) for row in rows] if chosen else []


def _labels_of_names(
    columns: Sequence[str], rows: Sequence[Mapping[str, str]]
) -> tuple[_Labels, Mapping[int, str]]:
    """Return the label of each row, and the name of each label, from the column of class names.

    It is the one that is named like a class, else the only one; empty without it.
    """
    named = [name for name in columns if name.strip().lower() in _CLASS_COLUMNS] or columns
    if len(named) != 1:
        return [], {}
    cells = [(row[named[0]] or "").strip() for row in rows]
    names = sorted(set(cells))
    index = {name: place for place, name in enumerate(names)}
    if not all(cells) or any(cell.isnumeric() or _is_number(cell) for cell in names):
        return [], {}  # a number would be another class than its place among the names
    return [index[cell] for cell in cells], dict(enumerate(names))


def _is_number(cell: str | None) -> bool:
    if cell is None or (cell.isdecimal() and len(cell) > _MOST_DIGITS):
        return False
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _is_index(cell: str | None) -> bool:
    return cell is not None and cell.isdecimal() and len(cell) <= _MOST_DIGITS
