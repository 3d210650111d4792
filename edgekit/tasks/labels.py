# SPDX-License-Identifier: Apache-2.0
"""Class names: from a text file, or attached to the model."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, Mapping, Sequence

from edgekit.data import MOST_LABEL_BYTES, parse_labels, read_labels
from edgekit.errors import DataError
from edgekit.files import PathLike, read_bytes
from edgekit.formats.model_file import ModelFile

_MOST_CLASSES = 100_000
_MOST_METADATA_BYTES = 4 << 20  # parsing it as Python text needs 150 times its size
_TEXT_SUFFIX = ".txt"
# Ultralytics attaches metadata of a model, as Python text in older versions.
ULTRALYTICS_FILE = "metadata.json"
_ULTRALYTICS_FILES = (ULTRALYTICS_FILE, "temp_meta.txt", "metadata.txt")


def fit_labels(labels: PathLike | Sequence[str] | None, num_classes: int) -> list[str]:
    """Return the names of a model's classes, by index; empty if ``labels`` is None.

    Args:
        labels: A text file, or the names. If a file has too many lines for the model, the text
            after its first blank line is ignored.
        num_classes: The number of classes of the model; 0 if unknown.

    Raises:
        DataError: There are more or fewer names than classes.
        InputError: As for `read_labels`.
    """
    if labels is None:
        return []
    is_path = isinstance(labels, (str, Path))
    names = read_labels(labels) if is_path else list(labels)  # type: ignore[arg-type] # decided by is_path
    if num_classes and len(names) != num_classes and is_path:
        content = read_bytes(labels, "label file", MOST_LABEL_BYTES)  # type: ignore[arg-type] # decided by is_path
        head = parse_labels(re.split(rb"\r?\n[ \t]*\r?\n", content.lstrip(), maxsplit=1)[0])
        names = head if len(head) == num_classes else names
    if num_classes and len(names) != num_classes:
        raise DataError(
            f"{len(names)} labels for {num_classes} classes",
            where=str(labels) if is_path else "",
            why="the labels are not those of this model; a background class is the usual cause",
            fix="give the label file that came with the model",
        )
    return names


def label_order_warning(given: Sequence[str], own: Sequence[str]) -> str:
    """Return a warning if the names ``given`` are the model's ``own`` in another order; else "".

    Args:
        given: The names given with ``--labels``; may be empty.
        own: The names in the model's file; may be empty.
    """
    if list(given) == list(own) or sorted(given) != sorted(own):
        return ""
    place = next(index for index, pair in enumerate(zip(given, own)) if pair[0] != pair[1])
    return (
        f"--labels has the model's own class names in another order: class {place} is "
        f"{given[place]!r} there, {own[place]!r} in the model's file; leave --labels out, or "
        "convert the network again with the right order"
    )


def attached_labels(file: ModelFile, num_classes: int) -> list[str]:
    """Return the names in a label file attached to a .tflite; empty if none fits."""
    for name, data in file.attachments(_is_wanted).items():
        metadata = parse_ultralytics(data) if name in _ULTRALYTICS_FILES else {}
        names = ultralytics_names(metadata) if metadata else []
        is_labels = name.endswith(_TEXT_SUFFIX) and len(data) <= MOST_LABEL_BYTES
        if not names and is_labels:
            names = parse_labels(data)
        if names and (not num_classes or len(names) == num_classes):
            return names
    return []


def ultralytics_task(file: ModelFile) -> str:
    """Return the task in Ultralytics' metadata of a .tflite ("detect"), else ""."""
    return str(ultralytics_metadata(file).get("task", ""))


def ultralytics_metadata(file: ModelFile) -> Mapping[str, Any]:
    """Return Ultralytics' metadata in a .tflite; empty without it."""
    for data in file.attachments(_ULTRALYTICS_FILES.__contains__).values():
        return parse_ultralytics(data)
    return {}


def parse_ultralytics(data: bytes) -> Mapping[str, Any]:
    """Parse metadata as JSON or as text of a Python dict; empty if it is neither, or too large."""
    if len(data) > _MOST_METADATA_BYTES:
        return {}
    text = data.decode("utf-8", "replace")
    for parse in (json.loads, ast.literal_eval):
        try:
            values = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(values, dict):
            return values
    return {}


def ultralytics_names(metadata: Mapping[str, Any]) -> list[str]:
    """Return the class names in Ultralytics' metadata, by index; empty if it has none."""
    names = metadata.get("names", {})
    if isinstance(names, list):
        return [str(name) for name in names]
    if not isinstance(names, dict) or not all(map(_is_index, names)):
        return []
    by_index = {int(key): str(name) for key, name in names.items()}
    return [by_index.get(i, "") for i in range(max(by_index, default=-1) + 1)]


def _is_index(key: Any) -> bool:  # noqa: ANN401 - of JSON or Python text
    text = str(key)
    return text.isdecimal() and len(text) <= len(str(_MOST_CLASSES)) and int(text) <= _MOST_CLASSES


def _is_wanted(name: str) -> bool:
    return name in _ULTRALYTICS_FILES or name.endswith(_TEXT_SUFFIX)
