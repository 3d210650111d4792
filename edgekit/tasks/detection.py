# SPDX-License-Identifier: Apache-2.0
"""Detectors that end in TFLite_Detection_PostProcess: boxes, classes, scores, count."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.tasks.boxes import Detections, check_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite import Model

POSTPROCESS_OP = "TFLite_Detection_PostProcess"


def postprocess_order(model: Model, indices: Sequence[int]) -> tuple[int, ...] | None:
    """Return the positions of boxes, classes, scores and count in the model's outputs.

    TensorFlow 1 exports them in the operator's order, TensorFlow 2 in another; the operator's own
    outputs show which is which.

    Args:
        model: The model, compiled or not: the operator stays on the CPU.
        indices: The tensor of each output, in the interpreter's order.

    Returns:
        Four positions; None if the model does not end in the operator.
    """
    for operator in model.main.operators:
        if operator.custom_code == POSTPROCESS_OP and set(operator.outputs[:4]) <= set(indices):
            return tuple(list(indices).index(each) for each in operator.outputs[:4])
    return None


def order_by_shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """Like `postprocess_order`, for a model without the operator, by shapes only.

    Shapes do not distinguish the two outputs of (1, n): in the operator's order classes come before
    scores, in TensorFlow 2's scores come first. None if the shapes do not fit.
    """
    sizes = [tuple(shape) for shape in shapes]
    if len(sizes) != 4 or sorted(map(len, sizes)) not in ([1, 2, 2, 3], [2, 2, 2, 3]):
        return None
    boxes = next(i for i, shape in enumerate(sizes) if len(shape) == 3)
    # With one slot for objects, classes and scores also have one number.
    single = [i for i, shape in enumerate(sizes) if np.prod(shape) == 1]
    if sizes[boxes][-1] != 4 or not single:
        return None
    count = max(single, key=lambda i: (len(sizes[i]) == 1, i))
    first, second = (i for i in range(4) if i not in (boxes, count))
    if not sizes[first] == sizes[second] == sizes[boxes][:2]:
        return None
    return (boxes, first, second, count) if boxes == 0 else (boxes, second, first, count)


def order_by_values(outputs: Sequence[NDArray[Any]], order: tuple[int, ...]) -> tuple[int, ...]:
    """Return ``order`` of `order_by_shape`, with classes and scores exchanged if values show it.

    Args:
        outputs: The outputs for any image, in real values.
        order: The assumed positions of boxes, classes, scores and count.
    """
    boxes, classes, scores, count = order
    number = _number(outputs[count])
    first, second = outputs[classes][0, :number], outputs[scores][0, :number]
    if _are_numbers(first) or not _are_numbers(second):
        return order
    return boxes, scores, classes, count


def _are_numbers(values: NDArray[Any]) -> bool:
    """Whether ``values`` may be class numbers."""
    return bool((values == np.rint(values)).all() and (values >= 0).all())


def used_slots(outputs: Sequence[NDArray[Any]], order: Sequence[int]) -> tuple[NDArray[Any], ...]:
    """Return ``outputs`` without the slots after the count, which have undefined values.

    Args:
        outputs: The model's outputs, in real values.
        order: The result of `postprocess_order`.
    """
    boxes, classes, scores, count = order
    number = _number(outputs[count])
    slots = {boxes, classes, scores}
    return tuple(each[:, :number] if i in slots else each for i, each in enumerate(outputs))


def decode_postprocess(
    boxes: NDArray[Any], classes: NDArray[Any], scores: NDArray[Any], count: NDArray[Any]
) -> Detections:
    """Return the objects in the operator's outputs.

    Args:
        boxes: (1, n, 4), normalized (ymin, xmin, ymax, xmax).
        classes: (1, n), background not counted, as real numbers.
        scores: (1, n).
        count: One number: how many of the n are objects.

    Raises:
        UnsupportedModelError: A score is outside 0..1.
    """
    number = _number(count)
    check_scores(scores[0, :number], POSTPROCESS_OP)
    numbers, certainty = classes[0, :number], scores[0, :number]
    rows = np.isfinite(boxes[0, :number]).all(axis=1) & np.isfinite(numbers + certainty)
    return Detections(
        boxes[0, :number][rows].astype(np.float32),
        numbers[rows].astype(np.int64),
        certainty[rows].astype(np.float32),
    )


def _number(count: NDArray[Any]) -> int:
    """Return the number of objects; 0 if the count is NaN or infinity."""
    value = float(count.ravel()[0])
    return max(0, int(value)) if math.isfinite(value) else 0
