# SPDX-License-Identifier: Apache-2.0
"""Prepare a model file or bundle for an interpreter without PosenetDecoderOp."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Sequence

import numpy as np

from edgekit.data import Preprocess, has_same_range, parse_preprocess
from edgekit.data.preprocess import fit_default
from edgekit.formats.model_file import ModelFile, ModelSource
from edgekit.formats.tflite import Model, Tensor
from edgekit.formats.tflite_metadata import Notes
from edgekit.quant import QuantParams
from edgekit.runtime.select import file_for
from edgekit.tasks.labels import attached_labels, ultralytics_task
from edgekit.tasks.posenet import PosenetOptions, without_decoder

# How Ultralytics' exports were trained and are run, by the task in their metadata.
ULTRALYTICS_PREPROCESS = {
    **dict.fromkeys(
        ("detect", "segment", "pose", "obb"), "unit,resize=letterbox,filter=cv2-linear"
    ),
    "classify": "unit,resize=crop,filter=bilinear",
}

ULTRALYTICS_REASON = "exports of Ultralytics are made for it"

# mediapipe/modules/*_detection/*.pbtxt: keep_aspect_ratio, BORDER_ZERO; the range of the pixels is
# 0..1 for palms, which have seven key points, and -1..1 for faces and people.
_MEDIAPIPE = "resize=letterbox,fill=0"
_PALM_KEYPOINTS = 7


@dataclass(frozen=True)
class Prepared:
    """A given model, and the model for a `Runner`."""

    file: ModelFile  # as given
    runnable: ModelFile  # as given; without PoseNet's decoder if there was one
    notes: Notes  # what the file states about its use
    posenet: PosenetOptions | None = None  # of the decoder that was removed
    preprocess_reason: str = ""  # why ``notes`` have this preprocessing; "" without one

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


def prepare(model: ModelSource, device: str = "cpu") -> Prepared:
    """Read ``model`` and remove the operator that no interpreter has; numpy computes it.

    Args:
        model: Path or content of a .tflite file or a bundle.
        device: Of a bundle, the model for this device is used.

    Raises:
        ModelFormatError: It is not a .tflite file, or is damaged.
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
    """Return the ``--preprocess`` text and why: from the file, else from its network."""
    known, reason = maker_preprocess(file)
    if known:
        return known, reason
    from edgekit.data.network_start import wanted_by  # noqa: PLC0415 - for files without a note

    wanted = wanted_by(file.model)
    return (wanted.scale, wanted.reason) if wanted else ("", "")


def maker_preprocess(file: ModelFile, model: Model | None = None) -> tuple[str, str]:
    """Return the ``--preprocess`` text and why, if the file or its outputs show who made it.

    Args:
        file: The file of the network. MediaPipe's files only state a normalization, without the
            resizing.
        model: The network, if it is not exactly the one in the file.

    Returns:
        Two empty texts for other networks.
    """
    noted, graph = file.notes.preprocess, (model or file.model).main
    tensors = [graph.tensors[index] for index in (*graph.inputs[:1], *graph.outputs)]
    shapes = [tensor.shape for tensor in tensors[1:]]
    is_image = bool(graph.inputs) and len(tensors[0].shape) == 4
    head = None
    if is_image and len(shapes) > 1:
        from edgekit.tasks.mediapipe import mediapipe_head  # noqa: PLC0415 - for detectors

        head = mediapipe_head(shapes, tensors[0].shape[1:3])
    if noted and (head is None or "resize=" in noted):
        return noted, "the model's file says so"
    if head is not None:
        scale = noted or _mediapipe_scale(head.num_keypoints, tensors[0])
        return f"{scale},{_MEDIAPIPE}", "MediaPipe runs its detectors in this way"
    known = ULTRALYTICS_PREPROCESS.get(ultralytics_task(file), "")
    return (known, ULTRALYTICS_REASON) if known else ("", "")


def _mediapipe_scale(num_keypoints: int, tensor: Tensor) -> str:
    """Return the range of a quantized input, else that of MediaPipe's graphs."""
    if tensor.quantization is not None and np.dtype(tensor.dtype.lower()).kind in "iu":
        dtype = tensor.dtype.lower()
        params = QuantParams(float(tensor.scale or 1), int(tensor.zero_point or 0), dtype)
        how = Preprocess(is_default=True)
        fitting = fit_default(how, (params.real_min, params.real_max), dtype)
        return str(fitting).partition(",resize=")[0]
    return "unit" if num_keypoints == _PALM_KEYPOINTS else "tf"


def preprocess_warning(requested: str | Preprocess | None, prepared: Prepared) -> str:
    """Return a warning if ``requested`` contradicts the network or its file, else ""."""
    if requested is None:
        return ""
    from edgekit.data.network_start import contradiction, wanted_by  # noqa: PLC0415 - as above

    how = parse_preprocess(requested)
    wanted = wanted_by(prepared.model)
    if wanted is not None:
        return contradiction(wanted, how)
    noted = prepared.notes.preprocess
    if not noted or has_same_range(how, parse_preprocess(noted)):
        return ""
    return (
        f"--preprocess {how} is not what the model was made for, {noted}: "
        f"{prepared.preprocess_reason}; leave out --preprocess"
    )


def other_pixels_warning(how: Preprocess, prepared: Sequence[Prepared]) -> str:
    """Return a warning if the second of two models was made for other pixels, else "".

    Args:
        how: The preprocessing for both.
        prepared: One model, or two.
    """
    noted = prepared[1].notes.preprocess if len(prepared) > 1 else ""
    if not noted or has_same_range(how, parse_preprocess(noted)):
        return ""
    other = shlex.quote(prepared[1].source or "MODEL")
    return (
        f"{prepared[1].source or 'the other model'} was made for other pixels than it gets, "
        f"{noted}: {prepared[1].preprocess_reason}; its results here are wrong; next: "
        f"edgekit evaluate {other} --data DATA, by itself"
    )


def model_labels(prepared: Prepared, num_classes: int) -> list[str]:
    """Return the names in the model's metadata, bundle or attachments; empty if none fit."""
    noted = list(prepared.notes.labels)
    if noted and (not num_classes or len(noted) == num_classes):
        return noted
    return attached_labels(prepared.file, num_classes)
