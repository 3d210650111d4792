# SPDX-License-Identifier: Apache-2.0
"""What readers of other people's formats raise on damaged files, and limits for zip archives.

One tuple each, so that no reader has a list of its own that lacks one. `edgekit.host.worker`, which
imports nothing of edgekit, has a copy.
"""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

from edgekit.errors import InputError

# A negative place to read from is a ValueError, a text in an unknown encoding too; encryption is a
# RuntimeError, an unknown compression a NotImplementedError; lzma's error is an Exception.
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
# Numpy parses the head of an array as Python text.
NUMPY_DAMAGE = (*ZIP_DAMAGE, AttributeError, SyntaxError, TypeError, tokenize.TokenError)
# Pillow's decoders raise whatever their code hits first; decompression bombs are ValueErrors here.
IMAGE_DAMAGE = (*ZIP_DAMAGE, ArithmeticError, AttributeError, SyntaxError, TypeError)
JSON_DAMAGE = (ValueError, RecursionError, MemoryError)

# A member of an archive may be this much larger than what is stored of it: deflate reaches 1032
# times on zeros, real data a few times.
MOST_FREE_BYTES, MOST_RATIO = 256 << 20, 100


_MOST_REASON = 200  # characters of what a library says


def reason_of(error: BaseException) -> str:
    """What a library says of a damaged file: one line, cut where it quotes the file's bytes."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= _MOST_REASON else f"{text[:_MOST_REASON]}..."


class TooLargeError(InputError):
    """More bytes or more entries than edgekit reads."""


def check_member(member: zipfile.ZipInfo, where: str, most_bytes: int | None = None) -> None:
    """Refuse a member of an archive that would unpack to far more than is stored.

    Args:
        member: Of the archive's directory.
        where: For the message.
        most_bytes: A firm limit, where the member's purpose has one.

    Raises:
        TooLargeError: It would.
    """
    most = max(MOST_FREE_BYTES, MOST_RATIO * member.compress_size)
    if most_bytes is not None:
        most = min(most, most_bytes)
    if member.file_size > most:
        raise TooLargeError(
            f"{member.filename} would unpack to {member.file_size} bytes, read are at most {most}",
            where=where,
            why=f"{member.compress_size} bytes are stored of it",
            fix="store it without compression, if that is what it holds",
        )
