# SPDX-License-Identifier: Apache-2.0
"""Decoders of pose networks, finished detectors, masks and classifiers: recognized by structure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.tasks.case import PROBABILITIES, Case, Raw
from edgekit.tasks.classification import (
    are_scores,
    binary_threshold,
    class_scores,
    holds_logits,
    is_classifier,
    may_be_far,
)
from edgekit.tasks.custom_options import read_custom_options
from edgekit.tasks.decoder import (
    CLASSIFICATION,
    DETECTION,
    MULTILABEL,
    POSE,
    REGRESSION,
    SEGMENTATION,
    Decoder,
    Mask,
    Scores,
    Values,
)
from edgekit.tasks.detection import (
    POSTPROCESS_OP,
    decode_postprocess,
    order_by_shape,
    order_by_values,
    postprocess_order,
    used_slots,
)
from edgekit.tasks.movenet import decode_movenet, is_movenet
from edgekit.tasks.posenet import DECODER_OP, PosenetOptions, decode_posenet, is_posenet
from edgekit.tasks.segmentation import decode_mask, is_segmentation, num_mask_classes


def posenet_decoder(case: Case) -> Decoder | None:
    """Return a decoder for PoseNet, with or without PosenetDecoderOp in the model."""
    how = case.prepared.posenet
    why = f"it ended in {DECODER_OP}, computed in numpy here"
    if how is None:
        if not is_posenet(case.shapes):
            return None
        rows, columns = case.shapes[0][1:3]
        stride = max(1, round((case.input_shape[0] - 1) / max(1, rows - 1)))
        how = PosenetOptions(stride=stride)
        why = f"heat maps and offsets of {rows}x{columns} places for 17 key points"
    if case.options.score_threshold is not None:
        how = replace(how, score_threshold=case.options.score_threshold)

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        maps = [case.real(raw, i) for i in range(3)]
        return decode_posenet(maps[0], maps[1], maps[2], case.input_shape, how)

    return Decoder(POSE, "PoseNet", why, 0, case.input_shape, decode)


def movenet_decoder(case: Case) -> Decoder | None:
    """Return a decoder for MoveNet, of one person or several."""
    if not is_movenet(case.shapes):
        return None
    why = f"an output of the shape {case.shapes[0]}, key points as MoveNet returns them"
    least = case.options.score_threshold

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        output = case.real(raw, 0)
        return decode_movenet(output) if least is None else decode_movenet(output, least)

    return Decoder(POSE, "MoveNet", why, 0, case.input_shape, decode)


def postprocess_decoder(case: Case) -> Decoder | None:
    """Return a decoder for TFLite_Detection_PostProcess, or for outputs like its."""
    order = postprocess_order(case.prepared.model, [info.index for info in case.outputs])
    why = f"it ends in {POSTPROCESS_OP}"
    if order is None:
        order = order_by_shape(case.shapes)
        why = "four outputs: boxes, classes, scores and a count"
        seen = None if order is None else case.probe()
        if order is not None and seen is not None:
            order = order_by_values(seen, order)
    if order is None:
        return None
    places, least = order, case.options.box_threshold

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        found = decode_postprocess(*(case.real(raw, i) for i in places))
        return found if least is None else found.at_least(least)

    classes = _postprocess_classes(case)
    return Decoder(
        DETECTION,
        POSTPROCESS_OP,
        why,
        classes,
        case.input_shape,
        decode,
        counted=lambda outputs: used_slots(outputs, places),
    )


def _postprocess_classes(case: Case) -> int:
    for operator in case.prepared.model.main.operators:
        if operator.custom_code == POSTPROCESS_OP:
            return int(read_custom_options(operator).get("num_classes", 0))
    return 0


def mask_decoder(case: Case) -> Decoder | None:
    """Return a decoder for one class per pixel."""
    if not is_segmentation(case.shapes, case.input_shape):
        return None
    info, shape = case.outputs[0], case.shapes[0]
    is_integer = info.params is None and info.dtype.startswith(("int", "uint"))
    has_planes = len(shape) == 4 and shape[-1] > 1
    is_requested = case.task == SEGMENTATION
    if not (is_integer or has_planes or is_requested or case.is_probability(0)):
        return None
    classes = num_mask_classes(shape, is_integer=is_integer) or _argmax_classes(case)

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        # Quantized scores have the same order as real ones.
        values = raw[0] if has_planes or is_integer else case.real(raw, 0)
        return Mask(decode_mask(values, is_integer=is_integer))

    why = f"one output of the shape {shape} over an input of {case.input_shape}"
    return Decoder(SEGMENTATION, "class a pixel", why, classes, case.input_shape, decode)


def _argmax_classes(case: Case) -> int:
    """Return the number of classes of an ARG_MAX at the end; 0 without one."""
    graph = case.prepared.model.main
    for operator in graph.operators:
        if operator.opcode == "ARG_MAX" and case.outputs[0].index in operator.outputs:
            shape = graph.tensors[operator.inputs[0]].shape
            return shape[-1] if shape else 0
    return 0


def class_decoder(case: Case) -> Decoder | None:
    """Return a decoder for one score per class.

    Raises:
        UnsupportedModelError: The numbers are not scores: an embedding, or far from logits.
    """
    if not is_classifier(case.shapes):
        return None
    if case.task != CLASSIFICATION:
        _check_scores(case)
    classes = max(2, case.shapes[0][-1])  # one number is the sigmoid of two classes
    is_logit = classes == 2 and holds_logits(case.runner.model, case.outputs[0])
    middle = 0.0 if is_logit else 0.5

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        scores = class_scores(raw[0], case.outputs[0].params)
        return Scores(scores, middle if len(scores) == 1 else None, is_logit)

    why = f"one output of the shape {case.shapes[0]}"
    return Decoder(CLASSIFICATION, "score a class", why, classes, case.input_shape, decode)


def _check_scores(case: Case) -> None:
    """Raise UnsupportedModelError if the numbers of a possible classifier are not scores."""
    opcode = case.opcode_before(0)
    if opcode == "L2_NORMALIZATION":
        raise UnsupportedModelError("they are of unit length (L2_NORMALIZATION): an embedding")
    params = case.outputs[0].params
    if opcode in PROBABILITIES or (params is not None and not may_be_far(params)):
        return
    seen = case.probe()
    if seen is not None and not are_scores(seen[0]):
        raise UnsupportedModelError(
            f"numbers from {seen[0].min():.4g} to {seen[0].max():.4g} are neither probabilities "
            "nor logits, but like a regression (--task classification reads them as scores)"
        )


def label_decoder(case: Case) -> Decoder | None:
    """Return a decoder for scores of classes that may all be true; only if it is requested."""
    if case.task != MULTILABEL or not is_classifier(case.shapes) or case.shapes[0][-1] < 2:
        return None
    given = case.options.score_threshold
    middle = binary_threshold(case.runner.model, case.outputs[0])
    threshold = middle if given is None else given

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        return Scores(class_scores(raw[0], case.outputs[0].params), threshold)

    why = f"one output of the shape {case.shapes[0]}"
    kind = f"score a class, which holds above {threshold:g}"
    return Decoder(MULTILABEL, kind, why, case.shapes[0][-1], case.input_shape, decode)


def value_decoder(case: Case) -> Decoder | None:
    """Return a decoder for real numbers; only if it is requested."""
    if case.task != REGRESSION:
        return None

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        real = [case.real(raw, index).reshape(-1) for index in range(len(raw))]
        return Values(np.concatenate(real))

    why = f"outputs of the shapes {case.shapes}"
    return Decoder(REGRESSION, "real values", why, 0, case.input_shape, decode)
