# SPDX-License-Identifier: Apache-2.0
"""Faults that the compiler refuses, or silently makes worse, although every operator maps."""

from __future__ import annotations

from typing import Callable, Iterator

import numpy as np

from edgekit.edgetpu.issues import ISSUE_CODES, Issue
from edgekit.edgetpu.operation import Operation, count
from edgekit.edgetpu.parameters import flattens_badly
from edgekit.edgetpu.structure import place_of, short_name
from edgekit.formats.tflite import Model, Operator, Tensor
from edgekit.quant.same_scale import FROM_ONE, same_scale_inputs

_MANY_ELEMENTS = 256  # flattened; fewer cost only a few kilobytes
_FAR_APART = 8  # a scale this many times another leaves 5 of 8 bits for the finer one
# kernel_util.cc, GetQuantizedConvolutionMultipler: relative to the output's scale.
_BIAS_SCALE_TOLERANCE = 0.02
_INT32_MAX = (1 << 31) - 1
_UPPER_BOUNDS = {"RELU6": 6.0, "RELU_N1_TO_1": 1.0}
# An input of a concatenation may have had its own scale before a QUANTIZE, and before operators
# that keep a scale.
_KEEPING = FROM_ONE | {"QUANTIZE"}
_MOST_COPIES = 8


def find_lints(model: Model) -> list[Issue]:
    """Return every finding on the operators of the main subgraph, in their order."""
    operations = [Operation(model, index) for index in range(len(model.main.operators))]
    return [
        issue
        for operation in operations
        for lint in _LINTS.get(operation.operator.opcode, ())
        for issue in lint(operation)
    ]


def _issue(op: Operation, code: str, message: str, severity: str = "warning") -> Issue:
    return Issue(code, place_of(op.model.main, op.index), message, ISSUE_CODES[code].fix, severity)


def _flattened(op: Operation) -> Iterator[Issue]:
    if flattens_badly(op.model.main, op.operator):
        shape = list(op.in_shape)
        message = f"it flattens {shape}: {shape[-1]} channels are not a multiple of 4"
        severity = "warning" if count(op.in_shape) >= _MANY_ELEMENTS else "note"
        yield _issue(op, "params.flatten_explodes", message, severity)


def _dense_scales(op: Operation) -> Iterator[Issue]:
    weights = op.input(1)
    if weights is not None and weights.quantization and weights.quantization.per_channel:
        yield _issue(
            op,
            "quant.per_channel_dense",
            f"its weights have {len(weights.quantization.scale)} scales",
        )


def _biases(op: Operation) -> Iterator[Issue]:
    weights, bias = op.input(1), op.input(2)
    values = op.constant(2)
    if weights is None or bias is None or values is None or not op.activations:
        return
    if bias.dtype == "INT32" and np.abs(values.astype(np.int64)).max(initial=0) >= _INT32_MAX:
        yield _issue(op, "quant.bias_overflow", f"{short_name(bias)} is clipped to 32 bits")
    product = _product_of_scales(op.activations[0], weights)
    output = op.outputs[0].scale
    if product is None or output is None or bias.scale is None:
        return
    if abs(product - bias.scale) > _BIAS_SCALE_TOLERANCE * output:
        yield _issue(
            op,
            "quant.bias_scale",
            f"{short_name(bias)} has scale {bias.scale:g}, but input times weights is {product:g}",
            "error",
        )


def _product_of_scales(activation: Tensor, weights: Tensor) -> float | None:
    if activation.scale is None or weights.scale is None:
        return None  # the kernel does not compare if weights have a scale per channel
    return activation.scale * weights.scale


def _fused_bound(op: Operation) -> Iterator[Issue]:
    bound = bound_beyond_32_bits(op.operator, op.outputs[0])
    if bound is not None:
        yield _issue(
            op,
            "quant.activation_overflow",
            f"{bound:g} in steps of {op.outputs[0].scale:g} needs more than 32 bits",
            "error",
        )


def bound_beyond_32_bits(operator: Operator, output: Tensor) -> float | None:
    """Return the bound of a fused activation that 32 bits cannot hold in steps of the output."""
    bound = _UPPER_BOUNDS.get(operator.options.get("fused_activation_function", "NONE"))
    scale = output.scale
    is_beyond = bound is not None and scale is not None and bound > scale * _INT32_MAX
    return bound if is_beyond else None


def _mixed_ranges(op: Operation) -> Iterator[Issue]:
    scales = [(_scale_before(op, tensor), tensor) for tensor in op.activations]
    known = [(scale, tensor) for scale, tensor in scales if scale]
    if len(known) < 2:
        return
    (low, fine), (high, coarse) = min(known, key=_first), max(known, key=_first)
    if high > _FAR_APART * low:
        yield _issue(
            op,
            "quant.mixed_range_concat",
            f"{short_name(coarse)} has steps of {high:.3g}, {short_name(fine)} of {low:.3g}: "
            f"a ratio of {high / low:.0f} in one tensor",
        )


def _first(pair: tuple[float, Tensor]) -> float:
    return pair[0]


def _scale_before(op: Operation, tensor: Tensor) -> float | None:
    """Return the finest scale that the values of ``tensor`` had before they were joined."""
    graph = op.model.main
    made_by = {number: each for each in graph.operators for number in each.outputs}
    number = next(
        index for index in op.operator.inputs if index >= 0 and graph.tensors[index] is tensor
    )
    best = tensor.scale
    for _ in range(_MOST_COPIES):
        maker = made_by.get(number)
        if maker is None or maker.opcode not in _KEEPING:
            break
        number = (same_scale_inputs(maker.opcode, maker.inputs) or maker.inputs)[0]
        scale = graph.tensors[number].scale
        best = scale if best is None else min(best, scale or best)
    return best


_Lint = Callable[[Operation], Iterator[Issue]]
_LINTS: dict[str, tuple[_Lint, ...]] = {
    "RESHAPE": (_flattened,),
    "CONCATENATION": (_mixed_ranges,),
    "CONV_2D": (_biases, _fused_bound),
    "DEPTHWISE_CONV_2D": (_biases, _fused_bound),
    "FULLY_CONNECTED": (_dense_scales, _biases, _fused_bound),
    "ADD": (_fused_bound,),
    "SUB": (_fused_bound,),
    "MUL": (_fused_bound,),
}
