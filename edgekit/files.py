# SPDX-License-Identifier: Apache-2.0
"""Files are written whole or not at all: a temporary file beside the target, fsync, rename."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Iterator, Union

from edgekit.errors import InputError, OutputError

PathLike = Union[str, "os.PathLike[str]"]
_CHUNK_BYTES = 1 << 20


def read_bytes(path: PathLike, what: str = "file") -> bytes:
    """The whole content of ``path``.

    Raises:
        InputError: It is missing, a folder, or unreadable; ``what`` says in the message what it
        was to be.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the {what}: {error.strerror}",
            where=str(path),
            fix="check the path and its permissions",
        ) from error


def integer_in(path: PathLike) -> int | None:
    """The integer that a file of sysfs holds; None where it cannot be read or holds another thing.

    sysfs answers for some attributes with an error.
    """
    try:
        text = Path(path).read_text(errors="replace").strip()
    except OSError:
        return None
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else None


def sha256_hex(content: bytes) -> str:
    """The SHA-256 of ``content``, as 64 lower-case hexadecimal digits."""
    import hashlib  # noqa: PLC0415 - 3 ms that a Runner need not wait for

    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it onto ``path`` when the block ends well.

    When the block raises (Ctrl-C included) the temporary file is removed and ``path`` is as it was.

    Raises:
        OutputError: The folder is missing or read-only, the disk is full, ``path`` is a folder.
    """
    import tempfile  # noqa: PLC0415 - 4 ms that a Runner need not wait for

    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder", str(target))
        handle, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=str(target.parent)
        )
        os.close(handle)
    except OSError as error:
        raise output_error(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        _commit(temporary, target)
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_writable(path: PathLike) -> None:
    """Find out now that `replacing` would fail, rather than after minutes of work.

    Raises:
        OutputError: As for `replacing`.
    """
    import tempfile  # noqa: PLC0415 - 4 ms that a Runner need not wait for

    target = Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder", str(target))
        with tempfile.TemporaryFile(dir=str(target.parent)):
            pass
    except OSError as error:
        raise output_error(target, error) from error


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    Raises:
        OutputError: As for `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: PathLike, content: str) -> None:
    """Write ``content`` as UTF-8 to ``path``, whole or not at all.

    Raises:
        OutputError: As for `replacing`.
    """
    write_bytes(path, content.encode())


def _commit(temporary: Path, target: Path) -> None:
    with temporary.open("rb+") as stream:
        os.fsync(stream.fileno())
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
    temporary.chmod(mode)
    temporary.replace(target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def output_error(target: Path, error: OSError) -> OutputError:
    """The error to raise when ``target`` could not be written because of ``error``."""
    return OutputError(
        f"cannot write {target.name}: {error.strerror or error}",
        where=str(target),
        why="the output is written beside its target and renamed when it is complete",
        fix="name a folder that exists, is writable and has room (-o)",
    )
