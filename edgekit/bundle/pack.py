# SPDX-License-Identifier: Apache-2.0
"""Make a bundle from a model, its compiled form, labels, preprocessing and results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Mapping, Sequence

from edgekit.bundle.given import read_given
from edgekit.bundle.requirements import requirements
from edgekit.bundle.results import read_result
from edgekit.bundle.signing import sign as sign_manifest
from edgekit.data import parse_preprocess, preprocess_for, preprocess_reason, read_labels
from edgekit.data.describe import Description, label_text
from edgekit.data.network_start import wanted_by
from edgekit.files import (
    PathLike,
    check_writable,
    refuse_overwriting,
    sha256_hex,
    write_bytes,
)
from edgekit.formats.bundle import MODEL_PATH, BundleFile, Manifest, write_bundle
from edgekit.formats.darwinn.belongs import check_belongs, check_plain
from edgekit.formats.tflite import Model
from edgekit.result import Result
from edgekit.runtime import TensorInfo
from edgekit.tasks import check_task
from edgekit.version import __version__

_COMPILED, _LABELS, _LICENCE = "model_edgetpu.tflite", "labels.txt", "LICENCE"


@dataclass(frozen=True)
class BundleResult(Result):
    """A bundle that was written."""

    schema: ClassVar[str] = "edgekit.bundle-written/2"
    output: str
    sha256: str  # of the plain model in it
    bundle_sha256: str  # of the bundle itself
    bytes: int  # of the bundle
    manifest: Manifest
    signed: bool
    warnings: tuple[str, ...]


def bundle(  # noqa: PLR0913 - public: its options are keywords
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
    """Write one file with everything that a device needs; equal arguments give equal bytes.

    Labels and normalization are also written into both models, as TFLite metadata; the graph,
    the constants and the Edge TPU's program do not change, byte for byte.

    Args:
        model: The plain .tflite file; or a bundle, whose contents are used for all that is not
            given.
        output: The bundle to write, usually NAME.edgekit.
        compiled: The compiled file of ``model``, NAME_edgetpu.tflite.
        labels: A text file with one class per line; None uses those in the model's metadata.
        preprocess: How pixels become the input; None uses the model's metadata.
        metrics: JSON documents of ``evaluate``, ``benchmark`` and similar commands about one of
            the models.
        task: The model's task, one of `TASKS`; "" takes it from ``metrics``.
        decoder: The decoder of its outputs; "" takes it from ``metrics``.
        licence: A text file.
        sign: The file of an Ed25519 private key.

    Raises:
        BundleError: ``compiled`` was not made from ``model``, or ``metrics`` are of another model.
        InputError: A file cannot be read, or has the wrong content.
        UnsupportedModelError: ``model`` is already compiled.
        UsageError: ``preprocess`` has an unknown word, ``task`` is unknown, or ``output`` is one
            of the other files.
        OutputError: ``output`` cannot be written.
        MissingExtraError: ``sign`` needs the package cryptography.
    """
    if task:
        check_task(task)
    check_writable(output)
    given = read_given(model, compiled, licence)
    # A bundle may replace itself.
    plain_files = [each for each in (model, compiled) if each not in given.bundles]
    refuse_overwriting(output, *plain_files, labels, licence, sign, *metrics)
    plain = given.plain.model
    check_plain(plain, str(model))
    compiled_model = None
    if given.compiled is not None:
        compiled_model = given.compiled.model
        check_belongs(plain, compiled_model, str(compiled or model))
    names = tuple(read_labels(labels)) if labels is not None else given.notes.labels
    how_text = str(parse_preprocess(preprocess)) if preprocess else given.notes.preprocess
    warnings: list[str] = []
    note = Description(given.name, names, how_text, given.licence_text, warnings.append)
    inside = note.written_into(given.plain.content, plain)
    compiled_inside = None
    if given.compiled is not None and compiled_model is not None:
        compiled_inside = note.written_into(given.compiled.content, compiled_model)
    results = [*given.results, *(read_result(path, given.origins) for path in metrics)]
    files = [
        _entry(MODEL_PATH, "model", inside),
        *([_entry(_COMPILED, "compiled", compiled_inside)] if compiled_inside else []),
        *([_entry(_LABELS, "labels", label_text(names))] if names else []),
        *([_entry(_LICENCE, "licence", given.licence)] if given.licence else []),
        *_named_results(results),
    ]
    manifest = Manifest(
        name=given.name,
        edgekit=__version__,
        files=tuple(entry for entry, _ in files),
        source_sha256=given.source_sha256,
        task=task or given.notes.task or _first(results, "task"),
        decoder=decoder or given.notes.decoder or _first(results, "decoder"),
        preprocess=how_text,
        num_labels=len(names),
        licence=given.licence_text.split("\n")[0].strip(),
        requires=requirements(plain, compiled_model),
        origins=tuple(sorted({*given.origins} - {entry.sha256 for entry, _ in files})),
    )
    warnings += [f"{path} is of another model: left out" for path in given.left_out]
    if given.was_signed and sign is None:
        warnings.append("the old bundle's signature is not kept: sign this one (--sign)")
    warnings += _doubts(plain, manifest)
    signature = b"" if sign is None else sign_manifest(manifest.to_json().encode(), sign)
    content = write_bundle(manifest, files, signature)
    write_bytes(output, content)
    return BundleResult(
        output=str(output),
        sha256=sha256_hex(inside),
        bundle_sha256=sha256_hex(content),
        bytes=len(content),
        manifest=manifest,
        signed=bool(signature),
        warnings=tuple(warnings),
    )


def _entry(path: str, role: str, content: bytes) -> tuple[BundleFile, bytes]:
    return BundleFile(path, role, len(content), sha256_hex(content)), content


def _named_results(results: Sequence[Mapping[str, Any]]) -> list[tuple[BundleFile, bytes]]:
    entries: list[tuple[BundleFile, bytes]] = []
    for document in results:
        kind = str(document["schema"]).split(".", 1)[1].split("/")[0]
        same = sum(entry.path.startswith(f"results/{kind}") for entry, _ in entries)
        path = f"results/{kind}{f'-{same + 1}' if same else ''}.json"
        content = json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
        entries.append(_entry(path, "results", content))
    return entries


def _first(results: Sequence[Mapping[str, Any]], field: str) -> str:
    """Return ``field`` of the first result that has it."""
    return next((str(each[field]) for each in results if each.get(field)), "")


def _doubts(plain: Model, manifest: Manifest) -> list[str]:
    """Return warnings about what a device will miss."""
    warnings = []
    outputs = [plain.main.tensors[index] for index in plain.main.outputs]
    shape = outputs[0].shape if len(outputs) == 1 else ()
    is_classifier = len(shape) > 1 and shape[-1] > 1 and all(size == 1 for size in shape[:-1])
    if manifest.num_labels and is_classifier and manifest.num_labels != shape[-1]:
        warnings.append(f"{manifest.num_labels} labels for {shape[-1]} classes")
    warnings += _unstated_preprocessing(plain, manifest)
    floats = [t.name for t in outputs if t.dtype == "FLOAT32"]
    if floats:
        warnings.append(f"outputs of real numbers: {', '.join(floats)}")
    return warnings


def _unstated_preprocessing(plain: Model, manifest: Manifest) -> list[str]:
    """Return a warning with the device's choice if the bundle does not name a preprocessing."""
    tensors = [plain.main.tensors[index] for index in plain.main.inputs[:1]]
    images = [each for each in tensors if len(each.shape) == 4 and each.shape[3] in (1, 3)]
    if manifest.preprocess or not images:
        return []
    image = images[0]
    first = TensorInfo(
        image.name, image.shape, image.dtype.lower(), image.scale, image.zero_point, 0
    )
    wanted = wanted_by(plain)
    how = preprocess_for(None, wanted.scale if wanted else "", first.real_range, first.dtype)
    reason = preprocess_reason(None, wanted.reason if wanted else "", first.real_range)
    return [f"no preprocessing is given: a device will use {how}: {reason}"]
