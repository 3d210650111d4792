# SPDX-License-Identifier: Apache-2.0
"""Read arrays in .npy and .npz files: sizes are checked before, pickled objects are refused."""

from __future__ import annotations

import ast
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit.formats.damage import NUMPY_DAMAGE, check_member, reason_of

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"
_MOST_HEAD_BYTES = 1 << 16
_MOST_MEMBERS = 4096


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of an .npy file, mapped into memory page by page, read-only.

    Raises:
        DataError: It cannot be read, is damaged, or contains objects.
    """
    try:
        with path.open("rb") as stream:
            _check_head(stream, path.stat().st_size)
        mapped: NDArray[Any] = np.load(str(path), mmap_mode="r", allow_pickle=False)
    except NUMPY_DAMAGE as error:
        raise _damaged(path, error) from error
    if not isinstance(mapped, np.ndarray):
        raise _damaged(path, ValueError("it is an archive, not an array"))
    return mapped


class NpzFile:
    """An open .npz file; a context manager. Arrays are read when they are used."""

    def __init__(self, path: Path) -> None:
        """Open ``path`` and read its directory.

        Raises:
            DataError: It cannot be read, or is damaged.
        """
        self._path = path
        try:
            self._archive = zipfile.ZipFile(str(path))
        except NUMPY_DAMAGE as error:
            raise _damaged(path, error) from error
        members = self._archive.infolist()[:_MOST_MEMBERS]
        self._members = {
            each.filename[: -len(_SUFFIX)]: each
            for each in members
            if each.filename.endswith(_SUFFIX)
        }

    @property
    def names(self) -> list[str]:
        """The arrays' names, in the order of the file."""
        return list(self._members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one array.

        Raises:
            DataError: It is damaged or contains objects.
            TooLargeError: Unpacked, it would be far larger than its stored size.
        """
        member = self._members[name]
        check_member(member, f"{self._path}, {name}")
        try:
            with self._archive.open(member) as stream:
                _check_head(stream, member.file_size)
            with self._archive.open(member) as stream:
                array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)  # type: ignore[no-untyped-call,unused-ignore]
                return array
        except NUMPY_DAMAGE as error:
            raise _damaged(self._path, error, name) from error

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()


def _check_head(stream: IO[bytes], size: int) -> None:
    """Refuse a header that is too long, or states more bytes than the file has.

    Raises:
        ValueError: It is not an array, or its header is refused.
    """
    begin = stream.read(12)
    if begin[:6] != _MAGIC:
        raise ValueError(f"it begins with {begin[:6]!r}, expected {_MAGIC!r}")
    is_first = begin[6:7] == b"\1"
    length = int.from_bytes(begin[8:10] if is_first else begin[8:12], "little")
    if length > _MOST_HEAD_BYTES:
        raise ValueError(f"its header states a length of {length} bytes")
    head = begin[10:] * is_first + stream.read(length)
    fields = ast.literal_eval(head[:length].decode("latin1").strip())
    shape, dtype = fields["shape"], np.dtype(fields["descr"])
    declared = dtype.itemsize
    for dimension in shape:
        declared *= int(dimension)
    if not dtype.hasobject and not 0 <= declared <= size:
        raise ValueError(f"its header states {declared} bytes, the file has {size}")


def _damaged(path: Path, error: BaseException, name: str = "") -> DataError:
    reason = getattr(error, "strerror", None) or reason_of(error)
    return DataError(
        f"cannot read the arrays: {reason}",
        where=", ".join(each for each in (str(path), name) if each),
        fix="save them with numpy.savez or numpy.save, as numbers (no object arrays)",
    )
