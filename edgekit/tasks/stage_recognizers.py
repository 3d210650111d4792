# SPDX-License-Identifier: Apache-2.0
"""Decoders of MediaPipe's detectors and landmark networks. MTCNN's stages do not have one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from edgekit.errors import UnsupportedModelError
from edgekit.tasks.case import Case, Raw
from edgekit.tasks.decoder import DETECTION, POSE, Decoder
from edgekit.tasks.landmarks import decode_landmarks, landmark_head
from edgekit.tasks.mediapipe import decode_mediapipe, mediapipe_head, scores_of_logits

if TYPE_CHECKING:
    from edgekit.runtime import TensorInfo

_LEAST_SCORE = 0.5  # as in MediaPipe
# With larger steps between logits, thresholds are useless: the next score above 0.5 is 0.73.
_COARSEST_LOGIT = 1.0
_MTCNN = "they are those of MTCNN's"


def mediapipe_decoder(case: Case) -> Decoder | None:
    """Return a decoder for MediaPipe's detectors of faces, palms and people."""
    head = mediapipe_head(case.shapes, case.input_shape)
    if head is None:
        return None
    given = case.options
    least = _LEAST_SCORE if given.score_threshold is None else given.score_threshold
    extra = {} if given.iou_threshold is None else {"iou_threshold": given.iou_threshold}
    is_logit = not all(map(case.is_probability, head.scores))

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        regressors, scores = (
            np.concatenate([case.real(raw, i) for i in parts], axis=1)
            for parts in (head.regressors, head.scores)
        )
        odds = scores_of_logits(scores) if is_logit else scores
        return decode_mediapipe(regressors, odds, head, case.input_shape, least, **extra)

    why = (
        f"regressors and scores of {len(head.anchors_xy)} anchors, with {head.num_keypoints} key "
        f"points, for an input of {case.input_shape}"
    )
    return Decoder(
        DETECTION,
        "MediaPipe SSD",
        why,
        1,
        case.input_shape,
        decode,
        tuple(each for i in head.scores for each in _coarse_logits(case.outputs[i]) if is_logit),
        score_threshold=least,
        unjudged="key points" if head.num_keypoints else "",
    )


def _coarse_logits(info: TensorInfo) -> Iterator[str]:
    """Warn if logits far below 0 share a coarse scale with the few that matter."""
    params = info.params
    if params is None:
        return
    from edgekit.runtime.channels import LOGIT_DECISION  # noqa: PLC0415 - seldom used

    step, largest = params.scale, params.real_max
    if largest <= LOGIT_DECISION:
        problem = f"none is above {largest:.3g}: no score is above {_share(largest)}"
    elif step > _COARSEST_LOGIT:
        problem = f"between 0.5 and {_share(step)} there is no score"
    else:
        return
    yield (
        f"the scores of {info.name} are logits in steps of {step:.3g}, and {problem}, so objects "
        "are lost or false; edgekit evaluate MODEL.tflite --data DATA --against FLOAT.tflite "
        "counts them"
    )


def _share(logit: float) -> str:
    return f"{float(scores_of_logits(np.array(logit))):.2g}"


def landmark_decoder(case: Case) -> Decoder | None:
    """Return a decoder for the points of one face, hand or body."""
    if sum(int(np.prod(shape)) == 1 for shape in case.shapes) < 1 or len(case.shapes) < 2:
        return None
    seen = case.probe()
    head = None if seen is None else landmark_head(seen, case.input_shape)
    if head is None:
        return None
    is_logit = not case.is_probability(head.presence)
    given = case.options.score_threshold
    least = _LEAST_SCORE if given is None else given

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        outputs = [case.real(raw, i) for i in range(len(case.outputs))]
        return decode_landmarks(outputs, head, case.input_shape, least, is_logit=is_logit)

    why = f"{head.num_points} points in pixels of the input, and their presence"
    return Decoder(POSE, "landmarks", why, 0, case.input_shape, decode, score_threshold=least)


def cascade_decoder(case: Case) -> Decoder | None:
    """Refuse the stages of MTCNN, which cannot be decoded alone.

    Raises:
        UnsupportedModelError: The model is such a stage.
    """
    shapes = [tuple(shape) for shape in case.shapes]
    flat = sorted(int(np.prod(shape)) for shape in shapes)
    if all(len(shape) == 4 for shape in shapes):
        places = {shape[1:3] for shape in shapes}
        values = sorted(shape[3] for shape in shapes)
        side = case.input_shape[0]
        # Three 3x3 convolutions without padding and one 2x2 pooling (Zhang et al., 1604.02878).
        is_first = len(places) == 1 and values in ([2, 4], [2, 4, 10])
        if is_first and next(iter(places))[0] in ((side - 2) // 2 - 4, (side - 1) // 2 - 4):
            raise UnsupportedModelError(f"{_MTCNN} P-Net, whose boxes need the other two stages")
    elif flat in ([2, 4], [2, 4, 10]) and case.input_shape in ((24, 24), (48, 48)):
        stage = "R-Net" if case.input_shape == (24, 24) else "O-Net"
        raise UnsupportedModelError(f"{_MTCNN} {stage}, which corrects the boxes of another stage")
    return None
