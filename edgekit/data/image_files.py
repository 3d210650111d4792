# SPDX-License-Identifier: Apache-2.0
"""Find the pictures of a folder, without files that a file manager created."""

from __future__ import annotations

from pathlib import Path

from edgekit.data.heif import SUFFIXES as HEIF_SUFFIXES

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
).union(HEIF_SUFFIXES)
# Files that macOS adds to zip archives, thumbnails and bins of Synology and Windows. Names that
# begin with a dot (._photo.jpg, .DS_Store, .ipynb_checkpoints) are left out as well.
_LEFTOVERS = frozenset(
    ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information")
)


def is_image(path: Path) -> bool:
    """Whether ``path`` is a file with the suffix of a picture that a person put there."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_leftover(path.name) and path.is_file()


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name comes from a program and not from the user."""
    return name.startswith(".") or name.lower() in _LEFTOVERS


def images_below(folder: Path) -> list[Path]:
    """Return the pictures in ``folder`` and its sub-folders, sorted by name.

    Raises:
        OSError: A folder cannot be listed.
    """
    return [
        path
        for path in sorted(folder.rglob("*"))
        if is_image(path) and not any(map(is_leftover, path.relative_to(folder).parts[:-1]))
    ]
