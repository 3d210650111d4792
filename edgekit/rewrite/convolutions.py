# SPDX-License-Identifier: Apache-2.0
"""Convolutions that the compiler does not read or map, as others with the same results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.formats.tflite import Model, Operator, Tensor
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule

_X, _FILTER, _BIAS = 0, 1, 2
_CHANNELS = 3
_MOST_PARTS = 32  # each becomes a separate operator
_SEPARABLE = ("RELU", "RELU6")


def split_groups(model: Model) -> Model | None:
    """Return ``model`` with grouped CONV_2D (version 6) as DEPTHWISE_CONV_2D or one per group.

    Of more than 32 groups, several share an operator, with weights of zero between them. Each
    output is computed as before; CONCATENATION of equal scales only copies.
    """
    return rewrite_operators(model, _ungrouped)


def _ungrouped(edit: Edit, op: Operator) -> list[Operator]:
    groups = _num_groups(edit, op)
    if groups <= 1:
        return []
    if edit.tensors[op.inputs[_FILTER]].shape[-1] == 1:
        return [_depthwise(edit, op, groups)]
    return _in_parts(edit, op, groups)


def _num_groups(edit: Edit, op: Operator) -> int:
    if op.opcode != "CONV_2D" or len(op.inputs) <= _BIAS or edit.data(op.inputs[_FILTER]) is None:
        return 0
    x, kernel = (edit.tensors[i] for i in op.inputs[:_BIAS])
    constant_bias = op.inputs[_BIAS] < 0 or edit.data(op.inputs[_BIAS]) is not None
    if not (is_8bit(x) and is_8bit(edit.tensors[op.outputs[0]]) and constant_bias):
        return 0
    is_whole = kernel.shape[-1] and x.shape[-1] % kernel.shape[-1] == 0
    groups = x.shape[-1] // kernel.shape[-1] if is_whole else 0
    return groups if groups and kernel.shape[0] % groups == 0 else 0


def _depthwise(edit: Edit, op: Operator, groups: int) -> Operator:
    kernel = edit.tensors[op.inputs[_FILTER]]
    values = np.asarray(edit.data(op.inputs[_FILTER]))
    quantization = kernel.quantization
    if quantization is not None:
        quantization = replace(quantization, quantized_dimension=_CHANNELS)
    turned = edit.constant(
        f"{kernel.name}/depthwise", values.transpose(3, 1, 2, 0).copy(), quantization
    )
    inputs = (op.inputs[_X], turned, *op.inputs[_BIAS:])
    kept = {name: value for name, value in op.options.items() if name != "quantized_bias_type"}
    options = {**kept, "depth_multiplier": kernel.shape[0] // groups}
    return edit.operator("DEPTHWISE_CONV_2D", inputs, op.outputs, options, "DepthwiseConv2DOptions")


def _in_parts(edit: Edit, op: Operator, groups: int) -> list[Operator]:
    number = next(each for each in range(_MOST_PARTS, 0, -1) if groups % each == 0)
    x, out = edit.tensors[op.inputs[_X]], edit.tensors[op.outputs[0]]
    name, width = out.name, out.shape[-1] // number
    kernel, bias = _merged(edit, op, groups // number), op.inputs[_BIAS]
    if number == 1:
        inputs = (op.inputs[_X], kernel, bias)
        return [edit.operator(op.opcode, inputs, op.outputs, op.options, op.options_type)]
    shape = (*x.shape[:-1], x.shape[-1] // number)
    parts = [edit.activation(x, f"{name}/group", shape=shape) for _ in range(number)]
    axis = edit.constant(f"{name}/axis", np.array(_CHANNELS, np.int32))
    options = {"num_splits": number}
    operators = [edit.operator("SPLIT", (axis, op.inputs[_X]), parts, options, "SplitOptions")]
    results = []
    for place, part in enumerate(parts):
        start, stop = place * width, (place + 1) * width
        inputs = (
            part,
            edit.rows(kernel, start, stop),
            edit.rows(bias, start, stop) if bias >= 0 else -1,
        )
        result = edit.activation(out, f"{name}/group_result", shape=(*out.shape[:-1], width))
        operators.append(edit.operator(op.opcode, inputs, (result,), op.options, op.options_type))
        results.append(result)
    return [*operators, pieces.concatenate(edit, results, _CHANNELS, op.outputs[0])]


def _merged(edit: Edit, op: Operator, count: int) -> int:
    """Return weights in which ``count`` groups that follow each other read the channels of all."""
    index = op.inputs[_FILTER]
    if count == 1:
        return index
    kernel, values = edit.tensors[index], np.asarray(edit.data(index))
    depth = kernel.shape[-1]
    groups = edit.tensors[op.inputs[_X]].shape[-1] // depth
    rows = kernel.shape[0] // groups  # outputs of a group
    merged = np.full((*kernel.shape[:-1], depth * count), _zero(kernel), values.dtype)
    for row in range(kernel.shape[0]):
        place = row // rows % count
        merged[row, ..., place * depth : (place + 1) * depth] = values[row]
    return edit.constant(f"{kernel.name}/merged", merged, kernel.quantization)


def _zero(kernel: Tensor) -> int:
    """Return the code of a weight of zero."""
    quantization = kernel.quantization
    return quantization.zero_point[0] if quantization and quantization.zero_point else 0


def fill_dilated(model: Model) -> Model | None:
    """Return ``model`` with zeros between the weights of kernels of unequal dilation.

    The Edge TPU dilates both axes alike. The kernel covers the same pixels as before.
    """
    return rewrite_operators(model, _filled)


def _filled(edit: Edit, op: Operator) -> list[Operator]:
    down, across = (int(op.options.get(f"dilation_{side}_factor", 1)) for side in "hw")
    if op.opcode not in ("CONV_2D", "DEPTHWISE_CONV_2D") or down == across:
        return []
    index = op.inputs[_FILTER]
    kernel, values = edit.tensors[index], edit.data(index)
    if values is None or 1 in kernel.shape[1:3]:  # along an axis of one, dilation has no effect
        return []
    height, width = ((size - 1) * step + 1 for size, step in zip(kernel.shape[1:3], (down, across)))
    shape = (kernel.shape[0], height, width, kernel.shape[-1])
    filled = np.full(shape, _zero(kernel), values.dtype)
    filled[:, ::down, ::across] = values
    weights = edit.constant(f"{kernel.name}/filled", filled, kernel.quantization)
    inputs = (op.inputs[_X], weights, *op.inputs[_BIAS:])
    options = {**op.options, "dilation_h_factor": 1, "dilation_w_factor": 1}
    return [edit.operator(op.opcode, inputs, op.outputs, options, op.options_type)]


def unfuse_transposed(model: Model) -> Model | None:
    """Return ``model`` with the activation of TRANSPOSE_CONV (version 4) as a separate operator.

    It saturates at the same values as the fused one, on the same scale.
    """
    return rewrite_operators(model, _unfused)


def _unfused(edit: Edit, op: Operator) -> list[Operator]:
    activation = op.options.get("fused_activation_function", "NONE")
    out = edit.tensors[op.outputs[0]]
    if op.opcode != "TRANSPOSE_CONV" or activation not in _SEPARABLE or not is_8bit(out):
        return []
    before = edit.activation(out, f"{out.name}/linear")
    options = {**op.options, "fused_activation_function": "NONE"}
    return [
        edit.operator(op.opcode, op.inputs, (before,), options, op.options_type),
        edit.operator(activation, (before,), op.outputs),
    ]


DILATED = Rule(
    "dilation",
    "a kernel of unequal dilation gets zeros between its weights",
    exact=True,
    apply=fill_dilated,
)
GROUPS = Rule(
    "conv-groups",
    "a grouped CONV_2D becomes DEPTHWISE_CONV_2D, or a CONV_2D for each group",
    exact=True,
    apply=split_groups,
)
TRANSPOSED = Rule(
    "transpose-conv",
    "the activation fused into TRANSPOSE_CONV becomes a separate operator",
    exact=True,
    apply=unfuse_transposed,
)
