# SPDX-License-Identifier: Apache-2.0
"""Find the content of a run folder: edgekit's JSON documents by schema, models, images, logs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgekit.errors import EdgeKitError, InputError
from edgekit.files import MOST_TEXT_BYTES, PathLike, read_bytes, sha256_hex
from edgekit.formats.damage import JSON_DAMAGE
from edgekit.formats.json_text import parse_json
from edgekit.formats.tflite import Model, is_compiled, read_model
from edgekit.report.node import Node, printable
from edgekit.result import is_readable

_SCHEMA = "edgekit."
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_MAX_FILES = 5000
_MAX_JSON_BYTES = 64 << 20
_MAX_LOG_BYTES = 4 << 20
_MAX_DEPTH = 4


@dataclass(frozen=True)
class Document:
    """One JSON document of edgekit, found in a file or inside another document."""

    path: str  # relative to the folder, with "/"
    kind: str  # "evaluate" of "edgekit.evaluate/1"
    body: dict[str, Any]
    nested: bool = False

    @property
    def node(self) -> Node:
        """The body as a `Node`."""
        return Node(self.body)


@dataclass(frozen=True)
class FoundFile:
    """A file that the report mentions."""

    path: str  # relative to the folder
    bytes: int
    sha256: str
    written: str  # UTC, to the second


@dataclass(frozen=True)
class FoundModel:
    """A .tflite in the folder."""

    file: FoundFile
    full_path: Path
    kind: str  # compiled | integer | real


@dataclass
class Evidence:
    """Everything that was found; ``remarks`` describe what could not be used, and why."""

    folder: Path
    documents: list[Document] = field(default_factory=list)
    files: list[FoundFile] = field(default_factory=list)
    models: list[FoundModel] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    logs: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def of(self, kind: str, sha256: str = "") -> list[Document]:
        """Return the documents of a kind; those about the model ``sha256`` come first."""
        found = [each for each in self.documents if each.kind == kind]
        return sorted(found, key=lambda each: not sha256 or each.body.get("sha256") != sha256)


def gather(folder: PathLike, *, skip: Path | None = None) -> Evidence:
    """Read the files of ``folder`` and its sub-folders, in the order of names.

    Args:
        folder: A run folder; files of other programs are ignored.
        skip: A file to leave out: the report that will be written.

    Raises:
        InputError: It is not a folder, or does not contain a document or a model.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(
            "the run folder does not exist" if not root.exists() else "this is not a folder",
            where=str(root),
            fix="give the folder with the results (edgekit demo makes one)",
        )
    evidence = Evidence(root)
    for path in _walk(root, evidence):
        if skip is None or path != skip:
            _take(path, evidence)
    if not evidence.documents and not evidence.models:
        raise InputError(
            "there is nothing to report on",
            where=str(root),
            why="; ".join(evidence.remarks[:3])
            or "the folder does not contain a JSON document of edgekit or a .tflite model",
            fix="save results into it: edgekit check MODEL --json > RUN_DIR/check.json",
        )
    return evidence


def _walk(root: Path, evidence: Evidence) -> Iterator[Path]:
    count = 0
    for folder, names, file_names in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        names[:] = sorted(each for each in names if not each.startswith("."))
        if depth >= _MAX_DEPTH:
            names.clear()
        for name in sorted(each for each in file_names if not each.startswith(".")):
            count += 1
            if count > _MAX_FILES:
                evidence.remarks.append(f"only the first {_MAX_FILES:,} files were read")
                return
            yield Path(folder, name)


def _take(path: Path, evidence: Evidence) -> None:
    suffix = path.suffix.lower()
    try:
        if suffix == ".json":
            _take_json(path, evidence)
        elif suffix == ".tflite":
            _take_model(path, evidence)
        elif suffix in _PICTURES:
            evidence.pictures.append(path)
        elif suffix == ".log" and path.stat().st_size <= _MAX_LOG_BYTES:
            _take_log(path, evidence)
    except (EdgeKitError, OSError) as error:
        what = error.what if isinstance(error, EdgeKitError) else error.strerror
        evidence.remarks.append(f"{_relative(path, evidence)}: {what}")


def _take_json(path: Path, evidence: Evidence) -> None:
    if path.stat().st_size > _MAX_JSON_BYTES:
        evidence.remarks.append(f"{_relative(path, evidence)}: too large to be read")
        return
    content = read_bytes(path, "result", MOST_TEXT_BYTES)
    try:
        value = parse_json(content, parse_constant=lambda _name: None, parse_float=_finite)
    except JSON_DAMAGE:
        evidence.remarks.append(f"{_relative(path, evidence)}: not a complete JSON document")
        return
    before = len(evidence.documents)
    _take_value(value, _relative(path, evidence), evidence, depth=0)
    if len(evidence.documents) > before:
        evidence.files.append(_found(path, content, evidence))


def _finite(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _take_value(value: Any, path: str, evidence: Evidence, depth: int) -> None:  # noqa: ANN401
    """Add a document, and the documents inside it that do not have their own file."""
    if depth > _MAX_DEPTH or not isinstance(value, (dict, list)):
        return
    if isinstance(value, list):
        for entry in value if depth else ():
            _take_value(entry, path, evidence, depth + 1)
        return
    schema = value.get("schema")
    if isinstance(schema, str) and schema.startswith(_SCHEMA):
        kind = schema[len(_SCHEMA) :].partition("/")[0]
        if kind in {"report", "report-data"}:
            return
        if not is_readable(schema):
            evidence.remarks.append(f"{path}: {schema} is from another edgekit and was not read")
            return
        if not any(each.body == value for each in evidence.documents):
            evidence.documents.append(Document(path, kind, value, nested=depth > 0))
    elif depth == 0:
        return
    for entry in value.values():
        _take_value(entry, path, evidence, depth + 1)


def _take_model(path: Path, evidence: Evidence) -> None:
    content = read_bytes(path, "model")
    kind = kind_of(read_model(content, where=str(path)))
    found = _found(path, content, evidence)
    evidence.files.append(found)
    evidence.models.append(FoundModel(found, path, kind))


def kind_of(model: Model) -> str:
    """Return ``compiled``, ``integer`` (it has quantized activations) or ``real``."""
    graph = model.main
    if is_compiled(model):
        return "compiled"
    made = [graph.tensors[i] for operator in graph.operators for i in operator.outputs if i >= 0]
    integers = [each for each in made if each.dtype in {"INT8", "UINT8", "INT16"}]
    return "integer" if 2 * len(integers) > len(made) else "real"


def _take_log(path: Path, evidence: Evidence) -> None:
    text = read_bytes(path, "log", MOST_TEXT_BYTES).decode(errors="replace")
    if "Edge TPU Compiler" in text or "edgetpu_compiler" in text:
        evidence.logs.append((_relative(path, evidence), text))
        evidence.files.append(_found(path, text.encode(), evidence))


def _found(path: Path, content: bytes, evidence: Evidence) -> FoundFile:
    written = datetime.fromtimestamp(int(path.stat().st_mtime), timezone.utc)
    stamp = written.strftime("%Y-%m-%d %H:%M:%S UTC")
    return FoundFile(_relative(path, evidence), len(content), sha256_hex(content), stamp)


def _relative(path: Path, evidence: Evidence) -> str:
    return printable(path.relative_to(evidence.folder).as_posix())
