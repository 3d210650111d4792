# SPDX-License-Identifier: Apache-2.0
"""A model file or bundle, made ready for an interpreter that has no PosenetDecoderOp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgekit.data import has_same_range, parse_preprocess
from edgekit.data.network_start import contradiction, wanted_by
from edgekit.formats.model_file import ModelFile, ModelSource
from edgekit.formats.tflite import Model
from edgekit.formats.tflite_metadata import Notes
from edgekit.runtime.select import file_for
from edgekit.tasks.labels import attached_labels, ultralytics_task
from edgekit.tasks.posenet import PosenetOptions, without_decoder

if TYPE_CHECKING:
    from edgekit.data import Preprocess

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

    file: ModelFile  # as given
    runnable: ModelFile  # as given; without PoseNet's decoder if there was one
    notes: Notes  # what the file says about its use
    posenet: PosenetOptions | None = None  # of the decoder that was cut off
    preprocess_reason: str = ""  # why ``notes`` say which preprocessing; "" where they do not

    @property
    def source(self) -> str:
        """The file's path; empty for bytes."""
        return self.file.path

    @property
    def sha256(self) -> str:
        """The hash of the model, as it is in the file or bundle."""
        return self.file.sha256

    @property
    def model(self) -> Model:
        """The model as given."""
        return self.file.model

    @property
    def original(self) -> bytes:
        """The model's bytes; of a bundle, the model in it."""
        return self.file.content


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
    file = file_for(device, model)
    cut = without_decoder(file.model)
    runnable = file if cut is None else ModelFile.of(cut[0])
    how, reason = _preprocess(file)
    notes = replace(file.notes, preprocess=how)
    return Prepared(file, runnable, notes, None if cut is None else cut[1], reason)


def _preprocess(file: ModelFile) -> tuple[str, str]:
    """``--preprocess`` text and why: what the file says, else what its network shows."""
    if file.notes.preprocess:
        return file.notes.preprocess, "the model's file says so"
    known = _ULTRALYTICS.get(ultralytics_task(file.content), "")
    if known:
        return known, "exports of Ultralytics are made for it"
    wanted = wanted_by(file.model)
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
