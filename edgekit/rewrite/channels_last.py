# SPDX-License-Identifier: Apache-2.0
"""Give a network in PyTorch's order of axes inputs in TensorFlow's: NHWC in place of NCHW."""

from __future__ import annotations

from dataclasses import replace
from typing import Mapping

from edgekit.formats.tflite import Model
from edgekit.rewrite import pieces
from edgekit.rewrite.axes import moves_memory, source_shape
from edgekit.rewrite.edit import Edit
from edgekit.rewrite.resampling import resample
from edgekit.rewrite.rule import Rule
from edgekit.rewrite.transposes import move_transposes

# rank -> the order of an input in NCHW (or NCT, a sequence), seen from NHWC (or NTC).
_ORDERS: Mapping[int, tuple[int, ...]] = {4: (0, 3, 1, 2), 3: (0, 2, 1)}


def turn_inputs(model: Model) -> Model | None:
    """Return ``model`` with inputs in NHWC in place of NCHW, where that removes TRANSPOSEs.

    An input keeps its name and meaning; the axes of its values are in another order.
    """
    found = None
    for number in range(len(model.main.inputs)):
        current = found or model
        turned = _turned(current, number)
        if turned is not None:
            found = turned
    return found


def _turned(model: Model, number: int) -> Model | None:
    index = model.main.inputs[number]
    tensor = model.main.tensors[index]
    order = _ORDERS.get(len(tensor.shape))
    if order is None or tensor.is_dynamic or index in model.main.outputs:
        return None
    shape = source_shape(tensor.shape, order)
    if shape == tensor.shape:
        return None  # the shape of an array does not show whether its axes are turned
    edit = Edit(model)
    edit.tensors[index] = replace(tensor, name=f"{tensor.name}/nchw", shape_signature=())
    turned = edit.activation(tensor, tensor.name, shape=shape)
    # `activation` appends a number to a name that was taken when the edit began.
    edit.tensors[turned] = replace(edit.tensors[turned], name=tensor.name)
    edit.operators.insert(0, pieces.transpose(edit, turned, order, index))
    edit.rename_end(index, turned, is_input=True)
    moved, before = _tidied(edit.build()), _tidied(model)
    return moved if _transposed_elements(moved) < _transposed_elements(before) else None


def _tidied(model: Model) -> Model:
    """Return ``model`` with TRANSPOSEs that met each other, or a pixel unshuffle, left out."""
    moved = move_transposes(model) or model
    resampled = resample(moved)
    return moved if resampled is None else move_transposes(resampled) or resampled


def _transposed_elements(model: Model) -> int:
    """Return how many elements the TRANSPOSEs of ``model`` move."""
    edit, total = Edit(model), 0
    for op in edit.operators:
        values = edit.data(op.inputs[1]) if op.opcode == "TRANSPOSE" else None
        if values is None:
            continue
        tensor = edit.tensors[op.outputs[0]]
        order = tuple(int(axis) % values.size for axis in values.ravel())
        total += tensor.num_elements if moves_memory(tensor.shape, order) else 0
    return total


RULE = Rule(
    "channels-last",
    "an input in NCHW (PyTorch) becomes NHWC, and the TRANSPOSEs behind it go away",
    exact=True,
    apply=turn_inputs,
)
