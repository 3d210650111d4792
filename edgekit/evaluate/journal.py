# SPDX-License-Identifier: Apache-2.0
"""A run's journal: one JSON line per batch, from which a killed run can continue.

Each line ends with a CRC-32 of itself and all lines before it: without it, an edited, lost or
repeated line would silently change the result.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Iterator, Mapping

from edgekit.errors import DataError, InputError, OutputError
from edgekit.files import open_input, try_lock
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.formats.json_text import memory_needed, parse_json

if TYPE_CHECKING:
    from edgekit.files import PathLike

SCHEMA = "edgekit.journal/1"
_BEGINNING = b'{"schema":"%s"' % SCHEMA.encode()
_CRC = b',"crc":'
_MOST_BYTES = 2 << 30  # read line by line
_MOST_MEMORY_BYTES = 4 << 30  # of all entries, as estimated; they need less than half


class Journal:
    """An open journal; a context manager. Lines are on disk when ``write`` returns."""

    def __init__(self, path: PathLike, key: Mapping[str, Any], *, resume: bool) -> None:
        """Open ``path`` for a run that is described by ``key``.

        Args:
            path: The file; must not exist unless ``resume``.
            key: What must be equal for a run to continue.
            resume: Read the file, drop an incomplete last line, continue after it. If the file is
                missing, start a new journal.

        Raises:
            OutputError: The file cannot be written.
            DataError: It exists and ``resume`` is off, is not a journal, or is that of another run.
        """
        self._path = Path(path)
        self.entries: list[dict[str, Any]] = []
        self._crc = 0  # of all lines so far
        exists = self._path.exists()
        if exists and not resume:
            raise DataError(
                "the journal exists already",
                where=str(path),
                fix="use --resume to continue it, or name another file",
            )
        size = self._path.stat().st_size if exists else 0
        kept = self._read(key) if exists else 0
        try:
            self._stream: IO[bytes] = self._path.open("r+b" if exists else "xb")
            self._lock(size)
            self._stream.truncate(kept)
            self._stream.seek(kept)
        except OSError as error:
            raise self._unwritable(error) from error
        if not kept:
            self._begin(key, is_new=not exists)

    def _lock(self, size: int) -> None:
        """Refuse a journal that another run writes, or has written since it had ``size`` bytes."""
        if try_lock(self._stream) and os.fstat(self._stream.fileno()).st_size == size:
            return
        self._stream.close()
        raise DataError(
            "another run writes this journal now",
            where=str(self._path),
            fix="wait until it has ended, or name another file",
        )

    def _begin(self, key: Mapping[str, Any], *, is_new: bool) -> None:
        """Write the first line; if that fails, remove a new file, so that a run can start again."""
        try:
            self.write({"schema": SCHEMA, "key": dict(key)})
        except OutputError:
            with contextlib.suppress(OSError):  # closing may write again
                self._stream.close()
            if is_new:
                with contextlib.suppress(OSError):
                    self._path.unlink()
            raise

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append ``entry`` as one line.

        Raises:
            OutputError: The disk is full, or the file was removed.
        """
        try:
            body = json.dumps(entry, separators=(",", ":")).encode()[:-1]
            self._crc = zlib.crc32(body, self._crc)
            self._stream.write(b"%s%s%d}\n" % (body, _CRC, self._crc))
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, key: Mapping[str, Any]) -> int:
        """Fill ``entries`` with the complete lines; return the number of their bytes."""
        kept = needed = 0
        for number, (line, entry) in enumerate(self._lines()):
            if number == 0:
                self._check(entry, key)
            else:
                self.entries.append(entry)
            kept += len(line)
            needed += memory_needed(line)
            if needed > _MOST_MEMORY_BYTES:
                raise self.damaged(f"its first {number + 1} lines need too much memory")
        return kept

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        try:
            with open_input(self._path, is_pipe_read=False) as stream:
                if os.fstat(stream.fileno()).st_size > _MOST_BYTES:
                    raise self.damaged(f"it has more than {_MOST_BYTES:,} bytes")
                for number, line in enumerate(stream, 1):
                    if number == 1 and line[: len(_BEGINNING)] != _BEGINNING[: len(line)]:
                        raise DataError(
                            "this is not a journal of edgekit",
                            where=str(self._path),
                            fix="name another file; this one is not changed",
                        )
                    if not line.endswith(b"\n"):
                        return  # the run was killed while it wrote the line
                    yield line, self._parse(line, number)
        except OSError as error:
            raise InputError(
                f"cannot read the journal: {error.strerror}", where=str(self._path)
            ) from error

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        entry, self._crc = parse_line(line, number, self._crc, str(self._path))
        return entry

    def damaged(self, why: str) -> DataError:
        """Return the error for a line with a correct checksum but a content that no run writes."""
        return _damaged(why, str(self._path))

    def _check(self, head: Mapping[str, Any], key: Mapping[str, Any]) -> None:
        # Through JSON: tuples become lists.
        wanted, given = json.loads(json.dumps(dict(key))), head.get("key", {})
        names = [name for name in wanted if wanted[name] != given.get(name)]
        if names:
            raise DataError(
                f"the journal is that of another run: {', '.join(names)} differ",
                where=str(self._path),
                why="; ".join(f"{n}: {given.get(n)!r} there, {wanted[n]!r} now" for n in names),
                fix="give the options of the run that wrote it, or name another file",
            )

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write the journal: {error.strerror or error}",
            where=str(self._path),
            fix="name a file in a folder that exists, is writable and has free space",
        )


def parse_line(line: bytes, number: int, crc: int, where: str) -> tuple[dict[str, Any], int]:
    """Return the entry in a line of a journal, and the checksum of all lines up to it.

    Args:
        line: With its end.
        number: Of the line, from 1.
        crc: The checksum of the lines before it.
        where: The journal, for errors.

    Raises:
        DataError: The line is damaged.
    """
    body, _, ending = line.rpartition(_CRC)
    expected = zlib.crc32(body, crc)
    if ending != b"%d}\n" % expected:
        raise DataError(
            f"the journal is damaged: line {number} is not the line that was written",
            where=where,
            why="a line was edited, removed or repeated, or the disk lost it",
            fix=f"keep the {number - 1} lines before it, or remove the file and start again",
        )
    try:
        entry = parse_json(body + b"}")
    except JSON_DAMAGE as error:
        raise _damaged(f"line {number} is not JSON: {reason_of(error)}", where) from error
    if not isinstance(entry, dict):
        raise _damaged(f"line {number} is not an entry", where)
    return entry, expected


def _damaged(why: str, where: str) -> DataError:
    return DataError(
        f"the journal is damaged: {why}", where=where, fix="remove the file and start again"
    )
