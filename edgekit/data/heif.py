# SPDX-License-Identifier: Apache-2.0
"""HEIC and AVIF pictures: Pillow reads them with a plugin; newer versions need none."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Iterable

from edgekit.errors import DataError

# kind -> (suffixes, brands after "ftyp" (ISO/IEC 23008-12, AV1 Image File Format), plugin's module,
# its distribution)
_KINDS = {
    "HEIC": (
        (".heic", ".heif", ".hif"),
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        "pillow_heif",
        "pillow-heif",
    ),
    "AVIF": ((".avif",), (b"avif", b"avis"), "pillow_avif", "pillow-avif-plugin"),
}
SUFFIXES = tuple(suffix for suffixes, *_ in _KINDS.values() for suffix in suffixes)
HEAD_BYTES = 64
_NAMED = 3


def check_readable(head: bytes) -> None:
    """Prepare Pillow for a file that starts with ``head``, if it is HEIC or AVIF.

    Raises:
        DataError: The installed Pillow cannot read it.
    """
    if head[4:8] != b"ftyp":
        return
    compatible = {head[8:12], *(head[at : at + 4] for at in range(16, len(head), 4))}
    # AVIF files name mif1 as well.
    kind = next((each for each in ("AVIF", "HEIC") if compatible.intersection(_KINDS[each][1])), "")
    if kind and not _can_read(kind):
        raise DataError(f"{kind} needs a plugin: {_command(kind)}", fix=_command(kind))


def unread_notes(files: Iterable[Path]) -> tuple[str, ...]:
    """Describe which HEIC and AVIF ``files`` cannot be read here, and how to change that."""
    parts = []
    # All suffixes at once: most folders have no such files.
    found = [path for path in files if str(path).lower().endswith(SUFFIXES)]
    for kind, (suffixes, *_) in _KINDS.items():
        names = [path.name for path in found if path.suffix.lower() in suffixes]
        if names and not _can_read(kind):
            more = ", ..." if len(names) > _NAMED else ""
            parts.append(
                f"{len(names)} {kind} pictures cannot be read ({', '.join(names[:_NAMED])}{more}): "
                f"{_command(kind)}"
            )
    return ("; ".join(parts),) if parts else ()


def _command(kind: str) -> str:
    return f"pip install {_KINDS[kind][3]}"


@functools.lru_cache(maxsize=None)
def _can_read(kind: str) -> bool:
    """Return whether Pillow reads ``kind``; register the plugin if it is installed."""
    from PIL import Image  # noqa: PLC0415 - only images need Pillow

    suffixes, _, module, _ = _KINDS[kind]
    if suffixes[0] in Image.registered_extensions():
        return True
    try:
        plugin = importlib.import_module(module)
    except ImportError:
        return False
    if hasattr(plugin, "register_heif_opener"):
        plugin.register_heif_opener()  # pillow_avif registers itself
    return suffixes[0] in Image.registered_extensions()
