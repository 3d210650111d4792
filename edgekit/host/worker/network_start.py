# SPDX-License-Identifier: Apache-2.0
"""Find the operations with constants directly after each input of a frozen TensorFlow function.

From them the parent concludes which pixels the network was made for. The converter folds a first
multiplication into the weights of the next convolution, so the .tflite does not show them.
"""

from __future__ import annotations

import math
from typing import Any

from edgekit.host.worker.source import Function

_NEUTRAL = frozenset(
    (
        "BatchToSpaceND",
        "Cast",
        "ClipByValue",
        "EnsureShape",
        "ExpandDims",
        "GatherV2",
        "Identity",
        "IdentityN",
        "Maximum",
        "Minimum",
        "MirrorPad",
        "Pad",
        "PadV2",
        "PreventGradient",
        "Reshape",
        "ResizeArea",
        "ResizeBicubic",
        "ResizeBilinear",
        "ResizeNearestNeighbor",
        "Reverse",
        "ReverseV2",
        "Slice",
        "Squeeze",
        "StopGradient",
        "StridedSlice",
        "Transpose",
    )
)
_AFFINE = {
    "Add": "ADD",
    "AddV2": "ADD",
    "BiasAdd": "ADD",
    "Div": "DIV",
    "Mul": "MUL",
    "RealDiv": "DIV",
    "Sub": "SUB",
}
_SPLITS = ("Slice", "Split", "SplitV", "StridedSlice", "Unpack")
_JOINS = ("Concat", "ConcatV2", "Pack")
NORMALIZATIONS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_SHAPE_ONLY = ("Rank", "Shape", "ShapeN", "Size")
_MOST_OPERATIONS, _MOST_STEPS = 24, 12
_MOST_VALUES = 4  # in a constant with one value per channel
_DEEPEST = 64  # operations that compute a constant


def first_steps(frozen: Function) -> list[list[dict[str, Any]]]:
    """Return each input's operations in order: name, opcode, values, whether the constant is first.

    For batch normalization: name, scale and offset, mean and std of the training data.
    """
    return [_walk(tensor) for tensor in frozen.inputs]


def _walk(tensor: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    steps: list[dict[str, Any]] = []
    while len(steps) < _MOST_STEPS:
        found, tensor = _to_reader(tensor)
        steps += found
        joined = _to_join(tensor)
        if joined is None:
            break
        found, tensor = joined
        steps += found
    return steps


def _readers(tensor: Any) -> list[Any]:  # noqa: ANN401
    return [op for op in tensor.consumers() if op.type not in _SHAPE_ONLY]


def _to_reader(tensor: Any) -> tuple[list[dict[str, Any]], Any]:  # noqa: ANN401
    """Return the steps after ``tensor``, and the tensor that the next operation reads."""
    steps: list[dict[str, Any]] = []
    for _ in range(_MOST_OPERATIONS):
        readers = _readers(tensor)
        if not readers:
            break
        operation = readers[0]
        if operation.type not in _NEUTRAL or len(readers) > 1:
            # Each network of an ensemble may have its own copy of the same preprocessing.
            found = [_step(each, tensor) for each in readers]
            step = found[0]
            if step is None or any(each != step for each in found):
                break
            steps.append({"name": operation.name, **step})
        tensor = operation.outputs[0]
    return steps, tensor


def _to_join(tensor: Any) -> tuple[list[dict[str, Any]], Any] | None:  # noqa: ANN401
    """Follow channels that are split and joined in another order (RGB to BGR)."""
    readers = _readers(tensor)
    if not readers or any(op.type not in _SPLITS for op in readers):
        return None
    paths = [_to_reader(each) for op in readers for each in op.outputs]
    joins = {op.name: op for _, end in paths for op in _readers(end)}
    join = next(iter(joins.values()), None)
    if len(joins) != 1 or join is None or join.type not in _JOINS:
        return None
    order = [each.name for each in join.inputs]
    paths.sort(key=lambda path: order.index(path[1].name))
    steps = []
    for row in zip(*(path[0] for path in paths)):  # noqa: B905 - rows of unequal length end there
        if any("opcode" not in each or len(each["values"]) != 1 for each in row):
            break
        if len({(each["opcode"], each["comes_first"]) for each in row}) != 1:
            break
        steps.append({**row[0], "values": [each["values"][0] for each in row]})
    return steps, join.outputs[0]


def _step(operation: Any, tensor: Any) -> dict[str, Any] | None:  # noqa: ANN401
    if operation.type in NORMALIZATIONS:
        return _normalization(operation)
    if operation.type not in _AFFINE:
        return None
    comes_first = operation.inputs[0].name == tensor.name
    values = constant(operation.inputs[1 if comes_first else 0])
    if values is None or not values.size:
        return None
    flat = values.astype("float64").reshape(-1)
    opcode = _AFFINE[operation.type]
    if flat.size > _MOST_VALUES:
        if opcode not in ("ADD", "SUB") or sum(side > 1 for side in values.shape) < 2:
            return None  # a row of many values belongs to features
        flat = flat.mean(keepdims=True)
    return {"opcode": opcode, "values": flat.tolist(), "comes_first": comes_first}


def _normalization(operation: Any) -> dict[str, Any] | None:  # noqa: ANN401
    parts = [constant(each) for each in operation.inputs[1:5]]
    if any(part is None or not 0 < part.size <= _MOST_VALUES for part in parts):
        return None
    gamma, beta, mean, variance = (part.astype("float64").reshape(-1).tolist() for part in parts)
    std = [math.sqrt(max(0.0, each) + operation.get_attr("epsilon")) for each in variance]
    scale = [g / s for g, s in zip(gamma, std)]  # noqa: B905 - this may run on Python 3.9
    offset = [b - m * a for b, m, a in zip(beta, mean, scale)]  # noqa: B905
    return {"scale": scale, "offset": offset, "mean": mean, "std": std}


def constant(tensor: Any) -> Any:  # noqa: ANN401
    """Return the value of ``tensor``; None if it depends on an input or is costly to compute."""
    import tensorflow as tf  # noqa: PLC0415

    source = tensor.op
    while source.type == "Identity":
        source = source.inputs[0].op
    if source.type == "Const":
        return tf.make_ndarray(source.get_attr("value"))
    needed: dict[str, Any] = {}
    pending = [source]
    while pending:
        operation = pending.pop()
        if operation.name in needed:
            continue
        needed[operation.name] = operation
        if operation.type == "Placeholder" or len(needed) > _DEEPEST:
            return None
        pending.extend(each.op for each in operation.inputs)
    return _computed(tensor.name, list(needed.values()))


def _computed(name: str, operations: list[Any]) -> Any:  # noqa: ANN401
    """Run ``operations`` alone, because constants of an exported function wait for its inputs."""
    import tensorflow as tf  # noqa: PLC0415

    graph = tf.compat.v1.GraphDef()
    for operation in operations:
        node = graph.node.add()
        node.CopyFrom(operation.node_def)
        del node.input[:]
        node.input.extend(each.name for each in operation.inputs)
        node.attr.pop("_class", None)  # refers to operations that are not in this graph
    with tf.Graph().as_default() as alone:
        (result,) = tf.import_graph_def(graph, return_elements=[name], name="")
        with tf.compat.v1.Session(graph=alone) as session:
            return session.run(result)
