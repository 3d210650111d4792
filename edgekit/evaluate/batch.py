# SPDX-License-Identifier: Apache-2.0
"""Make a static batch larger: a copy of a model that runs many samples at once on the CPU.

`resize_tensor_input` cannot do it: a static model's RESHAPE has its batch as a constant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Sequence

import numpy as np

from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor

# Operators that compute each position or each row of the batch separately.
_PER_ROW = frozenset(
    [
        "ABS",
        "AVERAGE_POOL_2D",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "DEPTH_TO_SPACE",
        "DEQUANTIZE",
        "ELU",
        "EXP",
        "FULLY_CONNECTED",
        "GELU",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "MAX_POOL_2D",
        "NEG",
        "PRELU",
        "QUANTIZE",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "RSQRT",
        "SPACE_TO_DEPTH",
        "SQRT",
        "SQUARE",
        "TANH",
    ]
)
_BROADCASTING = frozenset(["ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"])
_LAST_AXIS = frozenset(["L2_NORMALIZATION", "LOG_SOFTMAX", "SOFTMAX"])
_REDUCTIONS = frozenset(["MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"])
_PADDINGS = frozenset(["MIRROR_PAD", "PAD", "PADV2"])


def with_batch(model: Model, batch: int) -> Model | None:
    """Return ``model`` with the first dimension of every activation set to ``batch``.

    Return None if that could change what the model computes: an operator mixes the rows of the
    batch, or is unknown to this function.

    Args:
        model: A model with one subgraph and static shapes.
        batch: The new first dimension of every input and output.
    """
    graph = model.main
    old = {graph.tensors[i].shape[:1] for i in graph.inputs}
    if len(model.subgraphs) != 1 or len(old) != 1 or old == {()}:
        return None
    ((size,),) = old
    activations = {i for i, t in enumerate(graph.tensors) if not model.buffers[t.buffer].size}
    used = {i for op in graph.operators for i in (*op.inputs, *op.outputs)}
    rows = activations & (used | set(graph.inputs) | set(graph.outputs))
    if not all(graph.tensors[i].shape[:1] == (size,) for i in rows):
        return None
    if not all(_keeps_rows(model, graph, op, activations) for op in graph.operators):
        return None
    tensors = [
        replace(t, shape=(batch, *t.shape[1:]), shape_signature=()) if i in rows else t
        for i, t in enumerate(graph.tensors)
    ]
    buffers = list(model.buffers)
    operators = []
    for op in graph.operators:
        changed = op
        if op.opcode == "RESHAPE":
            shape = tensors[op.outputs[0]].shape
            changed = replace(op, inputs=(op.inputs[0], len(tensors)))
            if "new_shape" in op.options:
                changed = replace(changed, options={**op.options, "new_shape": shape})
            tensors.append(Tensor("shape", (len(shape),), "INT32", len(buffers)))
            buffers.append(np.frombuffer(np.array(shape, "<i4").tobytes(), np.uint8))
        operators.append(changed)
    main = replace(graph, tensors=tuple(tensors), operators=tuple(operators))
    return replace(model, subgraphs=(main,), buffers=tuple(buffers), signature_defs=())


def _keeps_rows(model: Model, graph: Subgraph, op: Operator, activations: set[int]) -> bool:
    """Whether ``op`` computes each row of the batch only from the same row of its inputs."""
    if op.opcode in _PER_ROW:
        return True
    if op.opcode in _LAST_AXIS:
        return len(graph.tensors[op.inputs[0]].shape) > 1
    if op.opcode in _BROADCASTING:
        return _broadcasts_within_rows(graph, op, activations)
    check = _CHECKS.get(op.opcode)
    return check is not None and check(model, graph, op)


def _broadcasts_within_rows(graph: Subgraph, op: Operator, activations: set[int]) -> bool:
    rank = len(graph.tensors[op.outputs[0]].shape)
    for index in op.inputs:
        shape = graph.tensors[index].shape
        if index in activations and len(shape) != rank:
            return False
        if index not in activations and len(shape) == rank and shape[:1] != (1,):
            return False
    return True


def _reshape(_model: Model, graph: Subgraph, op: Operator) -> bool:
    return len(graph.tensors[op.outputs[0]].shape) > 0


def _joins_other_axis(_model: Model, graph: Subgraph, op: Operator) -> bool:
    rank = len(graph.tensors[op.outputs[0]].shape)
    return bool(int(op.options.get("axis", 0)) % rank)


def _reduces_other_axes(model: Model, graph: Subgraph, op: Operator) -> bool:
    rank = len(graph.tensors[op.inputs[0]].shape)
    axes = _constant(model, graph, op, 1)
    return axes is not None and all(axis % rank for axis in axes)


def _splits_other_axis(model: Model, graph: Subgraph, op: Operator) -> bool:
    rank = len(graph.tensors[op.outputs[0]].shape)
    axis = _constant(model, graph, op, 0)
    return axis is not None and bool(axis[0] % rank)


def _pads_other_axes(model: Model, graph: Subgraph, op: Operator) -> bool:
    pads = _constant(model, graph, op, 1)
    return pads is not None and list(pads[:2]) == [0, 0]


def _keeps_first_axis(model: Model, graph: Subgraph, op: Operator) -> bool:
    permutation = _constant(model, graph, op, 1)
    return permutation is not None and permutation[0] == 0


def _constant(model: Model, graph: Subgraph, op: Operator, index: int) -> Sequence[int] | None:
    values = model.data(graph.tensors[op.inputs[index]])
    return None if values is None else [int(value) for value in values.ravel()]


_CHECKS: dict[str, Callable[[Model, Subgraph, Operator], bool]] = {
    "RESHAPE": _reshape,
    "CONCATENATION": _joins_other_axis,
    "SPLIT": _splits_other_axis,
    "TRANSPOSE": _keeps_first_axis,
    **dict.fromkeys(_REDUCTIONS, _reduces_other_axes),
    **dict.fromkeys(_PADDINGS, _pads_other_axes),
}
