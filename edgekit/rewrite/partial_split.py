# SPDX-License-Identifier: Apache-2.0
"""Replace a SPLIT with unused outputs by one STRIDED_SLICE for each used output.

TFLiteConverter's quantizer gives all outputs of a SPLIT one scale. An unused output does not have a
range; then the quantizer sometimes (it depends on the order of pointers) leaves the whole operator
in float. The first step of an unrolled LSTM has one: its forget gate multiplies a state of zeros.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Sequence

import numpy as np

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor

_OPTIONS = {
    "begin_mask": 0,
    "ellipsis_mask": 0,
    "end_mask": 0,
    "new_axis_mask": 0,
    "shrink_axis_mask": 0,
}


def slice_partial_splits(model: Model) -> Model:
    """Replace each SPLIT with an unused output; the values stay the same, bit for bit.

    Returns:
        ``model`` itself if there is no such SPLIT.
    """
    graph = model.main
    used = {index for operator in graph.operators for index in operator.inputs}
    used.update(graph.outputs)
    tensors, buffers = list(graph.tensors), list(model.buffers)

    def constant(values: Sequence[int]) -> int:
        tensors.append(Tensor("slice", (len(values),), "INT32", len(buffers)))
        buffers.append(np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8))
        return len(tensors) - 1

    operators: list[Operator] = []
    for operator in graph.operators:
        axis = _axis(model, graph, operator)
        if axis is None or used.issuperset(operator.outputs):
            operators.append(operator)
            continue
        source = operator.inputs[1]
        rank, start = len(tensors[source].shape), 0
        for output in operator.outputs:
            size = tensors[output].shape
            begin = [start if i == axis else 0 for i in range(rank)]
            start += size[axis]
            if output in used:
                end = [first + length for first, length in zip(begin, size)]
                inputs = (source, constant(begin), constant(end), constant([1] * rank))
                operators.append(
                    Operator("STRIDED_SLICE", 1, inputs, (output,), _OPTIONS, "StridedSliceOptions")
                )
    if operators == list(graph.operators):
        return model
    main = replace(graph, tensors=tuple(tensors), operators=tuple(operators))
    return replace(model, subgraphs=(main,), buffers=tuple(buffers))


def _axis(model: Model, graph: Subgraph, operator: Operator) -> int | None:
    """Return the axis of a SPLIT as a number from 0; None for other operators."""
    if operator.opcode != "SPLIT":
        return None
    values = model.data(graph.tensors[operator.inputs[0]])
    rank = len(graph.tensors[operator.inputs[1]].shape)
    return None if values is None else int(values.ravel()[0]) % rank
