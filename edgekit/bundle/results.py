# SPDX-License-Identifier: Apache-2.0
"""Read measurements for a bundle, and those in a bundle."""

from __future__ import annotations

from typing import Any, Collection, Mapping, Sequence

from edgekit.errors import BundleError, InputError
from edgekit.files import MOST_TEXT_BYTES, PathLike, read_bytes
from edgekit.formats.bundle import Bundle
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.formats.json_text import parse_json

Document = Mapping[str, Any]


def read_result(path: PathLike, origins: Sequence[str]) -> Document:
    """Read a document of measurements of a model with one of the hashes ``origins``.

    Raises:
        InputError: It cannot be read, or is not a document of edgekit.
        BundleError: It is about another model.
    """
    try:
        document = parse_json(read_bytes(path, "result", MOST_TEXT_BYTES))
    except JSON_DAMAGE as error:
        raise InputError(f"the result is not JSON: {reason_of(error)}", where=str(path)) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str) or not schema.startswith("edgekit."):
        raise InputError(
            f"the result's schema is {schema!r}, expected edgekit's",
            where=str(path),
            fix="make it with edgekit evaluate MODEL --data DATA --json",
        )
    if document.get("sha256") not in origins:
        raise BundleError(
            "the result is of another model",
            where=str(path),
            why=f"it is about SHA-256 {document.get('sha256')}, the models have "
            + ", ".join(origins),
            fix="measure the model that goes into the bundle",
        )
    return dict(document)


def results_in(whole: Bundle, where: str) -> Mapping[str, Document]:
    """Return the documents of a bundle by their paths.

    Raises:
        BundleError: One of them is not a document of edgekit.
    """
    found = {}
    for entry in whole.manifest.files_with("results"):
        try:
            document = parse_json(whole.files[entry.path])
        except JSON_DAMAGE as error:
            raise _no_result(entry.path, reason_of(error), where) from error
        if not isinstance(document, dict) or not isinstance(document.get("schema"), str):
            raise _no_result(entry.path, "it has no schema", where)
        found[entry.path] = document
    return found


def of_these(documents: Mapping[str, Document], origins: Collection[str]) -> Mapping[str, Document]:
    """Return those of ``documents`` about a model with one of the hashes ``origins``."""
    return {path: each for path, each in documents.items() if each.get("sha256") in origins}


def _no_result(path: str, why: str, where: str) -> BundleError:
    return BundleError(f"{path} is not a result: {why}", where=where)
