# SPDX-License-Identifier: Apache-2.0
"""A model file or bundle, made ready for an interpreter that has no PosenetDecoderOp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.data import has_same_range, parse_preprocess
from edgekit.data.network_start import contradiction, wanted_by
from edgekit.files import PathLike, read_bytes, sha256_hex
from edgekit.formats.tflite import Model, read_model, write_model
from edgekit.formats.tflite_metadata import Notes, read_notes
from edgekit.runtime.select import content_for
from edgekit.tasks.labels import attached_labels, ultralytics_task
from edgekit.tasks.posenet import PosenetOptions, without_decoder

if TYPE_CHECKING:
    from typing import Union

    from edgekit.data import Preprocess

    ModelSource = Union[bytes, PathLike]


# How Ultralytics' exports, by the task that their metadata names, were trained and are run.
_ULTRALYTICS = {
    **dict.fromkeys(
        ("detect", "segment", "pose", "obb"), "unit,resize=letterbox,filter=cv2-linear"
    ),
    "classify": "unit,resize=crop,filter=bilinear",
}


@dataclass(frozen=True)
class Prepared:
    """A model as it was given, and what a `Runner` gets."""

    source: str  # a path, "" for bytes
    sha256: str  # of the model, as it is in the file or bundle
    model: Model  # as given
    original: bytes  # the model's file; of a bundle, the model in it
    runnable: ModelSource  # as given; without PoseNet's decoder if there was one
    notes: Notes  # what the file says about its use
    posenet: PosenetOptions | None = None  # of the decoder that was cut off
    preprocess_reason: str = ""  # why ``notes`` say which preprocessing; "" where they do not


def prepare(model: ModelSource, device: str = "cpu") -> Prepared:
    """Read ``model`` and cut off the operator that no interpreter runs but numpy can.

    Args:
        model: Path or content of a .tflite file or a bundle.
        device: Of a bundle the model for this device is taken.

    Raises:
        ModelFormatError: It is no .tflite file, or a damaged one.
        BundleError: It is a damaged bundle.
        InputError: The file cannot be read.
    """
    is_content = isinstance(model, (bytes, bytearray, memoryview))
    source = "" if is_content else str(model)
    given = bytes(model) if is_content else read_bytes(Path(source), "model")  # type: ignore[arg-type] # decided by is_content
    content = content_for(device, given, source)
    parsed = read_model(content, where=source)
    cut = without_decoder(parsed)
    runnable: ModelSource = model if cut is None else write_model(cut[0])
    notes = read_notes(given, parsed)
    how, reason = _preprocess(notes, parsed, content)
    notes = replace(notes, preprocess=how)
    return Prepared(
        source,
        sha256_hex(content),
        parsed,
        content,
        runnable,
        notes,
        None if cut is None else cut[1],
        reason,
    )


def _preprocess(notes: Notes, model: Model, content: bytes) -> tuple[str, str]:
    """``--preprocess`` text and why: what the file says, else what its network shows."""
    if notes.preprocess:
        return notes.preprocess, "the model's file says so"
    known = _ULTRALYTICS.get(ultralytics_task(content), "")
    if known:
        return known, "exports of Ultralytics are made for it"
    wanted = wanted_by(model)
    return (wanted.scale, wanted.reason) if wanted else ("", "")


def preprocess_doubt(asked: str | Preprocess | None, prepared: Prepared) -> str:
    """The warning that ``asked`` contradicts the network or its file; empty if it does not."""
    if asked is None:
        return ""
    how = parse_preprocess(asked)
    wanted = wanted_by(prepared.model)
    if wanted is not None:
        return contradiction(wanted, how)
    noted = prepared.notes.preprocess
    if not noted or has_same_range(how, parse_preprocess(noted)):
        return ""
    return (
        f"--preprocess {how} is not what the model was made for, {noted}: "
        f"{prepared.preprocess_reason}; leave --preprocess out"
    )


def model_labels(prepared: Prepared, num_classes: int) -> list[str]:
    """Names in the model's own metadata, bundle or attachments; empty where none fit."""
    noted = list(prepared.notes.labels)
    if noted and (not num_classes or len(noted) == num_classes):
        return noted
    return attached_labels(prepared.original, num_classes)
