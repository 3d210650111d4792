# SPDX-License-Identifier: Apache-2.0
"""Files with the names of a model's classes."""

from __future__ import annotations

from edgekit.errors import InputError
from edgekit.files import PathLike, read_bytes


def read_labels(path: PathLike) -> list[str]:
    """Class names of a text file: one a line, or Coral's ``index name``.

    Raises:
        InputError: The file cannot be read, or is empty.
    """
    text = read_bytes(path, "label file").decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError("the label file is empty", where=str(path))
    pairs = [line.replace(":", " ", 1).split(None, 1) for line in lines]
    if not all(len(pair) == 2 and pair[0].isdigit() for pair in pairs):
        return lines
    names = [""] * (max(int(index) for index, _ in pairs) + 1)
    for index, name in pairs:
        names[int(index)] = name.strip()
    return names
