# SPDX-License-Identifier: Apache-2.0
"""What goes onto a board: files, their hashes, and the pieces that they are sent in."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import DataError, InputError
from edgekit.files import PathLike
from edgekit.fleet.board_side import chunks_of

_DATA_FILES = {".npz", ".npy"}


@dataclass(frozen=True)
class LocalFile:
    """A file as it was when it was hashed."""

    source: Path
    path: str  # there, relative to the deployment's folder, with slashes
    size: int
    sha256: str
    chunks: tuple[tuple[int, int, str], ...]  # offset, length, sha256


@dataclass(frozen=True)
class LocalData:
    """A data set: a file, or a folder that the board's is to become equal to."""

    path: str  # there
    files: tuple[LocalFile, ...]
    is_folder: bool


def read_local(source: Path, path: str) -> LocalFile:
    """Hash ``source``, whole and piece by piece.

    Raises:
        InputError: It cannot be read.
    """
    whole, chunks = hashlib.sha256(), []
    try:
        with source.open("rb") as stream:
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
    """The files of a data set, hidden ones left out.

    Raises:
        DataError: It is no folder and no .npz or .npy file, or it is empty.
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
        return LocalData(there, files, is_folder=True)
    if source.is_file() and source.suffix.lower() in _DATA_FILES:
        there = f"data/{name}"
        return LocalData(there, (read_local(source, there),), is_folder=False)
    raise DataError(
        f"{source.name} {'cannot be copied' if source.exists() else 'does not exist'}",
        where=str(data),
        why="the board evaluates on a copy of the data",
        fix="give a folder of images, or an .npz or .npy file",
    )


def _visible_files(folder: Path) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if path.is_file()]
