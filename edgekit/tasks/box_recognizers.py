# SPDX-License-Identifier: Apache-2.0
"""Decoders of detectors whose boxes are computed here: YOLO and raw SSD."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from edgekit.data.numpy_files import read_npy
from edgekit.errors import DataError
from edgekit.formats.tflite import read_model
from edgekit.tasks import yolo_columns
from edgekit.tasks.case import Case, Raw
from edgekit.tasks.decoder import DETECTION, POSE, Decoder
from edgekit.tasks.detection import POSTPROCESS_OP
from edgekit.tasks.ssd import (
    SsdOptions,
    anchors_of,
    as_probabilities,
    decode_ssd,
    is_raw_ssd,
    make_anchors,
    split_raw_ssd,
)
from edgekit.tasks.yolo import Yolo
from edgekit.tasks.yolo_columns import read_stated
from edgekit.tasks.yolo_layout import find_layout
from edgekit.tasks.yolo_raw import read_raw_head

if TYPE_CHECKING:
    from numpy.typing import NDArray


# With larger steps between scores, thresholds are useless.
_COARSEST_SCORE = 0.1
_UNJUDGED = {yolo_columns.SEGMENT: "masks", yolo_columns.OBB: "angles"}


def yolo_decoder(case: Case) -> Decoder | None:
    """For a YOLO of any version and task.

    Raises:
        UnsupportedModelError: The outputs have the shapes of a YOLO, but not its values.
    """
    if case.input_shape == (0, 0):
        return None
    step = max(map(case.step, range(len(case.outputs))), default=0.0)
    layout = find_layout(
        case.shapes,
        case.input_shape,
        case.probe,
        read_stated(case.metadata),
        step,
        read_raw_head(case.metadata),
    )
    if layout is None:
        return None
    head, columns = layout
    given = case.options
    yolo = Yolo(
        head,
        columns,
        case.input_shape,
        given.yolo_score_threshold,
        given.iou_threshold,
        step,
    )
    shapes = [case.shapes[i] for i in head.parts]
    why = f"an output of the shape {shapes[0]}" if len(shapes) == 1 else f"outputs {shapes}"

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        return yolo.decode([case.real(raw, i) for i in range(len(case.outputs))])

    return Decoder(
        POSE if columns.task == yolo_columns.POSE else DETECTION,
        yolo.name,
        f"{why} for an input of {case.input_shape}",
        columns.num_classes,
        case.input_shape,
        decode,
        tuple(_coarse_scores(case)) if len(head.parts) == 1 else (),
        unjudged=_UNJUDGED.get(columns.task, ""),
    )


def _coarse_scores(case: Case) -> Iterator[str]:
    """Warn if boxes in pixels and scores up to 1 share a scale, so that scores have few values."""
    info = case.outputs[0]
    step = case.step(0)
    if step <= _COARSEST_SCORE:
        return
    model = case.prepared.source or "MODEL.tflite"
    remedy = "export with boxes as shares of the input (Ultralytics does so for TFLite)"
    from edgekit.rewrite.outputs import separate_outputs  # noqa: PLC0415 - for the few that need it

    if separate_outputs(case.prepared.model) is not None:
        remedy = (
            "make the scores a separate output: edgekit fix "
            f"{shlex.quote(model)} --rule outputs -o {shlex.quote(_beside(model))}"
        )
    yield (
        f"boxes and scores share the output {info.name}, in steps of {step:.3g}: scores "
        f"between 0 and 1 are lost, objects with them; {remedy}"
    )


def _beside(model: str) -> str:
    path = Path(model)
    return str(path.with_name(f"{path.stem}_fixed.tflite"))


def ssd_decoder(case: Case) -> Decoder | None:
    """For box encodings and class scores of SSD's anchors.

    Raises:
        UnsupportedModelError: The number of anchors is not that of SSD on MobileNet.
        DataError: The given anchors do not fit.
    """
    if not is_raw_ssd(case.shapes) or case.input_shape == (0, 0):
        return None
    boxes = next(i for i, shape in enumerate(case.shapes) if shape[-1] == 4)
    scores = 1 - boxes
    rows = int(np.prod(case.shapes[boxes][1:-1]))
    anchors, how = _anchors(case, rows)
    least, most_overlap = case.options.box_threshold, case.options.iou_threshold
    if least is not None:
        how = replace(how, score_threshold=least)
    if most_overlap is not None:
        how = replace(how, iou_threshold=most_overlap)
    params = case.outputs[scores].params

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        encodings, values = split_raw_ssd([case.real(raw, 0), case.real(raw, 1)])
        real_range = (
            (float(values.min()), float(values.max()))
            if params is None
            else (params.real_min, params.real_max)
        )
        return decode_ssd(encodings, as_probabilities(values, real_range), anchors, how)

    why = f"two outputs of {rows} anchors: box encodings and class scores"
    classes = case.shapes[scores][-1] - 1
    return Decoder(DETECTION, "raw SSD", why, classes, case.input_shape, decode)


def _anchors(case: Case, rows: int) -> tuple[NDArray[Any], SsdOptions]:
    given = case.options.anchors
    if given is None:
        return make_anchors(case.input_shape, rows), SsdOptions()
    path = Path(given)
    if path.suffix == ".tflite":
        found = anchors_of(read_model(path))
        if found is None:
            raise DataError(f"the model has no {POSTPROCESS_OP} with anchors", where=str(path))
        anchors, how = found
    else:
        anchors, how = np.array(read_npy(path)), SsdOptions()
    if anchors.shape != (rows, 4):
        raise DataError(
            f"anchors of the shape {anchors.shape}, expected {(rows, 4)}", where=str(path)
        )
    return anchors, how
