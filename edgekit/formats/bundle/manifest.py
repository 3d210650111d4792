# SPDX-License-Identifier: Apache-2.0
"""The manifest: what a bundle contains, how it is used, and the hash of every file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Mapping

from edgekit.errors import BundleError
from edgekit.formats.damage import JSON_DAMAGE, reason_of
from edgekit.formats.json_text import parse_json
from edgekit.result import Result

MANIFEST_PATH = "manifest.json"
MODEL_PATH = "model.tflite"  # the first file of every bundle
SCHEMA = "edgekit.bundle/1"
MODEL, COMPILED, LABELS, LICENCE, RESULTS = "model", "compiled", "labels", "licence", "results"


@dataclass(frozen=True)
class BundleFile(Result):
    """One file of the bundle."""

    path: str
    role: str  # model | compiled | labels | licence | results
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest(Result):
    """The manifest of a bundle."""

    schema: ClassVar[str] = SCHEMA
    name: str
    edgekit: str  # the version that wrote it
    files: tuple[BundleFile, ...]
    source_sha256: str  # of the model before labels and normalization were written into it
    task: str = ""
    decoder: str = ""
    preprocess: str = ""  # text for --preprocess; empty if not given
    num_labels: int = 0
    licence: str = ""
    requires: Mapping[str, Any] = field(default_factory=dict)  # see edgekit.bundle.requirements
    # SHA-256 of these models, also the compiled one, in all states before metadata was written
    # into them: the files that may have been measured.
    origins: tuple[str, ...] = ()

    def files_with(self, role: str) -> tuple[BundleFile, ...]:
        """Return the files of a role, in the archive's order."""
        return tuple(each for each in self.files if each.role == role)


_TYPES: Mapping[str, type] = {
    "name": str,
    "edgekit": str,
    "source_sha256": str,
    "task": str,
    "decoder": str,
    "preprocess": str,
    "num_labels": int,
    "licence": str,
    "requires": dict,
}


def parse_manifest(content: bytes, where: str = "") -> Manifest:
    """Read a manifest; fields that a later edgekit added are ignored.

    Raises:
        BundleError: It is not JSON, has another schema, or a field is missing or has another type.
    """
    try:
        document = parse_json(content)
    except JSON_DAMAGE as error:
        raise _damaged(f"{MANIFEST_PATH} is not JSON: {reason_of(error)}", where) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        given = document.get("schema") if isinstance(document, dict) else None
        raise BundleError(
            f"the bundle's schema is {given!r}, expected {SCHEMA!r}",
            where=where,
            fix="use the edgekit version that wrote the bundle, or a newer one",
        )
    fields = {name: _field(document, name, kind, where) for name, kind in _TYPES.items()}
    entries = document.get("files")
    if not isinstance(entries, list):
        raise _damaged(f"{MANIFEST_PATH} does not list any files", where)
    origins = document.get("origins", [])
    if not isinstance(origins, list) or not all(isinstance(each, str) for each in origins):
        raise _damaged(f"origins is {origins!r}, expected a list of hashes", where)
    return Manifest(
        files=tuple(_file(entry, where) for entry in entries), origins=tuple(origins), **fields
    )


def _file(entry: Any, where: str) -> BundleFile:  # noqa: ANN401 - JSON
    kinds = {"path": str, "role": str, "bytes": int, "sha256": str}
    document = entry if isinstance(entry, dict) else {}
    return BundleFile(**{name: _field(document, name, kind, where) for name, kind in kinds.items()})


def _field(document: Mapping[str, Any], name: str, kind: type, where: str) -> Any:  # noqa: ANN401
    value = document.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _damaged(f"{name} is {value!r}, expected {kind.__name__}", where)
    return value


def _damaged(what: str, where: str) -> BundleError:
    return BundleError(
        f"the bundle's manifest is damaged: {what}",
        where=where,
        fix="copy the bundle again, or make it again with edgekit bundle",
    )
