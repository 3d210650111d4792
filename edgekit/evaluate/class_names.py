# SPDX-License-Identifier: Apache-2.0
"""Folder names to class indices, by the names of a model's classes."""

from __future__ import annotations

import re
import unicodedata
from typing import Iterator, Mapping, Sequence

from edgekit.errors import DataError, UnsupportedModelError

_NAMED = 8
_SPACES = re.compile(r"[\s_-]+")


def label_map(
    folders: Sequence[str], names: Sequence[str], *, must_match: bool
) -> dict[int, int] | None:
    """Index of a folder -> index of the class of that name.

    A folder matches a class by its whole name or by one of the words between commas ("tench, Tinca
    tinca"); case, spaces, hyphens and underscores do not count.

    Args:
        folders: The data's class names.
        names: The model's class names.
        must_match: Whether a folder without a class is an error, or means that names say nothing.

    Returns:
        None where names say nothing: labels are taken as they are.

    Raises:
        DataError: A folder has no class, or several, and ``must_match``.
    """
    if not folders or not names:
        return None
    places = _places(names)
    found: dict[int, int] = {}
    for index, folder in enumerate(folders):
        matches = places.get(_plain(folder), [])
        if len(matches) == 1:
            found[index] = matches[0]
        elif must_match:
            raise DataError(
                f"the folder {folder!r} is named like {len(matches)} of the {len(names)} classes",
                why="sub-folders are matched to the labels by name; the classes are "
                f"{_some(names)}",
                fix="name each sub-folder by its label or by the class index",
            )
        else:
            return None
    return found


def order_doubts(
    folders: Sequence[str], names: Sequence[str], found: Mapping[int, int] | None
) -> Iterator[str]:
    """Warn if class folders were not matched by name, or have another order than the names.

    Args:
        folders: The data's class names.
        names: The model's class names.
        found: What `label_map` made of them.
    """
    if not folders or not names:
        return
    if found is None:
        yield (
            f"the class folders ({_some(folders)}) are not named like the model's classes "
            f"({_some(names)}), so the folders were taken as classes in alphabetical order; give "
            "both the same names, or name the folders by class index"
        )
    elif len(folders) == len(names) and any(index != place for index, place in found.items()):
        yield (
            f"the class names are in another order ({_some(names)}) than the class folders "
            f"({_some(folders)}): folders were matched by name; a network trained on these folders "
            "by Keras has the order of the folders"
        )


def check_same_order(first: Sequence[str], second: Sequence[str], where: str) -> None:
    """Raise UnsupportedModelError where two models name the same classes in different orders."""
    plain = [[_plain(name) for name in names] for names in (first, second)]
    if plain[0] == plain[1] or sorted(plain[0]) != sorted(plain[1]):
        return
    place = next(i for i, (a, b) in enumerate(zip(*plain)) if a != b)
    raise UnsupportedModelError(
        f"the two models have their classes in different orders: class {place} is "
        f"{first[place]!r} in the first, {second[place]!r} in the other",
        where=where,
        why="answers are compared by the index of the class",
        fix="compare models with one order; where the names are wrong, give the right ones with "
        "--labels",
    )


def check_num_folders(folders: Sequence[str], num_classes: int, label_offset: int) -> None:
    """Raise DataError if there are more ``folders`` than classes, when only their order counts.

    Fewer are allowed: they may be the first classes.
    """
    if len(folders) + max(0, label_offset) <= num_classes or not num_classes:
        return
    raise DataError(
        f"the data have {len(folders)} class folders, the model has {num_classes} classes",
        why=f"each folder is taken as a class, in alphabetical order: {_some(folders)}",
        fix="move folders that are not classes of the model elsewhere, name each folder by the "
        "class index (0, 1, ...), or give the names of the model's classes with --labels",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _places(names: Sequence[str]) -> Mapping[str, list[int]]:
    places: dict[str, list[int]] = {}
    for whole in (True, False):
        partial: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            for part in [name] if whole else name.split(","):
                partial.setdefault(_plain(part), []).append(index)
        for part, indices in partial.items():
            places.setdefault(part, indices)
    return places


def _plain(name: str) -> str:
    # Names of folders come decomposed from macOS: a letter, then its accent.
    return _SPACES.sub(" ", unicodedata.normalize("NFC", name)).strip().lower()
