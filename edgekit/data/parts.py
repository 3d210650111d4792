# SPDX-License-Identifier: Apache-2.0
"""Choose the part of a data set's folder: train, test or validation."""

from __future__ import annotations

from pathlib import Path

from edgekit.data.image_files import is_image, is_leftover

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation", "eval", "evaluation")


def part_of(folder: Path, split: str) -> Path:
    """Return the sub-folder of ``folder`` for ``split``, if its sub-folders are parts, not classes.

    They are parts if there are two or more, and each has the name of a part. Without a test part,
    ``test`` is the validation part; if all parts are for testing, ``train`` is one of them.

    Args:
        folder: A folder of images.
        split: ``train`` or ``test``.

    Returns:
        ``folder`` itself if its sub-folders are not parts, or if it cannot be listed.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return folder  # the code that lists it next reports why
    parts = {
        entry.name.lower(): entry
        for entry in entries
        if entry.is_dir() and not is_leftover(entry.name)
    }
    if len(parts) < 2 or not parts.keys() <= {*_TRAIN, *_TEST} or any(map(is_image, entries)):
        return folder
    order = (*_TRAIN, *reversed(_TEST)) if split == "train" else (*_TEST, *_TRAIN)
    return next(parts[name] for name in order if name in parts)
