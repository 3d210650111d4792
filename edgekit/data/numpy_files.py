# SPDX-License-Identifier: Apache-2.0
"""Read arrays in .npy and .npz files: sizes are checked before, pickled objects are refused."""

from __future__ import annotations

import ast
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from edgekit.data.addresses import NO_PARTS, RemotePath, RemoteRows
from edgekit.errors import DataError
from edgekit.formats.damage import NUMPY_DAMAGE, check_member, reason_of

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"
_MOST_HEAD_BYTES = 1 << 16
_MOST_MEMBERS = 4096
_LENGTHS_AT = 26  # of name and extra field in a local header (APPNOTE 4.3.7)


def read_npy(path: Path | RemotePath) -> NDArray[Any]:
    """Return the array of an .npy file, mapped into memory page by page, read-only.

    Raises:
        DataError: It cannot be read, is damaged, or contains objects.
    """
    if isinstance(path, RemotePath):
        try:
            size = path.stat().st_size
            with path.open() as stream:
                rows: NDArray[Any] = _rows_of(path, stream, 0, size)
                return rows
        except NUMPY_DAMAGE as error:
            raise _damaged(path, error) from error
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

    def __init__(self, path: Path | RemotePath) -> None:
        """Open ``path`` and read its directory.

        Raises:
            DataError: It cannot be read, or is damaged.
        """
        self._path = path
        try:
            stored: Any = path.open() if isinstance(path, RemotePath) else str(path)
            self._archive = zipfile.ZipFile(stored)
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
                if isinstance(self._path, RemotePath) and not member.compress_type:
                    start = self._data_start(member)
                    rows: NDArray[Any] = _rows_of(self._path, stream, start, member.file_size)
                    return rows
                _check_head(stream, member.file_size)
            with self._archive.open(member) as stream:
                array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)  # type: ignore[no-untyped-call,unused-ignore]
                return array
        except NUMPY_DAMAGE as error:
            raise _damaged(self._path, error, name) from error

    def _data_start(self, member: zipfile.ZipInfo) -> int:
        """Return the place of a member's first byte: after its local header, and two texts."""
        stream = self._archive.fp
        if stream is None:
            raise ValueError("the archive is closed")
        stream.seek(member.header_offset + _LENGTHS_AT)
        name, extra = struct.unpack("<HH", stream.read(4))
        return int(member.header_offset + _LENGTHS_AT + 4 + name + extra)

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()


def _rows_of(path: RemotePath, stream: IO[bytes], start: int, size: int) -> Any:  # noqa: ANN401 - a RemoteRows or an array
    """Return the array whose file begins at byte ``start`` of ``path``; rows are read when used.

    An array that is not stored row by row is read whole.
    """
    fields, length = _check_head(stream, size)
    shape, dtype = tuple(fields["shape"]), np.dtype(fields["descr"])
    if dtype.hasobject:
        raise ValueError("it contains objects")
    if shape and not fields["fortran_order"]:
        return RemoteRows(path, start + length, shape, dtype)
    content = path.read_range(start + length, start + size)
    flat: NDArray[Any] = np.frombuffer(content, dtype)
    return flat.reshape(shape[::-1]).T if fields["fortran_order"] else flat.reshape(shape)


def _check_head(stream: IO[bytes], size: int) -> tuple[dict[str, Any], int]:
    """Return the fields of a header and its bytes; refuse one that states more than the file has.

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
    return fields, (10 if is_first else 12) + length


def _damaged(path: Path | RemotePath, error: BaseException, name: str = "") -> DataError:
    reason = getattr(error, "strerror", None) or reason_of(error)
    if isinstance(path, RemotePath) and NO_PARTS in reason:
        return DataError(
            "the server sends whole files only",
            where=str(path),
            why=f"arrays are read in parts, and it does not {NO_PARTS}",
            fix="use a server that does, for instance nginx, or a path that all workers see",
        )
    return DataError(
        f"cannot read the arrays: {reason}",
        where=", ".join(each for each in (str(path), name) if each),
        fix="save them with numpy.savez or numpy.save, as numbers (no object arrays)",
    )
