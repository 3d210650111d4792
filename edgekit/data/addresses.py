# SPDX-License-Identifier: Apache-2.0
"""Data at an address that fsspec reads (s3://, gs://, http://, ...), without a copy on the disk.

`RemotePath` has the part of pathlib's interface that the data sets use, so a folder of images is
the same code there as here. Arrays are read in blocks of rows, when they are needed.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import IO, Any, Iterator

import numpy as np
from numpy.typing import NDArray

from edgekit.data.image_files import IMAGE_SUFFIXES
from edgekit.errors import DataError
from edgekit.extras import require

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_FILE_SUFFIXES = IMAGE_SUFFIXES.union((".npz", ".npy", ".json", ".csv"))
_BLOCK_BYTES = 4 << 20
# fsspec's words for a server that sends whole files only; they follow "the server does not".
NO_PARTS = "support range requests"


def is_address(source: object) -> bool:
    """Whether ``source`` is a text such as ``s3://bucket/folder``."""
    return isinstance(source, str) and _ADDRESS.match(source) is not None


def open_address(address: str) -> RemotePath:
    """Return the file or folder at ``address``.

    Raises:
        MissingExtraError: fsspec is not installed.
        DataError: It has no reader for this kind of address.
    """
    fsspec = require("fsspec", extra="cluster", purpose="read data at an address")
    try:
        system, key = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise DataError(
            f"cannot read addresses such as {address.partition('://')[0]}://",
            where=address,
            why=" ".join(str(error).split()),
            fix="install the library that fsspec names, where edgekit runs and on each worker",
        ) from error
    return RemotePath(system, key.rstrip("/"))


class RemotePath:
    """A file or folder of an fsspec file system; like a `pathlib.Path`, but not `os.PathLike`."""

    def __init__(self, system: Any, key: str, known: dict[str, Any] | None = None) -> None:  # noqa: ANN401 - an AbstractFileSystem
        self._system, self._key, self._known = system, key, known

    def __reduce__(self) -> Any:  # noqa: ANN401 - see pickle
        return open_address, (str(self),)

    def __str__(self) -> str:
        return str(self._system.unstrip_protocol(self._key))

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(self._key)

    def __lt__(self, other: RemotePath) -> bool:
        return self._key.split("/") < other._key.split("/")

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self._system, f"{self._key}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self._key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """From the last dot of the name."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> RemotePath:
        """The folder."""
        return RemotePath(self._system, self._key.rpartition("/")[0])

    def resolve(self) -> RemotePath:
        """Return the path itself: addresses are absolute."""
        return self

    def relative_to(self, folder: RemotePath) -> PurePosixPath:
        """Return the rest of the path after ``folder``."""
        return PurePosixPath(self._key).relative_to(folder._key)

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether it is a file."""
        if self._known is not None:
            return bool(self._known["type"] == "file")
        with _os_errors():
            return bool(self._system.isfile(self._key)) and not self.is_dir()

    def is_dir(self) -> bool:
        """Whether it is a folder; over HTTP, a page with links below it."""
        if self._known is not None:
            return bool(self._known["type"] == "directory")
        if self.suffix.lower() in _FILE_SUFFIXES:  # a page of HTML about it may have links
            return False
        with _os_errors():
            return bool(self._system.isdir(self._key + "/"))

    def stat(self) -> Any:  # noqa: ANN401 - as of os.stat
        """Return an object with ``st_size``; 0 if the listing does not contain it."""
        if self._known is None:
            with _os_errors():
                self._known = self._system.info(self._key)
        return SimpleNamespace(st_size=int(self._known.get("size") or 0))

    def iterdir(self) -> Iterator[RemotePath]:
        """Yield what is in the folder."""
        with _os_errors():
            found = self._system.ls(self._key + "/", detail=True)
        for each in found:
            key = str(each["name"]).rstrip("/")
            if key != self._key:
                yield RemotePath(self._system, key, dict(each))

    def rglob(self, _pattern: str) -> Iterator[RemotePath]:
        """Yield everything below."""
        for each in self.iterdir():
            yield each
            if each.is_dir():
                yield from each.rglob("*")

    def open(self, _mode: str = "rb") -> IO[bytes]:
        """Open to read, also from the middle."""
        with _os_errors():
            stream: IO[bytes] = self._system.open(self._key, "rb")
            return stream

    def read_range(self, start: int, stop: int) -> bytes:
        """Return some bytes."""
        with _os_errors():
            content: bytes = self._system.cat_file(self._key, start=start, end=stop)
        if len(content) != stop - start:
            raise OSError(5, f"the server does not {NO_PARTS}")
        return content

    @property
    def stamp(self) -> bytes:
        """What changes when the file is written again: size, time or tag, as far as known."""
        with _os_errors():
            return f"{self._system.ukey(self._key)} {self.stat().st_size}".encode()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Raise the errors of any file system as OSError, which readers of local files expect."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(5, f"{type(error).__name__}: {error}") from error


class RemoteRows:
    """Rows of an array in a file, like a read-only array that is sliced along the first axis."""

    def __init__(self, path: RemotePath, offset: int, shape: tuple[int, ...], dtype: Any) -> None:  # noqa: ANN401 - any dtype
        """The rows begin at byte ``offset``, in C order."""
        self._path, self._offset = path, offset
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize
        empty: NDArray[Any] = np.empty((0, *shape[1:]), self.dtype)
        self._block: tuple[int, NDArray[Any]] = (0, empty)  # the last rows that were read

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def stamp(self) -> bytes:
        """See `RemotePath.stamp`."""
        return self._path.stamp

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:  # noqa: ANN401 - an index of the first axis
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return self._read(start, max(start, stop))
        if np.ndim(rows) == 0:
            row: NDArray[Any] = self._read(int(rows), int(rows) + 1)[0]
            return row
        found: list[NDArray[Any]] = [self._read(int(each), int(each) + 1) for each in rows]
        return np.concatenate(found) if found else self._read(0, 0)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        first, block = self._block
        if not first <= start <= stop <= first + len(block):
            count = max(stop - start, _BLOCK_BYTES // max(1, self._row_bytes))
            first, last = start, min(len(self), start + count)
            begin = self._offset + first * self._row_bytes
            content = self._path.read_range(begin, begin + (last - first) * self._row_bytes)
            block = np.frombuffer(content, self.dtype).reshape(last - first, *self.shape[1:])
            self._block = (first, block)
        return block[start - first : stop - first]
