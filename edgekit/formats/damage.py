# SPDX-License-Identifier: Apache-2.0
"""The exceptions that libraries raise on damaged files, and limits for zip archives.

There is one tuple for each format, so that every reader catches all of them. `edgekit.host.worker`
has a copy, because it does not import edgekit.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

from edgekit.errors import InputError

# A negative position and an unknown text encoding raise ValueError, encryption RuntimeError, an
# unknown compression NotImplementedError; lzma's error is an Exception.
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
# Numpy parses the header of an array as Python text.
NUMPY_DAMAGE = (*ZIP_DAMAGE, AttributeError, SyntaxError, TypeError, tokenize.TokenError)
# Pillow's decoders raise many kinds of errors; decompression bombs are ValueErrors here.
IMAGE_DAMAGE = (*ZIP_DAMAGE, ArithmeticError, AttributeError, SyntaxError, TypeError)
JSON_DAMAGE = (ValueError, RecursionError, MemoryError)

# The largest ratio of a member's size to its stored size: deflate reaches 1032 on zeros, real data
# only small ratios.
MOST_FREE_BYTES, MOST_RATIO = 256 << 20, 100


_MOST_REASON = 200  # characters of a library's message


def reason_of(error: BaseException) -> str:
    """Return a library's message on a damaged file: one line, cut if it quotes many bytes."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= _MOST_REASON else f"{text[:_MOST_REASON]}..."


class TooLargeError(InputError):
    """More bytes or more entries than edgekit reads."""


def check_member(member: zipfile.ZipInfo, where: str, most_bytes: int | None = None) -> None:
    """Refuse a member of an archive that would unpack to far more bytes than are stored.

    Args:
        member: An entry of the archive's directory.
        where: The archive, for the message.
        most_bytes: A fixed limit, if the member's purpose has one.

    Raises:
        TooLargeError: The member is too large.
    """
    most = max(MOST_FREE_BYTES, MOST_RATIO * member.compress_size)
    if most_bytes is not None:
        most = min(most, most_bytes)
    if member.file_size > most:
        raise TooLargeError(
            f"{member.filename} would unpack to {member.file_size} bytes; at most {most} are read",
            where=where,
            why=f"it is stored in {member.compress_size} bytes",
            fix="if it really has that size, store it without compression",
        )
