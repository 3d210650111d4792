# SPDX-License-Identifier: Apache-2.0
"""Choose the model that the report is about, and compute its missing results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit.edgetpu import check_model
from edgekit.errors import EdgeKitError, InputError
from edgekit.inspect import inspect
from edgekit.opencompiler.estimate import estimate
from edgekit.report.evidence import Document, Evidence, FoundModel
from edgekit.result import Result

COMPUTED = "computed for this report"
# Documents that name the model they are about, the most specific first.
_NAMING = ("evaluate", "check", "compile", "benchmark", "debug", "estimate", "convert")
_LISTED = 5


@dataclass(frozen=True)
class Subject:
    """The model of the report; its file may be missing."""

    name: str
    sha256: str
    path: Path | None


def find_subject(evidence: Evidence, wanted: str | None = None) -> Subject:
    """Return the integer model: the one that documents are about, else one in the folder.

    A compiled model is chosen only if its source is missing. If several models are possible, a
    remark lists them.

    Args:
        evidence: The content of the folder.
        wanted: The path in the folder, or the file name, of the model to use instead.

    Raises:
        InputError: No model there has this name.
    """
    if wanted is not None:
        return _of_file(_named(evidence, wanted))
    subject = _likeliest(evidence)
    others = [
        each.file.path
        for each in evidence.models
        if each.kind == "integer" and each.file.sha256 != subject.sha256
    ]
    if others and not any(evidence.of(kind, subject.sha256) for kind in _NAMING):
        evidence.remarks.append(
            f"{len(others)} more integer models, {', '.join(others[:_LISTED])}"
            f"{', ...' if len(others) > _LISTED else ''}: choose one with --model"
        )
    return subject


def _named(evidence: Evidence, wanted: str) -> FoundModel:
    for model in evidence.models:
        if wanted in {model.file.path, model.full_path.name, str(model.full_path)}:
            return model
    there = ", ".join(each.file.path for each in evidence.models[:_LISTED])
    raise InputError(
        f"no model {wanted} in the run folder",
        where=str(evidence.folder),
        why=f"there are {there}" if there else "there is no .tflite",
        fix="give the name of a .tflite in the folder (--model)",
    )


def _likeliest(evidence: Evidence) -> Subject:
    models = {each.file.sha256: each for each in evidence.models}
    integer = [each for each in evidence.models if each.kind == "integer"]
    named = [document for kind in _NAMING for document in evidence.of(kind)]
    for document in named:
        found = models.get(document.node.text("sha256"))
        if found is not None and found.kind == "integer":
            return _of_file(found)
    if integer:
        return _of_file(integer[0])
    for document in named:
        name = document.node.text("output" if document.kind == "convert" else "model")
        if name:
            sha256 = document.node.text("sha256")
            here = models.get(sha256)
            return Subject(name, sha256, here.full_path if here is not None else None)
    if evidence.models:
        first = sorted(evidence.models, key=lambda each: each.kind != "compiled")[0]
        return _of_file(first)
    return Subject("", "", None)


def complete(evidence: Evidence, subject: Subject) -> None:
    """Add `check` and `estimate` of the subject if they are missing.

    For a compiled model, add `inspect` and `estimate`. They need only the file. If they refuse the
    model, add a remark.
    """
    if subject.path is None:
        return
    kinds = {each.full_path: each.kind for each in evidence.models}
    kind = kinds.get(subject.path)
    steps: list[tuple[str, Callable[[Path], Result]]] = []
    if kind == "integer":
        steps.append(("check", check_model))
    if kind == "compiled":
        steps.append(("inspect", inspect))
    if kind in {"integer", "compiled"}:
        steps.append(("estimate", estimate))
    for name, function in steps:
        if any(each.body.get("sha256") == subject.sha256 for each in evidence.of(name)):
            continue
        try:
            body = function(subject.path).to_dict()
        except EdgeKitError as error:
            evidence.remarks.append(f"{name} of {subject.path.name}: {error.what}")
            continue
        evidence.documents.append(Document(COMPUTED, name, body))


def _of_file(model: FoundModel) -> Subject:
    return Subject(model.file.path, model.file.sha256, model.full_path)
