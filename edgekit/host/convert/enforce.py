# SPDX-License-Identifier: Apache-2.0
"""Check that the result of `convert` is integer-only, static and readable by compiler 16.

The check reads the written bytes. TFLiteConverter's TFLITE_BUILTINS_INT8 does not guarantee this:
it silently leaves float islands, unknown dimensions and dense weights with many scales.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from edgekit.edgetpu.advice import advice_for, merge_advice
from edgekit.edgetpu.issues import Issue
from edgekit.edgetpu.readable import why_unreadable
from edgekit.edgetpu.structure import layer_of, place_of, short_name, structural_rules
from edgekit.errors import UnsupportedModelError
from edgekit.formats.tflite import Model, Operator, Subgraph, Tensor
from edgekit.rewrite import convolutions, versions
from edgekit.rewrite.registry import apply_rule

IO_TYPES = ("uint8", "int8", "float32")
_INTEGER_DATA = ("INT8", "UINT8")
# Types of operator parameters: shapes, axes, paddings, indices, biases.
_INTEGER_CONSTANTS = ("INT8", "UINT8", "INT32", "INT64", "BOOL")
_BORDERS = ("QUANTIZE", "DEQUANTIZE")
# These have an integer form: if they are real, the cause is a neighbour without an integer form.
_FOLLOWERS = (
    *_BORDERS,
    "CONCATENATION",
    "EXPAND_DIMS",
    "PACK",
    "PAD",
    "RESHAPE",
    "SLICE",
    "SPLIT",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TRANSPOSE",
    "UNPACK",
)
_DENSE_WEIGHTS = 1  # index among the inputs of FULLY_CONNECTED
_SHOWN = 12


class NotEdgeTpuModelError(UnsupportedModelError):
    """The converted model breaks rules of the Edge TPU; ``issues`` lists all of them."""

    def __init__(self, what: str, *, where: str, why: str, fix: str) -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.issues: tuple[Issue, ...] = ()
        self.model: Model | None = None  # the quantized model, if quantization succeeded

    def to_dict(self) -> dict[str, Any]:
        """`edgekit.error/1` with all ``issues``."""
        return {**super().to_dict(), "issues": [issue.to_dict() for issue in self.issues]}


def enforce(model: Model, io: str, where: str) -> None:
    """Refuse a model that is not integer-only, static and readable.

    Args:
        model: The converter's result.
        io: The required type of its inputs and outputs: ``uint8``, ``int8`` or
            ``float32``.
        where: The source, for the message.

    Raises:
        NotEdgeTpuModelError: ``model`` breaks at least one rule.
    """
    try:
        refuse(broken_rules(model, io), where)
    except NotEdgeTpuModelError as error:
        error.model = model
        raise


def refuse(issues: list[Issue], where: str, *, way_out: str = "") -> None:
    """Raise `NotEdgeTpuModelError` with all of ``issues``; do nothing if there are none.

    ``way_out`` is one fix for all of them, such as a place to cut the network.
    """
    if not issues:
        return
    lines = [str(issue) for issue in issues[:_SHOWN]]
    if len(issues) > _SHOWN:
        lines.append(f"and {len(issues) - _SHOWN} more (--json lists all)")
    fixes = merge_advice(issue.fix for issue in issues)
    plural = "s" if len(issues) > 1 else ""
    error = NotEdgeTpuModelError(
        f"the model is not an integer-only Edge TPU model: {len(issues)} broken rule{plural}",
        where=where,
        why="\n       ".join(lines),
        fix="\n       ".join([*fixes[:_SHOWN], *([way_out] if way_out else [])]),
    )
    error.issues = tuple(issues)
    raise error


def lower_versions(model: Model) -> Model:
    """Rewrite operators that compiler 16 cannot read only because of their version.

    Grouped convolutions and fused activations are split into operators with the same results, bit
    for bit. Return ``model`` itself if there is nothing to do.
    """
    if not any(why_unreadable(operator) for _, _, operator in model.operators()):
        return model
    for rule in (versions.RULE, convolutions.GROUPS, convolutions.TRANSPOSED):
        model = apply_rule(rule, model) or model
    return model


def broken_rules(model: Model, io: str) -> list[Issue]:
    """Return every rule that ``model`` breaks, in the order of its operators; empty if none."""
    return [
        *structural_rules(model, at_source=True),
        *io_type_rules(model, io, (io.upper(),)),
        *_number_types(model, io),
        *_dense_scales(model),
    ]


def io_type_rules(model: Model, io: str, dtypes: Collection[str]) -> Iterator[Issue]:
    """Yield the inputs and outputs whose type is not in ``dtypes`` and so cannot become ``io``."""
    graph = model.main
    for kind, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for index in indices:
            tensor = graph.tensors[index]
            if tensor.dtype not in dtypes:
                yield Issue(
                    "io.dtype",
                    f"{kind} {tensor.name}",
                    f"it is {tensor.dtype.lower()}, expected {io}",
                    f"convert the part of the network whose {kind}s are real numbers: move table "
                    "look-ups, casts and arg-max out of it",
                )


def _number_types(model: Model, io: str) -> Iterator[Issue]:
    """Yield operators on numbers that are not 8-bit integers, without mere followers."""
    for graph in model.subgraphs:
        edges = {*graph.inputs, *graph.outputs} if io == "float32" else set()
        wrong = {
            index: tensors
            for index, operator in enumerate(graph.operators)
            for tensors in [_wrong_tensors(model, graph, operator, edges)]
            if tensors
        }
        for index, numbers in wrong.items():
            operator = graph.operators[index]
            if operator.opcode in _FOLLOWERS and _has_cause(graph, index, wrong):
                continue
            tensor = graph.tensors[numbers[0]]
            types = sorted({graph.tensors[number].dtype.lower() for number in numbers})
            is_float = any(kind.startswith(("float", "bfloat")) for kind in types)
            yield Issue(
                "quant.float_tensor" if is_float else "quant.not_int8",
                place_of(graph, index),
                f"{operator.label} works on {', '.join(types)}: {short_name(tensor)}",
                advice_for(operator.label, layer_of(graph, operator), at_source=True),
            )


def _wrong_tensors(model: Model, graph: Subgraph, operator: Operator, edges: set[int]) -> list[int]:
    return [
        number
        for number in (*operator.inputs, *operator.outputs)
        if number >= 0
        and number not in edges
        and not _is_integer(model, operator, graph.tensors[number])
    ]


def _has_cause(graph: Subgraph, start: int, wrong: dict[int, list[int]]) -> bool:
    """Whether the island of tensors around ``start`` has an operator that is not a follower."""
    reached, tensors = {start}, set(wrong[start])
    while True:
        more = {i for i, numbers in wrong.items() if tensors & set(numbers)} - reached
        if any(graph.operators[index].opcode not in _FOLLOWERS for index in more):
            return True
        if not more:
            return False
        reached |= more
        tensors |= {number for index in more for number in wrong[index]}


def _is_integer(model: Model, operator: Operator, tensor: Tensor) -> bool:
    if model.buffers[tensor.buffer].size:
        return tensor.dtype in _INTEGER_CONSTANTS
    # The fused LSTM keeps its cell state in 16 bits, and compiler 16 maps it.
    is_state = tensor.is_variable and operator.opcode == "UNIDIRECTIONAL_SEQUENCE_LSTM"
    return tensor.dtype in _INTEGER_DATA or (is_state and tensor.dtype == "INT16")


def _dense_scales(model: Model) -> Iterator[Issue]:
    for graph_index, index, operator in model.operators():
        graph = model.subgraphs[graph_index]
        if operator.opcode != "FULLY_CONNECTED":
            continue
        weights = graph.tensors[operator.inputs[_DENSE_WEIGHTS]]
        if weights.quantization is not None and weights.quantization.per_channel:
            yield Issue(
                "quant.per_channel_dense",
                place_of(graph, index),
                f"its weights have {len(weights.quantization.scale)} scales; dense layers of the "
                "Edge TPU have one",
                "convert from the float model with edgekit convert",
            )
