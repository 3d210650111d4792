# SPDX-License-Identifier: Apache-2.0
"""Which task a model is for: from its operators, the form of its outputs, or its metadata."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import numpy as np

from edgekit.errors import DataError, UnsupportedModelError
from edgekit.formats.tflite import read_model
from edgekit.quant import dequantize
from edgekit.tasks.classification import class_scores, is_classifier
from edgekit.tasks.custom_options import read_custom_options
from edgekit.tasks.decoder import (
    CLASSIFICATION,
    DETECTION,
    NONE,
    POSE,
    SEGMENTATION,
    TASKS,
    Decoder,
    Mask,
    Scores,
    check_task,
)
from edgekit.tasks.detection import (
    POSTPROCESS_OP,
    decode_postprocess,
    order_by_shape,
    postprocess_order,
)
from edgekit.tasks.labels import ultralytics_task
from edgekit.tasks.movenet import decode_movenet, is_movenet
from edgekit.tasks.posenet import DECODER_OP, PosenetOptions, decode_posenet, is_posenet
from edgekit.tasks.segmentation import decode_mask, is_segmentation, num_mask_classes
from edgekit.tasks.ssd import (
    SsdOptions,
    anchors_of,
    as_probabilities,
    decode_ssd,
    is_raw_ssd,
    make_anchors,
    split_raw_ssd,
)
from edgekit.tasks.yolo import decode_yolo, yolo_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.files import PathLike
    from edgekit.runtime import Runner, TensorInfo
    from edgekit.tasks.prepare import Prepared

Raw = Sequence["NDArray[Any]"]
# A step between two scores above which thresholds mean nothing.
_COARSEST_SCORE = 0.1
# What Ultralytics' metadata calls a task; without metadata the outputs tell.
_ULTRALYTICS = {"": None, "detect": DETECTION, "classify": CLASSIFICATION}


@dataclass(frozen=True)
class DecodeOptions:
    """What the user may set; None leaves a decoder's own default."""

    score_threshold: float | None = None
    iou_threshold: float | None = None
    anchors: PathLike | None = None  # .npy, or a .tflite that holds them


@dataclass(frozen=True)
class _Case:
    """All that a recognizer looks at."""

    prepared: Prepared
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    options: DecodeOptions

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [info.shape for info in self.outputs]

    @property
    def input_shape(self) -> tuple[int, int]:
        """(height, width) of the first input that an image fills; (0, 0) without one."""
        for info in self.inputs:
            if len(info.shape) == 4 and info.shape[3] in (1, 3):
                return info.shape[1], info.shape[2]
        return 0, 0

    def real(self, raw: Raw, index: int) -> NDArray[Any]:
        params = self.outputs[index].params
        return raw[index] if params is None else dequantize(raw[index], params)


def choose_decoder(
    prepared: Prepared,
    runner: Runner,
    task: str | None = None,
    options: DecodeOptions | None = None,
) -> Decoder:
    """How to read the outputs of ``runner``, which runs ``prepared.runnable``.

    Args:
        prepared: The model as given.
        runner: Loaded with it.
        task: One of `TASKS`; None guesses.
        options: Thresholds and anchors.

    Raises:
        UsageError: There is no such task.
        UnsupportedModelError: The outputs cannot be those of ``task``.
    """
    if task is not None:
        check_task(task)
    case = _Case(prepared, runner.inputs, runner.outputs, options or DecodeOptions())
    if task is None and prepared.notes.task in TASKS:
        return choose_decoder(prepared, runner, prepared.notes.task, options)
    stated = ultralytics_task(prepared.original)
    if task is None and stated not in _ULTRALYTICS:
        why = f"its metadata says that it is for {stated!r}, which edgekit does not decode"
        return Decoder(NONE, "raw tensors", why, 0, case.input_shape, lambda _raw: None)
    wanted = task or _ULTRALYTICS[stated]
    for recognized_task, recognize in _RECOGNIZERS:
        if wanted is not None and recognized_task != wanted:
            continue
        decoder = recognize(case)
        if decoder is not None:
            return decoder if task is None else replace(decoder, why=f"--task {task}")
    if task not in (None, NONE):
        raise UnsupportedModelError(
            f"the model's outputs are not those of {task}: their shapes are {case.shapes}",
            where=prepared.source,
            fix="leave --task out to see what they look like",
        )
    why = "--task none" if task else f"outputs of the shapes {case.shapes} are of no known task"
    return Decoder(NONE, "raw tensors", why, 0, case.input_shape, lambda _raw: None)


def _posenet(case: _Case) -> Decoder | None:
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


def _movenet(case: _Case) -> Decoder | None:
    if not is_movenet(case.shapes):
        return None
    why = f"an output of the shape {case.shapes[0]}, key points as MoveNet gives them"
    least = case.options.score_threshold

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        output = case.real(raw, 0)
        return decode_movenet(output) if least is None else decode_movenet(output, least)

    return Decoder(POSE, "MoveNet", why, 0, case.input_shape, decode)


def _postprocess(case: _Case) -> Decoder | None:
    order = postprocess_order(case.prepared.model, [info.index for info in case.outputs])
    why = f"it ends in {POSTPROCESS_OP}"
    if order is None:
        order = order_by_shape(case.shapes)
        why = "four outputs: boxes, classes, scores and a count"
    if order is None:
        return None
    places, least = order, case.options.score_threshold

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        found = decode_postprocess(*(case.real(raw, i) for i in places))
        return found if least is None else found.at_least(least)

    classes = _postprocess_classes(case)
    return Decoder(DETECTION, POSTPROCESS_OP, why, classes, case.input_shape, decode)


def _postprocess_classes(case: _Case) -> int:
    for operator in case.prepared.model.main.operators:
        if operator.custom_code == POSTPROCESS_OP:
            return int(read_custom_options(operator).get("num_classes", 0))
    return 0


def _yolo(case: _Case) -> Decoder | None:
    layout = yolo_layout(case.shapes, case.input_shape)
    if layout is None or case.input_shape == (0, 0):
        return None
    given = case.options
    set_by_user = {
        "score_threshold": given.score_threshold,
        "iou_threshold": given.iou_threshold,
    }
    extra: dict[str, Any] = {k: v for k, v in set_by_user.items() if v is not None}
    why = f"an output of the shape {case.shapes[0]} for an input of {case.input_shape}"

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        return decode_yolo(case.real(raw, 0), layout, case.input_shape, **extra)

    return Decoder(
        DETECTION,
        layout.version,
        why,
        layout.num_classes,
        case.input_shape,
        decode,
        tuple(_coarse_scores(case.outputs[0])),
    )


def _coarse_scores(info: TensorInfo) -> Iterator[str]:
    """One scale for boxes in pixels and scores up to 1 leaves the scores next to no values."""
    step = 0.0 if info.params is None else float(np.max(info.params.scale))
    if step > _COARSEST_SCORE:
        yield (
            f"boxes and scores share the output {info.name}, in steps of {step:.3g}: scores "
            "between 0 and 1 are lost, objects with them; export with boxes as shares of the input "
            "(Ultralytics does so for TFLite), or with scores as an output of their own"
        )


def _raw_ssd(case: _Case) -> Decoder | None:
    if not is_raw_ssd(case.shapes) or case.input_shape == (0, 0):
        return None
    boxes = next(i for i, shape in enumerate(case.shapes) if shape[-1] == 4)
    scores = 1 - boxes
    rows = int(np.prod(case.shapes[boxes][1:-1]))
    anchors, how = _anchors(case, rows)
    least, most_overlap = case.options.score_threshold, case.options.iou_threshold
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


def _anchors(case: _Case, rows: int) -> tuple[NDArray[Any], SsdOptions]:
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
        try:
            anchors, how = np.load(str(path), allow_pickle=False), SsdOptions()
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"cannot read the anchors: {error}", where=str(path)) from error
    if anchors.shape != (rows, 4):
        raise DataError(
            f"anchors of the shape {anchors.shape}, expected {(rows, 4)}", where=str(path)
        )
    return anchors, how


def _segmentation(case: _Case) -> Decoder | None:
    if not is_segmentation(case.shapes, case.input_shape):
        return None
    info, shape = case.outputs[0], case.shapes[0]
    is_integer = info.params is None and info.dtype.startswith(("int", "uint"))
    has_planes = len(shape) == 4 and shape[-1] > 1
    if not (is_integer or has_planes or _is_probability(info)):
        return None
    classes = num_mask_classes(shape, is_integer=is_integer) or _argmax_classes(case)

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        # The order of quantized scores is that of the real ones.
        values = raw[0] if has_planes or is_integer else case.real(raw, 0)
        return Mask(decode_mask(values, is_integer=is_integer))

    why = f"one output of the shape {shape} over an input of {case.input_shape}"
    return Decoder(SEGMENTATION, "class a pixel", why, classes, case.input_shape, decode)


def _is_probability(info: TensorInfo) -> bool:
    params = info.params
    return params is not None and params.real_min >= -0.01 and 0.9 <= params.real_max <= 1.1


def _argmax_classes(case: _Case) -> int:
    """How many classes an ARG_MAX at the end chooses among; 0 without one."""
    graph = case.prepared.model.main
    for operator in graph.operators:
        if operator.opcode == "ARG_MAX" and case.outputs[0].index in operator.outputs:
            shape = graph.tensors[operator.inputs[0]].shape
            return shape[-1] if shape else 0
    return 0


def _classification(case: _Case) -> Decoder | None:
    if not is_classifier(case.shapes):
        return None
    classes = max(2, case.shapes[0][-1])  # one number is a sigmoid between two classes

    def decode(raw: Raw) -> Any:  # noqa: ANN401
        return Scores(class_scores(raw[0], case.outputs[0].params))

    why = f"one output of the shape {case.shapes[0]}"
    return Decoder(CLASSIFICATION, "score a class", why, classes, case.input_shape, decode)


# In this order: what an operator proves before what a shape suggests.
_RECOGNIZERS: tuple[tuple[str, Callable[[_Case], Decoder | None]], ...] = (
    (POSE, _posenet),
    (DETECTION, _postprocess),
    (POSE, _movenet),
    (DETECTION, _yolo),
    (DETECTION, _raw_ssd),
    (SEGMENTATION, _segmentation),
    (CLASSIFICATION, _classification),
)
