# SPDX-License-Identifier: Apache-2.0
"""A float network as the quantizer would leave it without any rewrite, to judge what maps of it.

No number is quantized: the support rules and the estimate read types, shapes and versions only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.formats.tflite import Model, Operator, Quantization, Tensor
from edgekit.rewrite import pieces
from edgekit.rewrite.edit import Edit, is_editable
from edgekit.rewrite.versions import needed_version

_SCALE = Quantization((1.0,), (0,))
_MUL_VERSION = 2  # 3 where the product of the steps exceeds the output's, which is rare


def as_integers(model: Model, io: str = "int8") -> Model:
    """Return the float ``model`` with int8 tensors, and QUANTIZE at its ends if ``io`` is uint8.

    Constants keep only where they are zero.
    """
    if not is_editable(model):
        return model
    edit = Edit(model)
    edit.operators = [each for each in edit.operators if not _stores_weights(edit, each)]
    for index, tensor in enumerate(edit.tensors):
        if tensor.dtype == "FLOAT32":
            edit.tensors[index] = _integer(edit, tensor)
    edit.operators = [_versioned(each, edit.tensors) for each in edit.operators]
    if io == "uint8":
        _add_borders(edit)
    return edit.build()


def _stores_weights(edit: Edit, op: Operator) -> bool:
    """Whether ``op`` only makes a constant of float16 or int8 real; if so, its output gets that."""
    values = edit.data(op.inputs[0]) if op.opcode == "DEQUANTIZE" else None
    if values is None:
        return False
    made = edit.tensors[op.outputs[0]]
    edit.buffers.append(np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8))
    edit.tensors[op.outputs[0]] = replace(made, buffer=len(edit.buffers) - 1)
    return True


def _integer(edit: Edit, tensor: Tensor) -> Tensor:
    content = edit.buffers[tensor.buffer]
    changed = replace(tensor, dtype="INT8", quantization=_SCALE)
    if not content.size or tensor.is_sparse:
        return changed
    codes = (content.view(np.float32) != 0).astype(np.int8)
    edit.buffers.append(codes.view(np.uint8))
    return replace(changed, buffer=len(edit.buffers) - 1)


def _versioned(op: Operator, tensors: list[Tensor]) -> Operator:
    needed = needed_version(op, tensors) or 1
    if op.opcode == "MUL":
        needed = min(needed, _MUL_VERSION)
    return replace(op, version=max(op.version, needed))


def _add_borders(edit: Edit) -> None:
    before, after = [], []
    for index in tuple(dict.fromkeys(edit.inputs)):
        tensor = edit.tensors[index]
        if tensor.dtype == "INT8":
            border = edit.activation(tensor, f"{tensor.name}/uint8", dtype="UINT8")
            before.append(pieces.quantize(edit, border, index))
            edit.rename_end(index, border, is_input=True)
    for index in tuple(dict.fromkeys(edit.outputs)):
        tensor = edit.tensors[index]
        if tensor.dtype == "INT8":
            border = edit.activation(tensor, f"{tensor.name}/uint8", dtype="UINT8")
            after.append(pieces.quantize(edit, index, border))
            edit.rename_end(index, border, is_input=False)
    edit.operators = [*before, *edit.operators, *after]
