# SPDX-License-Identifier: Apache-2.0
"""Zip archives: the same files always give the same bytes, and every archive read is checked.

Nothing is compressed: zlib's output differs between its versions, and an archive without
compression cannot be larger inside than outside.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import Iterable, Mapping

from edgekit.errors import BundleError
from edgekit.formats.damage import ZIP_DAMAGE, reason_of

SIGNATURE_PATH = "manifest.sig"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive can store
_UNIX, _FILE_MODE = 3, 0o100644
_SYMLINK, _TYPE_MASK = 0o120000, 0o170000
_ENCRYPTED = 0x1
_MOST_FILES = 256
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")
_FIX = "copy the bundle again and compare sizes, or make it again with edgekit bundle"


def write_archive(files: Iterable[tuple[str, bytes]], behind: bytes = b"") -> bytes:
    """Return an archive of ``files`` in order; its bytes depend only on names and contents.

    The bytes of ``behind`` come before the archive; the archive's offsets include them.
    """
    stream = io.BytesIO(behind)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for path, content in files:
            info = zipfile.ZipInfo(path, _EPOCH)
            info.create_system, info.external_attr = _UNIX, _FILE_MODE << 16
            archive.writestr(info, content)
    return stream.getvalue()


def read_archive(content: bytes, where: str = "") -> Mapping[str, bytes]:
    """Return the files of an archive by path, in the archive's order.

    Raises:
        BundleError: It is truncated or damaged, or contains a path that leads out of a folder,
            the same path twice, a link, or a compressed or encrypted file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            # A model inside may contain an archive; in a truncated file that is the last one.
            if archive.comment or min((each.header_offset for each in members), default=0):
                raise zipfile.BadZipFile("its directory is missing")
            _check_members(members, len(content), where)
            return {member.filename: archive.read(member) for member in members}
    except ZIP_DAMAGE as error:
        raise BundleError(
            "the bundle is truncated or damaged",
            where=where,
            why=f"{reason_of(error)} ({len(content)} bytes were read)",
            fix=_FIX,
        ) from error


def _check_members(members: list[zipfile.ZipInfo], size: int, where: str) -> None:
    if len(members) > _MOST_FILES:
        raise _refused(f"{len(members)} files, expected at most {_MOST_FILES}", "", where)
    seen: set[str] = set()
    for member in members:
        problem = _problem(member)
        if not problem and member.filename.lower() in seen:
            problem = "is in the archive twice"
        if problem:
            raise _refused(f"{member.filename!r} {problem}", member.filename, where)
        seen.add(member.filename.lower())
    total = sum(member.file_size for member in members)
    if total > size:
        raise _refused(
            f"its files have {total} bytes according to its directory, the archive has {size}",
            "",
            where,
        )


def _problem(member: zipfile.ZipInfo) -> str:
    """Return what is wrong with one entry; empty if nothing is."""
    # orig_filename is the name in the archive; filename ends at the first NUL.
    if not _PATH.fullmatch(member.orig_filename):
        return "is not a path inside a folder"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if (member.external_attr >> 16) & _TYPE_MASK == _SYMLINK:
        return "is a link"
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        return "is compressed, which edgekit bundle never does"
    return ""


def _refused(what: str, path: str, where: str) -> BundleError:
    return BundleError(
        f"the bundle is refused: {what}",
        where=", ".join(part for part in (where, path) if part),
        why="edgekit bundle does not write such an archive; another program made or changed it",
        fix="get the bundle as edgekit bundle wrote it",
    )
