# SPDX-License-Identifier: Apache-2.0
"""Files with the names of a model's classes."""

from __future__ import annotations

import codecs
from typing import Iterator

from edgekit.errors import InputError
from edgekit.files import PathLike, read_bytes

MOST_LABEL_BYTES = 8 << 20  # ImageNet's 21,841 names have 1 million; a line takes 30 times its size
_MOST_CLASSES = 1_000_000
_WINDOWS = "cp1252"


def read_labels(path: PathLike) -> list[str]:
    """Return the class names of a text file: one per line, or Coral's ``index name``.

    Raises:
        InputError: The file cannot be read, or is empty.
    """
    names = parse_labels(read_bytes(path, "label file", MOST_LABEL_BYTES))
    if not names:
        raise InputError("the label file is empty", where=str(path))
    return names


def label_file_warnings(path: PathLike) -> Iterator[str]:
    """Warn of a label file with an unknown encoding."""
    if _encoding(read_bytes(path, "label file", MOST_LABEL_BYTES)) in {_WINDOWS, "latin-1"}:
        yield (
            f"{path} is not in UTF-8: it was read as Windows-1252; save it as UTF-8 if names "
            "look wrong"
        )


def parse_labels(content: bytes) -> list[str]:
    """Return the class names of a label file's content; blank lines are not classes."""
    lines = [line.strip() for line in _text(content).splitlines() if line.strip()]
    pairs = [line.replace(":", " ", 1).split(None, 1) for line in lines]
    if not lines or not all(len(pair) == 2 and _is_index(pair[0]) for pair in pairs):
        return lines
    largest = max(int(index) for index, _ in pairs)
    # Otherwise the numbers are not indices.
    if largest > min(100 * len(lines) + 1000, _MOST_CLASSES):
        return lines
    names = [""] * (largest + 1)
    for index, name in pairs:
        names[int(index)] = name.strip()
    return names


def _is_index(word: str) -> bool:
    return word.isdecimal() and len(word) < 10  # int() refuses thousands of digits


def _text(content: bytes) -> str:
    """Decode by the byte order mark (Windows editors write one), else as UTF-8.

    Text that is not UTF-8 is read as Windows-1252, a superset of Latin-1's letters.
    """
    return content.decode(_encoding(content), "replace")


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ("utf-8-sig", _WINDOWS):
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"
