# SPDX-License-Identifier: Apache-2.0
"""Reasons to refuse a whole file: custom and unknown operators, loops, open shapes."""

from __future__ import annotations

from typing import Collection, Iterator

from edgekit.edgetpu.advice import advice_for, advice_for_version
from edgekit.edgetpu.issues import Issue
from edgekit.edgetpu.readable import why_unreadable
from edgekit.formats.tflite import CUSTOM, Model, Operator, Subgraph, Tensor

# Operator -> the inputs that decide the size of its output.
_SIZE_INPUTS = {
    "BATCH_TO_SPACE_ND": (1, 2),
    "BROADCAST_TO": (1,),
    "EXPAND_DIMS": (1,),
    "FILL": (0,),
    "MEAN": (1,),
    "MIRROR_PAD": (1,),
    "ONE_HOT": (1,),
    "PAD": (1,),
    "PADV2": (1,),
    "RANGE": (0, 1, 2),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SLICE": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2),
    "SPLIT": (0,),
    "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,),
    "TILE": (1,),
    "TOPK_V2": (1,),
    "TRANSPOSE": (1,),
    "TRANSPOSE_CONV": (0,),
}
# The size of their outputs depends on values.
_SIZED_BY_VALUES = ("WHERE", "UNIQUE")
# TensorFlow's prefix of tensor names of a SavedModel; it is not a layer.
_CALL = "StatefulPartitionedCall"


def structural_rules(
    model: Model, *, skip: Collection[int] = (), at_source: bool = False
) -> list[Issue]:
    """Return the issues that do not depend on quantization, so also for a float model.

    Args:
        model: Float or integer.
        skip: Operators of the main subgraph to ignore.
        at_source: Whether the fixes are for the network from which ``model`` is converted; else
            they are for a .tflite file.
    """
    return [
        *_subgraphs(model),
        *_operators(model, skip, at_source=at_source),
        *_dynamic(model),
    ]


def first_computed_size(model: Model) -> int | None:
    """Return the first operator of the main subgraph whose output's size is computed at run time.

    The compiler's "dynamic tensors" are such outputs. If a dimension is only declared open (-1 in
    the signature of an input), the compiler uses the size 1 in the file's shape.
    """
    graph = model.main
    for index, operator in enumerate(graph.operators):
        numbers = _SIZE_INPUTS.get(operator.opcode, ())
        sizes = [operator.inputs[number] for number in numbers if number < len(operator.inputs)]
        computed = [i for i in sizes if i >= 0 and not model.buffers[graph.tensors[i].buffer].size]
        if computed or operator.opcode in _SIZED_BY_VALUES:
            return index
    return None


def layer_of(subgraph: Subgraph, operator: Operator) -> str:
    """Return the layer of an operator, from the names of its tensors; empty if unknown.

    TensorFlow names tensors ``model/layer/operation``; a fused operator has several such names,
    joined by ";".
    """
    indices = [*operator.outputs, *(index for index in operator.inputs if index >= 0)]
    for index in indices:
        first = subgraph.tensors[index].name.split(";")[0]
        path = [part for part in first.split("/") if part and part != _CALL]
        if len(path) > 1:
            return "/".join(path[:-1])
    return ""


def place_of(subgraph: Subgraph, index: int) -> str:
    """Return the place of an operator as text: ``operator 3 CONV_2D, layer model/conv1``."""
    operator = subgraph.operators[index]
    layer = layer_of(subgraph, operator)
    return f"operator {index} {operator.label}" + (f", layer {layer}" if layer else "")


def short_name(tensor: Tensor) -> str:
    """Return the first of the names of a fused operator's tensor."""
    return "/".join(part for part in tensor.name.split(";")[0].split("/") if part != _CALL)


def _subgraphs(model: Model) -> Iterator[Issue]:
    if len(model.subgraphs) == 1:
        return
    for index, operator in enumerate(model.main.operators):
        if operator.opcode in ("WHILE", "IF", "CALL_ONCE", "CALL"):
            yield Issue(
                "model.subgraphs",
                place_of(model.main, index),
                f"{operator.opcode} runs another subgraph; the Edge TPU supports only one",
                advice_for(operator.opcode),
            )


def _operators(model: Model, skip: Collection[int], *, at_source: bool) -> Iterator[Issue]:
    for graph_index, index, operator in model.operators():
        if graph_index == 0 and index in skip:
            continue
        where = place_of(model.subgraphs[graph_index], index)
        if operator.opcode == CUSTOM:
            flex = operator.label.startswith("Flex")
            kind = "a TensorFlow operation (Flex)" if flex else "a custom operator"
            yield Issue(
                "model.custom_op",
                where,
                f"{operator.label} is {kind}",
                advice_for(operator.label.replace("Flex", "", 1), at_source=at_source),
            )
        reason = why_unreadable(operator)
        if reason:
            is_unknown = "does not exist" in reason
            code = "map.op_unknown" if is_unknown else "map.op_version"
            advise = advice_for if is_unknown else advice_for_version
            fix = advise(operator.opcode, at_source=at_source)
            yield Issue(code, where, reason, fix)


def _dynamic(model: Model) -> Iterator[Issue]:
    for subgraph in model.subgraphs:
        for tensor in (subgraph.tensors[index] for index in subgraph.inputs):
            if tensor.is_dynamic:
                yield _dynamic_rule(f"input {tensor.name}", tensor)
        for index, operator in enumerate(subgraph.operators):
            dynamic = [
                tensor
                for number in operator.outputs
                for tensor in [subgraph.tensors[number]]
                if tensor.is_dynamic
            ]
            if dynamic:
                yield _dynamic_rule(place_of(subgraph, index), dynamic[0])


def _dynamic_rule(where: str, tensor: Tensor) -> Issue:
    return Issue(
        "model.dynamic_shape",
        where,
        f"the shape {list(tensor.shape_signature or tensor.shape)} has an unknown dimension (-1)",
        "give every input a fixed shape (--input-shape), and avoid operators whose output's size "
        "depends on values",
    )
