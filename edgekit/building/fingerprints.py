# SPDX-License-Identifier: Apache-2.0
"""Content hashes of files and folders, which are not read again while they are unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edgekit.data.coco import coco_images, read_coco
from edgekit.errors import InputError
from edgekit.files import PathLike, feed_digest, sha256_hex

# A file changed so recently could be changed once more within the resolution of its time.
_RECENT_NS = 2_000_000_000

# Absolute path -> [bytes, time of the last change in ns, SHA-256].
Known = dict[str, tuple[int, int, str]]


class Fingerprints:
    """SHA-256 of inputs; a file with the size and time of a known one is not read again."""

    def __init__(self, known: Mapping[str, tuple[int, int, str]] | None = None) -> None:
        self.known: Known = dict(known or {})
        self._used: set[str] = set()

    def of(self, source: PathLike) -> str | None:
        """Return the hash of a file, or of a folder's names and contents.

        None if ``source`` is not a path that exists: a word such as ``random``, or
        ``package.module:function``.

        Raises:
            InputError: A file cannot be read.
        """
        path = Path(source)
        if not path.exists():
            return None
        return self._of_files(_files_in(path), path) if path.is_dir() else self._of_file(path)

    def of_data(self, source: PathLike) -> str | None:
        """Return the hash of a data set: as `of`; of a COCO JSON, with its images.

        Raises:
            DataError: It is a JSON, but not COCO's, or the images are not found.
            InputError: A file cannot be read.
        """
        path = Path(source)
        if path.suffix.lower() != ".json" or not path.is_file():
            return self.of(path)
        images = {image for _, image in coco_images(path, read_coco(path)) if image.is_file()}
        return self._of_files([path, *sorted(images)], path.parent)

    def in_use(self) -> Known:
        """The files whose hashes were used."""
        return {name: self.known[name] for name in sorted(self._used) if name in self.known}

    def _of_files(self, paths: Iterable[Path], base: Path) -> str:
        rows = [(os.path.relpath(each, base), self._of_file(each)) for each in paths]
        return sha256_hex(json.dumps(rows).encode())

    def _of_file(self, path: Path) -> str:
        name = os.path.realpath(path)
        self._used.add(name)
        try:
            found = Path(name).stat()
            size, changed, digest = self.known.get(name, (-1, -1, ""))
            if (size, changed) == (found.st_size, found.st_mtime_ns):
                return digest
            digest = _sha256(name)
        except OSError as error:
            raise InputError(f"cannot read a file: {error.strerror}", where=str(path)) from error
        self.known.pop(name, None)
        if found.st_mtime_ns < time.time_ns() - _RECENT_NS:
            self.known[name] = (found.st_size, found.st_mtime_ns, digest)
        return digest


def _files_in(path: Path) -> Iterator[Path]:
    """Yield the files of a folder and its sub-folders, in the order of their names."""
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if _is_file(folder, name))


def _is_file(folder: str, name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118 - many files


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    feed_digest(digest, path)
    return digest.hexdigest()
