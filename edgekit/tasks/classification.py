# SPDX-License-Identifier: Apache-2.0
"""Classifiers: one output with one score per class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from edgekit.quant import QuantParams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgekit.formats.tflite import Model
    from edgekit.runtime import TensorInfo

# Operators that only pass scores on, and operators whose values have no bounds.
_PASSING = frozenset(("DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE"))
_LINEAR = frozenset(("ADD", "CONV_2D", "FULLY_CONNECTED"))
_QUANTIZED = frozenset(("INT8", "UINT8", "INT16"))
_MARGIN = 0.1  # by which the range of a probability may be wider than 0..1

_LARGEST_LOGIT = 50.0
_FAR = 1.0  # in standard deviations: the distance of the mean from 0


def is_classifier(shapes: Sequence[Sequence[int]]) -> bool:
    """Whether outputs of these shapes are (batch, classes), or (batch, 1, 1, classes)."""
    return (
        len(shapes) == 1
        and len(shapes[0]) > 1
        and shapes[0][-1] > 0
        and all(size == 1 for size in shapes[0][1:-1])
    )


def may_be_far(params: QuantParams) -> bool:
    """Whether a quantized output can have numbers further from 0 than logits."""
    return max(-params.real_min, params.real_max) > _LARGEST_LOGIT


def are_scores(values: NDArray[Any]) -> bool:
    """Whether real outputs may be probabilities or logits, not numbers of a regression.

    Training with softmax does not move the mean of the logits away from its initial value near 0,
    because its gradients sum to 0 over the classes. Coordinates in pixels are far on one side.
    """
    if np.abs(values).max(initial=0) <= _LARGEST_LOGIT:
        return True
    return bool(abs(values.mean()) <= _FAR * values.std())


def holds_logits(model: Model, info: TensorInfo) -> bool:
    """Whether the scores of an output are logits (0 is in the middle), not probabilities.

    For a quantized output the range decides, else its operator: a TANH, or a dense layer, a
    convolution or an addition without an activation.

    Args:
        model: The loaded model.
        info: The output.
    """
    graph = model.main
    makers = {index: op for op in graph.operators for index in op.outputs}
    index, params = info.index, info.params
    while params is None:
        maker = makers.get(index)
        if maker is None or maker.opcode not in _PASSING:
            if maker is None or maker.opcode == "TANH":
                return maker is not None
            is_bare = maker.options.get("fused_activation_function") == "NONE"
            return is_bare and maker.opcode in _LINEAR
        index = maker.inputs[0]
        tensor = graph.tensors[index]
        if tensor.dtype in _QUANTIZED and tensor.scale:
            params = QuantParams(tensor.scale, int(tensor.zero_point or 0), tensor.dtype.lower())
    return params.real_min < -_MARGIN or params.real_max > 1 + _MARGIN


def ends_in_softmax(model: Model, info: TensorInfo) -> bool:
    """Whether the scores of an output are from a SOFTMAX, so that they sum to 1."""
    makers = {index: op for op in model.main.operators for index in op.outputs}
    maker = makers.get(info.index)
    while maker is not None and maker.opcode in _PASSING:
        maker = makers.get(maker.inputs[0])
    return maker is not None and maker.opcode == "SOFTMAX"


def binary_threshold(model: Model, info: TensorInfo) -> float:
    """Return the threshold above which a single score means the second of two classes."""
    return 0.0 if holds_logits(model, info) else 0.5


def class_scores(output: NDArray[Any], params: QuantParams | None) -> NDArray[Any]:
    """Return the score of each class, flat: in float64 if ``output`` is quantized, else unchanged.

    It is one product, exact for quantized outputs of 8 and 16 bits, and bit for bit the same as
    pycoral's ``classify.get_scores``.
    """
    flat = output.reshape(-1)
    if params is None:
        return flat
    real: NDArray[Any] = params.scale * (flat.astype(np.int64) - params.zero_point)
    return real


def top_classes(scores: NDArray[Any], most: int, least_score: float = -np.inf) -> list[int]:
    """Return the indices of the best classes, best first.

    The order of equal scores is that of ``numpy.argpartition``, so that the result is the same as
    that of pycoral's ``classify.get_classes``, class by class.

    Args:
        scores: (classes,), quantized or real.
        most: The largest number of classes; above zero.
        least_score: Classes below it are left out; in the units of ``scores``.
    """
    most = min(most, len(scores))
    best = [int(i) for i in np.argpartition(scores, -most)[-most:] if scores[i] >= least_score]
    return sorted(best, key=lambda index: float(scores[index]), reverse=True)
