# SPDX-License-Identifier: Apache-2.0
"""The files for a board, their hashes, and the pieces in which they are sent."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from edgekit.data import FUNCTION, coco_images, read_coco
from edgekit.errors import DataError, InputError
from edgekit.files import PathLike, open_input
from edgekit.fleet.board_side import chunks_of

_DATA_FILES = {".npz", ".npy"}


@dataclass(frozen=True)
class LocalFile:
    """A file at the time when it was hashed."""

    source: Path
    path: str  # on the board, relative to the deployment's folder, with slashes
    size: int
    sha256: str
    chunks: tuple[tuple[int, int, str], ...]  # offset, length, sha256


@dataclass(frozen=True)
class LocalData:
    """A data set: a file, a folder, or a COCO JSON with its images."""

    path: str  # on the board: the data argument of evaluate
    files: tuple[LocalFile, ...]
    folder: str = ""  # on the board: must contain only these files


def read_local(source: Path, path: str) -> LocalFile:
    """Hash ``source``, as a whole and piece by piece.

    Raises:
        InputError: It cannot be read.
    """
    whole, chunks = hashlib.sha256(), []
    try:
        with open_input(source, is_pipe_read=False) as stream:
            for offset, length in chunks_of(str(source)):
                content = stream.read(length)
                whole.update(content)
                chunks.append((offset, length, hashlib.sha256(content).hexdigest()))
    except OSError as error:
        raise InputError(
            f"cannot read {source.name}: {error.strerror}",
            where=str(source),
            fix="check the path and its permissions",
        ) from error
    size = sum(length for _, length, _ in chunks)
    return LocalFile(source, path, size, whole.hexdigest(), tuple(chunks))


def read_data(data: PathLike) -> LocalData:
    """Return the files of a data set without hidden files.

    Raises:
        DataError: It cannot be copied, or it is empty.
        InputError: A file cannot be read.
    """
    source = Path(data)
    name = source.resolve().name
    if source.is_dir():
        there = f"data/{name}"
        files = tuple(
            read_local(path, f"{there}/{path.relative_to(source).as_posix()}")
            for path in _visible_files(source)
        )
        if not files:
            raise DataError("the folder of data is empty", where=str(source))
        return LocalData(there, files, folder=there)
    if source.is_file() and source.suffix.lower() in _DATA_FILES:
        there = f"data/{name}"
        return LocalData(there, (read_local(source, there),))
    if source.is_file() and source.suffix.lower() == ".json":
        return _read_coco(source)
    raise _not_copied(source, str(data))


def _read_coco(source: Path) -> LocalData:
    """Return a COCO JSON, and its images that exist here, in a folder next to it."""
    folder = f"data/{source.resolve().stem}"
    images = dict(coco_images(source, read_coco(source)))
    for name in images:
        if Path(name).is_absolute() or ".." in Path(name).parts or "\\" in name:
            raise DataError(
                f"the image {name!r} is not in the folder of the others",
                where=str(source),
                why="on the board, the images are put into one folder next to the JSON",
                fix="name files within one folder in the JSON's images",
            )
    json_file = read_local(source, f"{folder}/{source.resolve().name}")
    files = (
        read_local(file, f"{folder}/images/{Path(name).as_posix()}")
        for name, file in images.items()
        if file.is_file()
    )
    return LocalData(json_file.path, (json_file, *files), folder)


def _not_copied(source: Path, given: str) -> DataError:
    fix = "give a folder of images, an .npz or .npy file, or a COCO .json with its images"
    why = "the board evaluates on a copy of the data"
    if FUNCTION.match(given) and not source.exists():
        return DataError(
            "samples of a Python function cannot be copied",
            where=given,
            why=f"{why}; the function's module and its imports are not on the board",
            fix="save the samples with numpy.savez and give that file",
        )
    what = "cannot be copied" if source.exists() else "does not exist"
    return DataError(f"{source.name} {what}", where=given, why=why, fix=fix)


def _visible_files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if path.is_file()]
