# SPDX-License-Identifier: Apache-2.0
"""One bundle out of a model, its compiled form, labels, preprocessing and results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Mapping, Sequence

from edgekit import __version__
from edgekit.bundle.describe import describe, label_text
from edgekit.bundle.requirements import requirements
from edgekit.bundle.signing import sign as sign_manifest
from edgekit.data import Preprocess, parse_preprocess, read_labels
from edgekit.edgetpu.belongs import check_belongs
from edgekit.errors import BundleError, InputError, UnsupportedModelError, UsageError
from edgekit.files import PathLike, check_writable, read_bytes, sha256_hex, write_bytes
from edgekit.formats.bundle import MODEL_PATH, BundleFile, Manifest, is_bundle, write_bundle
from edgekit.formats.tflite import Model, read_model
from edgekit.formats.tflite_metadata import read_metadata, read_notes, write_metadata
from edgekit.result import Result

_COMPILED, _LABELS, _LICENCE = "model_edgetpu.tflite", "labels.txt", "LICENCE"


@dataclass(frozen=True)
class BundleResult(Result):
    """A bundle that was written."""

    schema: ClassVar[str] = "edgekit.bundle-written/1"
    output: str
    sha256: str
    bytes: int
    manifest: Manifest
    signed: bool
    warnings: tuple[str, ...]


def bundle(
    model: PathLike,
    *,
    output: PathLike,
    compiled: PathLike | None = None,
    labels: PathLike | None = None,
    preprocess: str | None = None,
    metrics: Sequence[PathLike] = (),
    task: str = "",
    decoder: str = "",
    licence: PathLike | None = None,
    sign: PathLike | None = None,
) -> BundleResult:
    """Write one file with all that a device needs; the same arguments give the same bytes.

    Labels and normalization are also written into the plain model, as TFLite metadata; the
    compiled one stays as the compiler wrote it.

    Args:
        model: The plain .tflite file.
        output: The bundle to write, usually NAME.edgekit.
        compiled: What edgetpu_compiler made of ``model``.
        labels: A text file with one class a line; None takes those in the model's metadata.
        preprocess: How pixels become the input; None takes what the model's metadata says.
        metrics: JSON documents of ``evaluate``, ``benchmark`` and the like about either model.
        task: What the model is for; "" takes it from ``metrics``.
        decoder: What makes answers of its outputs.
        licence: A text file.
        sign: The file of an Ed25519 private key.

    Raises:
        BundleError: ``compiled`` was not made from ``model``, or ``metrics`` are of another model.
        InputError: A file cannot be read, or is not what it should be.
        UsageError: ``preprocess`` has an unknown word.
        OutputError: ``output`` cannot be written.
        MissingExtraError: ``sign`` needs the package cryptography.
    """
    check_writable(output)
    source = read_bytes(model, "model")
    if is_bundle(source):
        raise UsageError("the model is a bundle already", where=str(model))
    plain = read_model(source, where=str(model))
    compiled_content = None if compiled is None else read_bytes(compiled, "compiled model")
    compiled_model = None
    if compiled_content is not None:
        compiled_model = read_model(compiled_content, where=str(compiled))
        check_belongs(plain, compiled_model, str(compiled))
    notes = read_notes(source)
    names = tuple(read_labels(labels)) if labels is not None else notes.labels
    how_text = str(parse_preprocess(preprocess)) if preprocess else notes.preprocess
    licence_text = b"" if licence is None else read_bytes(licence, "licence")
    warnings: list[str] = []
    inside = source  # as it is where nothing is new
    if labels is not None or preprocess or licence_text:
        inside = _described(source, plain, str(model), names, how_text, licence_text, warnings)
    results = [_result(path, source, compiled_content) for path in metrics]
    files = [
        _entry(MODEL_PATH, "model", inside),
        *([_entry(_COMPILED, "compiled", compiled_content)] if compiled_content else []),
        *([_entry(_LABELS, "labels", label_text(names))] if names else []),
        *([_entry(_LICENCE, "licence", licence_text)] if licence_text else []),
        *_named_results(results),
    ]
    manifest = Manifest(
        name=Path(model).stem,
        edgekit=__version__,
        files=tuple(entry for entry, _ in files),
        source_sha256=sha256_hex(source),
        task=task or _task(results),
        decoder=decoder,
        preprocess=how_text,
        num_labels=len(names),
        licence=licence_text.decode("utf-8", "replace").strip().split("\n")[0].strip(),
        requires=requirements(plain, compiled_model),
    )
    warnings += _doubts(plain, manifest)
    signature = b"" if sign is None else sign_manifest(manifest.to_json().encode(), sign)
    content = write_bundle(manifest, files, signature)
    write_bytes(output, content)
    return BundleResult(
        output=str(output),
        sha256=sha256_hex(content),
        bytes=len(content),
        manifest=manifest,
        signed=bool(signature),
        warnings=tuple(warnings),
    )


def _entry(path: str, role: str, content: bytes) -> tuple[BundleFile, bytes]:
    return BundleFile(path, role, len(content), sha256_hex(content)), content


def _described(
    source: bytes,
    plain: Model,
    where: str,
    names: Sequence[str],
    how_text: str,
    licence: bytes,
    warnings: list[str],
) -> bytes:
    """The model with its labels and normalization inside; as it was where that cannot be."""
    how: Preprocess | None = parse_preprocess(how_text) if how_text else None
    wanted = describe(
        plain,
        read_metadata(source, plain),
        name=Path(where).stem,
        labels=names,
        how=how,
        licence=licence.decode("utf-8", "replace").strip(),
    )
    try:
        return write_metadata(source, wanted, how_text)
    except UnsupportedModelError as error:
        warnings.append(f"labels and normalization are not in the model itself: {error.what}")
        return source


def _result(path: PathLike, plain: bytes, compiled: bytes | None) -> Mapping[str, Any]:
    """A document of measurements, which has to be of one of the two models."""
    try:
        document = json.loads(read_bytes(path, "result").decode("utf-8"))
    except ValueError as error:
        raise InputError(f"the result is no JSON: {error}", where=str(path)) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str) or not schema.startswith("edgekit."):
        raise InputError(
            f"the result's schema is {schema!r}, expected edgekit's",
            where=str(path),
            fix="make it with edgekit evaluate MODEL --data DATA --json",
        )
    models = [sha256_hex(each) for each in (plain, compiled) if each is not None]
    if document.get("sha256") not in models:
        raise BundleError(
            "the result is of another model",
            where=str(path),
            why=f"it is about SHA-256 {document.get('sha256')}, the model has {models[0]}",
            fix="measure the model that goes into the bundle",
        )
    return dict(document)


def _named_results(results: Sequence[Mapping[str, Any]]) -> list[tuple[BundleFile, bytes]]:
    entries: list[tuple[BundleFile, bytes]] = []
    for document in results:
        kind = str(document["schema"]).split(".", 1)[1].split("/")[0]
        same = sum(entry.path.startswith(f"results/{kind}") for entry, _ in entries)
        path = f"results/{kind}{f'-{same + 1}' if same else ''}.json"
        content = json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
        entries.append(_entry(path, "results", content))
    return entries


def _task(results: Sequence[Mapping[str, Any]]) -> str:
    return next((str(each["task"]) for each in results if each.get("task")), "")


def _doubts(plain: Model, manifest: Manifest) -> list[str]:
    """What a device will miss."""
    doubts = []
    outputs = [plain.main.tensors[index] for index in plain.main.outputs]
    shape = outputs[0].shape if len(outputs) == 1 else ()
    is_classifier = len(shape) > 1 and shape[-1] > 1 and all(size == 1 for size in shape[:-1])
    if manifest.num_labels and is_classifier and manifest.num_labels != shape[-1]:
        doubts.append(f"{manifest.num_labels} labels for {shape[-1]} classes")
    if not manifest.preprocess:
        doubts.append("no preprocessing is given: a device will scale pixels to 0..1")
    floats = [t.name for t in outputs if t.dtype == "FLOAT32"]
    if floats:
        doubts.append(f"outputs of real numbers: {', '.join(floats)}")
    return doubts
