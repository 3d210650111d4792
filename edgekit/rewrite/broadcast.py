# SPDX-License-Identifier: Apache-2.0
"""Elementwise operators whose inputs are repeated in a way that was not seen mapped.

The smaller input is repeated in front of the operator: a constant in the file, channels by a 1x1
convolution with weights of one, rows and columns by joining copies. All of these keep every code.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.edgetpu.limits import is_seen_broadcast
from edgekit.formats.tflite import Model, Operator
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import INT8, Edit, is_8bit, rewrite_operators
from edgekit.rewrite.rule import Rule

_OPCODES = ("ADD", "MAXIMUM", "MINIMUM", "MUL", "SUB")
_RANK = 4
_MOST_VALUES = 1 << 20
_MOST_COPIES = 64


def repeat_inputs(model: Model) -> Model | None:
    """Return ``model`` with inputs of elementwise operators that have the output's shape."""
    return rewrite_operators(model, _repeated)


def _repeated(edit: Edit, op: Operator) -> list[Operator]:
    if op.opcode not in _OPCODES or len(op.inputs) != 2:
        return []
    out = edit.tensors[op.outputs[0]]
    if out.is_dynamic or not is_8bit(out) or not 0 < out.num_elements <= _MOST_VALUES:
        return []
    operators: list[Operator] = []
    inputs = list(op.inputs)
    for place, index in enumerate(op.inputs):
        tensor = edit.tensors[index]
        if tensor.is_dynamic or is_seen_broadcast(tensor.shape, out.shape):
            continue
        made = _whole(edit, index, out.shape, operators)
        if made is None:
            return []
        inputs[place] = made
    if tuple(inputs) == op.inputs:
        return []
    return [*operators, replace(op, inputs=tuple(inputs))]


def _whole(edit: Edit, index: int, shape: tuple[int, ...], operators: list[Operator]) -> int | None:
    """Return tensor ``index`` repeated to ``shape``; None if that is not possible."""
    tensor, values = edit.tensors[index], edit.data(index)
    name = f"{tensor.name}/repeated"
    if values is not None:
        whole = np.ascontiguousarray(np.broadcast_to(values, shape))
        return edit.constant(name, whole, tensor.quantization)
    if tensor.dtype != INT8 or len(shape) > _RANK or not is_8bit(tensor):
        return None
    image, wide = ((1,) * (_RANK - len(each)) + each for each in (tensor.shape, shape))
    copies = [new // old for old, new in zip(image, wide)]
    if copies[0] != 1 or max(copies[1:3]) > _MOST_COPIES:
        return None
    current = index
    if image != tensor.shape:
        current = edit.activation(tensor, name, shape=image)
        operators.append(pieces.reshape(edit, index, current))
    if copies[3] > 1:
        current = _channels(edit, current, copies[3], name, operators)
    for axis in (2, 1):
        if copies[axis] > 1:
            sizes = list(edit.tensors[current].shape)
            sizes[axis] = copies[axis]
            joined = edit.activation(tensor, name, shape=tuple(sizes))
            parts = [current] * copies[axis]
            operators.append(pieces.concatenate(edit, parts, axis, joined))
            current = joined
    if wide != shape:
        flat = edit.activation(tensor, name, shape=shape)
        operators.append(pieces.reshape(edit, current, flat))
        current = flat
    return current


def _channels(edit: Edit, x: int, count: int, name: str, operators: list[Operator]) -> int:
    """Append the convolution that repeats the only channel; return its output."""
    tensor = edit.tensors[x]
    out = edit.activation(tensor, name, shape=(*tensor.shape[:-1], count))
    operators.append(pieces.choose_channels(edit, x, [0] * count, out, f"{name}/ones"))
    return out


RULE = Rule(
    "broadcast",
    "inputs of sums and products are repeated where only the whole shape is known to map",
    exact=True,
    apply=repeat_inputs,
)
