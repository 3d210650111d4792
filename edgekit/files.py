# SPDX-License-Identifier: Apache-2.0
"""Files are written whole or not at all: a temporary file beside the target, fsync, rename.

Only regular files are replaced. What a symbolic link leads to is replaced, not the link; a FIFO and
the null device are written to; any other device or socket is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import IO, Iterator, Union

from edgekit.errors import InputError, OutputError, UsageError

PathLike = Union[str, "os.PathLike[str]"]
MOST_BYTES = 768 << 20  # two copies, the file's and the interpreter's, stay below 2 GiB
MOST_TEXT_BYTES = 64 << 20  # of logs, labels, keys and edgekit's own JSON
_CHUNK_BYTES = 1 << 20
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
# What edgekit writes: a run into the folder of its data may replace what the last one left there.
_RESULT_SUFFIXES = frozenset((".tflite", ".edgekit", ".html", ".json", ".log"))
_LONGEST_STEM = 100  # of a temporary file's name, which is longer than the target's
_WRITER_S = 3.0  # how long a FIFO may be without a program that writes into it


def read_bytes(path: PathLike, what: str = "file", most_bytes: int = MOST_BYTES) -> bytes:
    """The whole content of ``path``.

    Args:
        path: A regular file, or a pipe.
        what: What it should be, for the message.
        most_bytes: More than this is refused before it is in memory.

    Raises:
        InputError: It is missing, a folder, a device, a socket, a FIFO that no program writes into,
            unreadable or too large.
    """
    try:
        with open_input(path) as stream:
            found = os.fstat(stream.fileno())
            if stat.S_ISREG(found.st_mode):
                content = stream.read() if found.st_size <= most_bytes else None
            else:
                content = read_stream(stream, most_bytes)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(
            f"cannot read the {what}: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            fix="check the path and its permissions",
        ) from error
    if content is None:
        raise InputError(
            f"the {what} is too large: more than {most_bytes:,} bytes",
            where=str(path),
            fix="check that it is the right file",
        )
    return content


def open_input(path: PathLike, *, is_pipe_read: bool = True) -> IO[bytes]:
    """Open ``path`` to read bytes; never waits for ever, as a plain open of a FIFO does.

    Args:
        path: A regular file, or a pipe.
        is_pipe_read: Whether a pipe will do; not where the file is read twice, or not in order.

    Raises:
        OSError: It is missing, a folder, a device, a socket, a FIFO that no program writes into, or
            a pipe where ``is_pipe_read`` is off.
        ValueError: The path holds a NUL.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        _refuse_kind(found.st_mode, is_pipe_read)
    stream: IO[bytes] = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - the caller closes it
    try:
        mode = os.fstat(stream.fileno()).st_mode
        _refuse_kind(mode, is_pipe_read)
        if stat.S_ISFIFO(mode):
            _wait_for_writer(stream.fileno())
    except BaseException:
        stream.close()
        raise
    return stream


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refuse_kind(mode: int, is_pipe_read: bool) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, os.strerror(21))
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise OSError(22, "it is a device")
    if stat.S_ISSOCK(mode):
        raise OSError(22, "it is a socket")
    if stat.S_ISFIFO(mode) and not is_pipe_read:
        raise OSError(22, "it is a pipe, and is read more than once; save it as a file first")


def _wait_for_writer(pipe: int) -> None:
    """Let reading from ``pipe`` wait again, once a program has opened it to write."""
    import select  # noqa: PLC0415 - for pipes only

    if not select.select([pipe], [], [], _WRITER_S)[0]:
        try:
            os.read(pipe, 1)
        except BlockingIOError:  # a program has, and is slow
            pass
        else:
            raise OSError(22, f"it is a pipe, and no program wrote into it for {_WRITER_S:g} s")
    os.set_blocking(pipe, True)


def read_stream(stream: IO[bytes], most_bytes: int = MOST_BYTES) -> bytes | None:
    """All that a pipe gives; None if that is more than ``most_bytes``."""
    chunks, size = [], 0
    for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
        chunks.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            return None
    return b"".join(chunks)


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
        OutputError: The folder is missing or read-only, the disk is full, ``path`` is a folder, a
            device, a socket, or a file that may not be written.
    """
    import tempfile  # noqa: PLC0415 - 4 ms that a Runner need not wait for

    target = Path(path)
    try:
        place, is_stream = _place(target)
        handle, name = tempfile.mkstemp(
            prefix=f".{place.name[:_LONGEST_STEM]}.",
            suffix=".part",
            dir=None if is_stream else str(place.parent),
        )
        os.close(handle)
    except OSError as error:
        raise output_error(target, error) from error
    temporary = Path(name)
    try:
        yield temporary
        (_pour if is_stream else _commit)(temporary, place)
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
        place, is_stream = _place(target)
        if not is_stream:
            with tempfile.TemporaryFile(dir=str(place.parent)):
                pass
    except OSError as error:
        raise output_error(target, error) from error


def refuse_overwriting(output: PathLike, *inputs: object) -> None:
    """Refuse an output that is one of the inputs, under whatever name, or part of one.

    Args:
        output: The file to write.
        inputs: Paths; anything else (None, arrays, a model object, a word that names no file) is
            passed over. Nothing may be written into the folder of a SavedModel; in the folder of a
            data set only results are replaced.

    Raises:
        UsageError: It is.
    """
    for given in inputs:
        if not isinstance(given, (str, Path)) or not os.path.exists(given):  # noqa: PTH110 - no error for odd names
            continue
        place, source = Path(os.path.realpath(output)), Path(os.path.realpath(given))
        is_same = place.exists() and place.samefile(source)
        if is_same or (source in place.parents and _belongs_to(source, place)):
            raise UsageError(
                f"the output would overwrite {Path(given).name or given}",
                where=str(output),
                why="" if is_same else f"it lies in {given}, which is read",
                fix="name another output (-o)",
            )


def make_folder(path: PathLike) -> Path:
    """Make a folder for outputs, its parents included; one that exists is fine.

    Raises:
        OutputError: It cannot be made.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder.name}: {error.strerror}",
            where=str(folder),
            fix="name a folder that can be written (-o)",
        ) from error
    return folder


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


def _place(target: Path) -> tuple[Path, bool]:
    """The file that writing to ``target`` means, and whether it is written to as a stream.

    Raises:
        OSError: It is a folder, a device, a socket, or may not be written.
    """
    try:
        found = target.stat()
    except FileNotFoundError:  # also a symbolic link to a file that is not there yet
        return Path(os.path.realpath(target)), False
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, "it is a folder", str(target))
    if stat.S_ISFIFO(found.st_mode) or _is_null_device(found):
        return target, True
    if not stat.S_ISREG(found.st_mode):
        raise OSError(22, "it is a device or a socket, not a file", str(target))
    if not os.access(str(target), os.W_OK):
        raise PermissionError(13, "it is read-only", str(target))
    return Path(os.path.realpath(target)), False


def _is_null_device(found: os.stat_result) -> bool:
    if not stat.S_ISCHR(found.st_mode):
        return False
    null = os.stat(os.devnull)  # noqa: PTH116 - as cheap as can be
    return (found.st_rdev, found.st_mode) == (null.st_rdev, null.st_mode)


def _belongs_to(folder: Path, place: Path) -> bool:
    if any((folder / name).exists() for name in _SAVED_MODEL):
        return True
    return place.exists() and place.suffix.lower() not in _RESULT_SUFFIXES


def _pour(temporary: Path, target: Path) -> None:
    # Without a reader, opening a FIFO would wait for ever; this way it is an error.
    with open(os.open(str(target), os.O_WRONLY | os.O_NONBLOCK), "wb") as stream:  # noqa: PTH123 - a number
        os.set_blocking(stream.fileno(), True)
        stream.write(temporary.read_bytes())


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
