# SPDX-License-Identifier: Apache-2.0
"""Map folder names to class indices, by the names of a model's classes."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Sequence

from edgekit.errors import DataError, UnsupportedModelError

if TYPE_CHECKING:
    from edgekit.data import Dataset

_NAMED = 8
_SPACES = re.compile(r"[\s_-]+")


def folders_of(dataset: Dataset) -> Mapping[int, str]:
    """Return the name of the class folder of each label; empty without class folders."""
    folders: Mapping[int, str] = getattr(
        dataset, "folder_names", dict(enumerate(dataset.class_names))
    )
    return folders


def are_numbers(folders: Mapping[int, str]) -> bool:
    """Whether each folder is named by its label, so that the names are class indices."""
    return all(name.isdecimal() and int(name) == label for label, name in folders.items())


def label_map(
    folders: Mapping[int, str], names: Sequence[str], *, must_match: bool
) -> dict[int, int] | None:
    """Return a map from each folder's label to the index of the class with that name.

    A folder matches a class by its whole name or by one of its parts between commas
    ("tench, Tinca tinca"); case, spaces, hyphens and underscores are ignored.

    Args:
        folders: The name of each label's folder.
        names: The model's class names.
        must_match: Whether a folder without a class is an error; if not, the names are not used.
            Folders that are named by numbers need not match: they are class indices.

    Returns:
        None if the names cannot be used: labels are not changed.

    Raises:
        DataError: A folder has no class, or several, and ``must_match``.
    """
    if not folders or not names:
        return None
    places = _places(names)
    found: dict[int, int] = {}
    must_match = must_match and not are_numbers(folders)
    for index, folder in folders.items():
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


def order_warnings(
    folders: Mapping[int, str], names: Sequence[str], found: Mapping[int, int] | None
) -> Iterator[str]:
    """Warn if class folders were not matched by name, or have another order than the names.

    Args:
        folders: The name of each label's folder.
        names: The model's class names.
        found: The result of `label_map`.
    """
    if not folders or not names:
        return
    if are_numbers(folders):
        return
    ordered = list(folders.values())
    if found is None:
        yield (
            f"the class folders ({_some(ordered)}) are not named like the model's classes "
            f"({_some(names)}), so the folders were used as classes in alphabetical order; give "
            "both the same names, or name the folders by class index"
        )
    elif len(folders) == len(names) and any(label != place for label, place in found.items()):
        yield (
            f"the class names are in another order ({_some(names)}) than the class folders "
            f"({_some(ordered)}): folders were matched by name; a network trained on these folders "
            "by Keras has the order of the folders"
        )


def text_order_warnings(
    folders: Mapping[int, str],
    confusion: Mapping[tuple[int, int], int],
    class_of: Callable[[int], int],
) -> Iterator[str]:
    """Warn if the answers fit numbered folders sorted as text, not as numbers.

    Keras's ``image_dataset_from_directory`` and torchvision's ``ImageFolder`` sort the names as
    text: for a network that was trained with them on folders 0 to 10, class 2 is the folder 10.

    Args:
        folders: The name of each label's folder.
        confusion: (true class, answered class) -> number of samples.
        class_of: Returns the class that a label was used as.
    """
    if not are_numbers(folders):
        return
    in_order = sorted(folders.values())
    places = {class_of(label): in_order.index(name) for label, name in folders.items()}
    moved = {pair: n for pair, n in confusion.items() if places.get(pair[0]) != pair[0]}
    as_numbers = sum(n for (truth, answer), n in moved.items() if truth == answer)
    as_text = sum(n for (truth, answer), n in moved.items() if places.get(truth) == answer)
    # Three standard deviations of the difference of two counts.
    if as_text - as_numbers > 3 * math.sqrt(as_text + as_numbers):
        yield (
            f"{as_text} answers are right if the class folders are counted in the order of text "
            f"({_some(in_order)}), as Keras and torchvision count them, {as_numbers} of the same "
            "samples if their numbers are class indices: give --labels, a file with the folders' "
            "names in the order of text"
        )


def check_same_order(first: Sequence[str], second: Sequence[str], where: str) -> None:
    """Raise UnsupportedModelError if two models name the same classes in different orders."""
    plain = [[_plain(name) for name in names] for names in (first, second)]
    if plain[0] == plain[1] or sorted(plain[0]) != sorted(plain[1]):
        return
    place = next(i for i, (a, b) in enumerate(zip(*plain)) if a != b)
    raise UnsupportedModelError(
        f"the two models have their classes in different orders: class {place} is "
        f"{first[place]!r} in the first, {second[place]!r} in the other",
        where=where,
        why="answers are compared by the index of the class",
        fix="compare models with the same order; if the names are wrong, give the right ones with "
        "--labels",
    )


def check_num_folders(folders: Mapping[int, str], num_classes: int, label_offset: int) -> None:
    """Raise DataError if there are more ``folders`` than classes, and no names to match.

    Fewer are allowed: they may be the first classes.
    """
    is_by_index = are_numbers(folders)
    taken = len(folders) + (0 if is_by_index else max(0, label_offset))
    if taken <= num_classes or not num_classes:
        return
    how = "with the index that is its name" if is_by_index else "in alphabetical order"
    named = "" if is_by_index else "name each folder by the class index (0, 1, ...), "
    raise DataError(
        f"the data have {len(folders)} class folders, the model has {num_classes} classes",
        why=f"each folder is used as a class, {how}: {_some(list(folders.values()))}",
        fix=f"move folders that are not classes of the model elsewhere, {named}or give the names "
        "of the model's classes with --labels",
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
    # On macOS, folder names are decomposed: a letter, then its accent.
    return _SPACES.sub(" ", unicodedata.normalize("NFC", name)).strip().lower()
