# SPDX-License-Identifier: Apache-2.0
"""Write files completely or not at all: a temporary file next to the target, fsync, rename.

Only regular files are replaced. If the target is a symbolic link, the file that it points to is
replaced. A FIFO and the null device are written to; any other device or socket is refused.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from pathlib import Path
from typing import IO, Any, Callable, Iterator, Union

from edgekit.errors import InputError, OutputError, UsageError
from edgekit.log import debug

PathLike = Union[str, "os.PathLike[str]"]
# The first bytes of formats that several readers recognize.
ZIP_HEAD, HDF5_HEAD = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
MOST_BYTES = 768 << 20  # two copies, the file's and the interpreter's, are below 2 GiB
MOST_TEXT_BYTES = 64 << 20  # for logs, labels, keys and edgekit's own JSON
_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 64
_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
# Results of edgekit: a run into the folder of its data may replace those of an earlier run.
_RESULT_SUFFIXES = frozenset((".tflite", ".edgekit", ".html", ".json", ".log"))
_LONGEST_STEM = 100  # in a temporary file's name, which is longer than the target's
_IS_DEVICE = errno.ENODEV
_WRITER_S = 3.0  # how long to wait for a program that writes into a FIFO


def read_bytes(path: PathLike, what: str = "file", most_bytes: int = MOST_BYTES) -> bytes:
    """Return the whole content of ``path``.

    Args:
        path: A regular file, or a pipe.
        what: The expected kind of file, for the message.
        most_bytes: A larger file is refused before it is read into memory.

    Raises:
        InputError: It is missing, a folder, a device, a socket, a FIFO that no program writes into,
            unreadable or too large.
    """
    with _reading(path, what):
        content = _content(path, most_bytes)
    if content is None:
        raise _too_large(path, what, most_bytes)
    return content


def read_if(
    path: PathLike,
    is_wanted: Callable[[bytes], bool],
    what: str = "file",
    most_bytes: int = MOST_BYTES,
) -> tuple[bytes, bytes]:
    """Return the first 64 bytes of ``path``, and the whole content if they are ``is_wanted``.

    Args:
        path: A regular file, or a pipe.
        is_wanted: Judges the first bytes; the content is empty if it returns False.
        what: The expected kind of file, for the message.
        most_bytes: A larger file is refused.

    Raises:
        InputError: See `read_bytes`.
    """
    with _reading(path, what), open_input(path) as stream:
        head = stream.read(_HEAD_BYTES)
        if not is_wanted(head):
            return head, b""
        rest = read_stream(stream, most_bytes)
    if rest is None:
        raise _too_large(path, what, most_bytes)
    return head, head + rest


@contextlib.contextmanager
def _reading(path: PathLike, what: str) -> Iterator[None]:
    """Report what prevents reading.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise InputError(
            f"cannot read the {what}: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            fix="check the path and its permissions",
        ) from error


def _too_large(path: PathLike, what: str, most_bytes: int) -> InputError:
    return InputError(
        f"the {what} is too large: more than {most_bytes:,} bytes",
        where=str(path),
        fix="check that it is the right file",
    )


def _content(path: PathLike, most_bytes: int) -> bytes | None:
    """Return the content of a file or pipe; None if it has more than ``most_bytes``.

    A regular file is read in as few system calls as possible: in each of them another thread may
    take Python's lock, which this one then waits for.
    """
    if is_remote(path) or not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - pathlib takes twice as long
        with open_input(path) as stream:
            return read_stream(stream, most_bytes)
    handle = _open_at_once(os.fspath(path), os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(22, "it was replaced while it was opened")
        if found.st_size > most_bytes:
            return None
        content = os.read(handle, found.st_size + 1)
        if len(content) == found.st_size:
            return content
        # It grows, or its file system states another size, as /proc does.
        rest = _joined(iter(lambda: os.read(handle, _CHUNK_BYTES), b""), most_bytes)
        return None if rest is None else content + rest
    finally:
        os.close(handle)


def open_input(path: PathLike, *, is_pipe_read: bool = True) -> IO[bytes]:
    """Open ``path`` to read bytes; unlike a plain open of a FIFO, it does not wait for ever.

    Args:
        path: A regular file, or a pipe.
        is_pipe_read: Whether to accept a pipe; not if the file is read twice or not in order.

    Raises:
        OSError: It is missing, a folder, a device, a socket, a FIFO that no program writes into, or
            a pipe although ``is_pipe_read`` is false.
            ValueError: The path contains a NUL.
    """
    if is_remote(path):
        return path.open()  # type: ignore[no-any-return,union-attr] # a RemotePath
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


def is_remote(path: object) -> bool:
    """Whether ``path`` is a `RemotePath`: like a path, but not of this computer's disks."""
    return not isinstance(path, (str, bytes, os.PathLike)) and hasattr(path, "iterdir")


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
        raise OSError(22, "it is a pipe, but must be read more than once; save it as a file first")


def _wait_for_writer(pipe: int) -> None:
    """Make reads from ``pipe`` blocking again after a program has opened it to write."""
    import select  # noqa: PLC0415 - for pipes only

    if not select.select([pipe], [], [], _WRITER_S)[0]:
        try:
            os.read(pipe, 1)
        except BlockingIOError:  # a program has opened it, but has not written yet
            pass
        else:
            raise OSError(22, f"it is a pipe, and no program wrote into it for {_WRITER_S:g} s")
    os.set_blocking(pipe, True)


def read_stream(stream: IO[bytes], most_bytes: int = MOST_BYTES) -> bytes | None:
    """Read a pipe to its end; return None if it has more than ``most_bytes``."""
    return _joined(iter(lambda: stream.read(_CHUNK_BYTES), b""), most_bytes)


def _joined(parts: Iterator[bytes], most_bytes: int) -> bytes | None:
    chunks, size = [], 0
    for chunk in parts:
        chunks.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            return None
    return b"".join(chunks)


def integer_in(path: PathLike) -> int | None:
    """Return the integer in a file of sysfs; None if it cannot be read or is not an integer.

    sysfs returns an error for some attributes.
    """
    try:
        text = Path(path).read_text(errors="replace").strip()
    except OSError:
        return None
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else None


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of ``content`` as 64 lower-case hexadecimal digits."""
    import hashlib  # noqa: PLC0415 - saves a Runner 3 ms

    return hashlib.sha256(content).hexdigest()


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it to ``path`` when the block succeeds.

    If the block raises (also on Ctrl-C), the temporary file is removed and ``path`` is unchanged.

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
        debug("files", f"{target} written")
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_writable(path: PathLike) -> None:
    """Raise now if `replacing` would fail, not after minutes of work.

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
    """Refuse an output that is one of the inputs, also under another name, or part of one.

    Args:
        output: The file to write.
        inputs: Paths; anything else (None, arrays, a model object, a word that is not a file) is
            ignored. Nothing may be written into the folder of a SavedModel; in the folder of a
            data set, only results are replaced.

    Raises:
        UsageError: The output is one of them.
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
                why="" if is_same else f"it is inside {given}, which is read",
                fix="name another output",
            )


def make_folder(path: PathLike) -> Path:
    """Create a folder for outputs and its parents, unless it exists.

    Raises:
        OutputError: It cannot be created.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot create the folder {folder.name or folder}: {error.strerror}",
            where=str(folder),
            fix="name a folder that can be written",
        ) from error
    return folder


def write_bytes(path: PathLike, content: bytes) -> None:
    """Write ``content`` to ``path``, completely or not at all.

    Raises:
        OutputError: As for `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: PathLike, content: str) -> None:
    """Write ``content`` as UTF-8 to ``path``, completely or not at all.

    Raises:
        OutputError: As for `replacing`.
    """
    write_bytes(path, content.encode())


def _place(target: Path) -> tuple[Path, bool]:
    """Return the file that ``target`` leads to, and whether to write to it as a stream.

    Raises:
        OSError: It is a folder, a device, a socket, or may not be written.
    """
    try:
        found = target.stat()
    except FileNotFoundError:  # also a symbolic link to a file that does not exist yet
        return Path(os.path.realpath(target)), False
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(target))
    if stat.S_ISFIFO(found.st_mode) or _is_null_device(found):
        return target, True
    if not stat.S_ISREG(found.st_mode):
        raise OSError(_IS_DEVICE, "it is a device or a socket, not a file", str(target))
    if not os.access(str(target), os.W_OK):
        raise PermissionError(13, "it is read-only", str(target))
    return Path(os.path.realpath(target)), False


def _is_null_device(found: os.stat_result) -> bool:
    if not stat.S_ISCHR(found.st_mode):
        return False
    null = os.stat(os.devnull)  # noqa: PTH116 - the fastest way
    return (found.st_rdev, found.st_mode) == (null.st_rdev, null.st_mode)


def _belongs_to(folder: Path, place: Path) -> bool:
    if any((folder / name).exists() for name in _SAVED_MODEL):
        return True
    return place.exists() and place.suffix.lower() not in _RESULT_SUFFIXES


def _pour(temporary: Path, target: Path) -> None:
    # Without a reader, opening a FIFO would wait for ever; with O_NONBLOCK it is an error.
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


def try_lock(stream: IO[Any]) -> bool:
    """Return False if another process has locked the file; closing it unlocks it."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - only there

            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - not on Windows

            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def output_error(target: Path, error: OSError) -> OutputError:
    """Return the error for a ``target`` that could not be written because of ``error``."""
    what = f"cannot write {target.name or target}: {error.strerror or error}"
    for number, fix in (
        (errno.EISDIR, "name a file in it"),
        (errno.ENXIO, "start the program that reads the pipe first"),
        (_IS_DEVICE, f"name a file; only a pipe or {os.devnull} can be written without one"),
    ):
        if error.errno == number:
            return OutputError(what, where=str(target), fix=fix)
    return OutputError(
        what,
        where=str(target),
        why="the output is written next to its target and renamed when it is complete",
        fix="name a folder that exists, is writable and has free space",
    )


def feed_digest(digest: Any, path: PathLike) -> None:  # noqa: ANN401 - hashlib's type is private
    """Update a hash of `hashlib` with the content of a file, a part at a time.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as stream:  # noqa: PTH123 - many files
        for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
            digest.update(chunk)
